"""A training whose loss is no number any more ends at that step, and leaves no checkpoint of it."""

import math
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from charlm.callbacks.internals.iteration_end import add_iteration_end, remove_iteration_end


class NonFiniteLoss(ArithmeticError):
    """The loss, or a weight, is NaN or infinite; the message names the step, the learning rate and the batch."""

    exit_status = 4
    """Of `charlm fit`."""


class FiniteLoss(Callback):
    """Stop at the step whose loss is NaN or infinite, and never let such weights into a checkpoint.

    Lightning goes on with them, saves them, and ends with exit status 0. Here `trainer.fit` raises, before the step's
    checkpoint, and the last good one stays what it is. On the CPU every step's loss is looked at, which takes about a
    microsecond; on a GPU, where that would wait for each step, losses are looked at when an iteration ends, and
    the message names the first bad one all the same. Weights are looked at whenever a checkpoint is made.

    Raises:
        NonFiniteLoss: in training.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._waiting: list[tuple[int, int, float, Tensor]] = []  # step, batch, learning rate, loss
        self._at_once = trainer.world_size == 1 and pl_module.device.type == "cpu"
        if not self._at_once:
            add_iteration_end(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if not isinstance(loss, Tensor) or loss.dim() > 0:
            return
        if not self._at_once:
            self._waiting.append((trainer.global_step, batch_idx, _rate(trainer), loss.detach()))
        elif not math.isfinite(value := loss.item()):
            raise _error(trainer, trainer.global_step, batch_idx, _rate(trainer), value)

    def on_iteration_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the losses that were left for now, of all processes together, which stop together."""
        waiting, self._waiting = self._waiting, []
        if self._at_once or not waiting:  # an epoch's end is one too
            return
        finite = torch.stack([loss for *_, loss in waiting]).float().isfinite()
        mine = finite.long().cumprod(0).sum()  # how many are good before the first bad one
        good = int(mine if trainer.world_size == 1 else trainer.strategy.reduce(mine.clone(), reduce_op="min"))
        if good < len(waiting):
            step, batch, rate, loss = waiting[good]
            elsewhere = "no number in another process" if finite[good] else None
            raise _error(trainer, step, batch, rate, elsewhere or loss.item())

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Refuse to save weights that are no numbers; they can come a step before such a loss does."""
        for name, weight in pl_module.named_parameters():
            if not weight.isfinite().all():
                raise NonFiniteLoss(
                    f"{name} is not finite after step {trainer.global_step:,}, at a learning rate of"
                    f" {_rate(trainer):.3g}, so no checkpoint was written; {_advice(trainer)}"
                )

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        remove_iteration_end(trainer)


def _error(trainer: Trainer, step: int, batch: int, rate: float, loss: float | str) -> NonFiniteLoss:
    where = f"step {step:,} (batch {batch:,} of epoch {trainer.current_epoch:,})"
    return NonFiniteLoss(f"the loss is {loss} at {where}, at a learning rate of {rate:.3g}; {_advice(trainer)}")


def _rate(trainer: Trainer) -> float:
    return float(trainer.optimizers[0].param_groups[0]["lr"]) if trainer.optimizers else math.nan


def _advice(trainer: Trainer) -> str:
    paths = ("last_model_path", "best_model_path")
    written = [getattr(callback, path, "") for callback in trainer.checkpoint_callbacks for path in paths]
    last = next(filter(None, written), None)
    saved = f" The last good checkpoint is {last}." if last else " No checkpoint was written before it."
    return f"take a lower one, or clip the gradients (gradient_clip_val).{saved}"
