"""Stop training when the loss becomes NaN or infinite, and keep such weights out of the checkpoints."""

import math
from typing import Any

import torch
from torch import Tensor

from charlm.callbacks.internals.iteration_end import add_iteration_end, remove_iteration_end
from charlm.callbacks.internals.lightning import LightningModule, Trainer
from charlm.callbacks.internals.step_count import window_is_complete
from charlm.callbacks.shared.base_callback import BaseCallback

_Place = tuple[int, int, int, float]  # step, batch, epoch, learning rate


class NonFiniteLoss(ArithmeticError):
    """The loss or a weight is NaN or infinite; the message names the step, the batch and the learning rate."""

    exit_status = 4
    """Exit status of `charlm fit`."""


class FiniteLoss(BaseCallback):
    """Stop training at the first NaN or infinite loss, and never save weights that are NaN or infinite.

    Without this callback Lightning trains on, saves the weights, and ends with exit status 0. With it `trainer.fit`
    raises before the checkpoint of that step is written, so the last good checkpoint stays. On the CPU the callback
    checks the loss of every step, which takes about a microsecond. On a GPU, or with several processes, a check would
    wait for the device, so the losses are checked at the end of each iteration; the message still names the first bad
    step. The weights are checked before every checkpoint.

    It does not look at gradients, nor at a loss that manual optimization does not return.

    Raises:
        NonFiniteLoss: during training.

    Example:
        >>> import torch
        >>> from charlm.callbacks import FiniteLoss
        >>> from lightning.pytorch import Trainer
        >>> from lightning.pytorch.demos.boring_classes import BoringModel
        >>> model = BoringModel()
        >>> model.layer.weight.data[:] = torch.inf
        >>> Trainer(max_steps=9, enable_progress_bar=False, callbacks=[FiniteLoss()], logger=False).fit(model)
        Traceback (most recent call last):
        charlm.callbacks.finite_loss.NonFiniteLoss: the loss is nan at step 1 (batch 0 of epoch 0), ...
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._waiting: list[tuple[_Place, Tensor]] = []
        self._at_once = trainer.world_size == 1 and pl_module.device.type == "cpu"
        if not self._at_once:
            add_iteration_end(trainer)

    def next_step(self, trainer: Trainer) -> float:
        """For StepsPerExecution, which calls `on_train_batch_end` whenever a loss is NaN or infinite."""
        return math.inf if self._at_once else trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if not isinstance(loss, Tensor) or loss.dim() > 0:
            return
        if not self._at_once:
            self._waiting.append((_place(trainer, batch_idx), loss.detach()))
        elif not math.isfinite(value := loss.item()):
            raise _error(trainer, _place(trainer, batch_idx), value)

    def on_iteration_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the losses since the last check; if one process has a bad loss, all processes stop."""
        waiting, self._waiting = self._waiting, []
        if self._at_once or not waiting:  # at the end of an epoch the hook is called once more
            return
        finite = torch.stack([loss for _, loss in waiting]).float().isfinite()
        mine = finite.long().cumprod(0).sum()  # number of finite losses before the first bad one
        good = int(mine if trainer.world_size == 1 else trainer.strategy.reduce(mine.clone(), reduce_op="min"))
        if good < len(waiting):
            place, loss = waiting[good]
            elsewhere = "NaN or infinite in another process" if finite[good] else None
            raise _error(trainer, place, elsewhere or loss.item())

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Refuse to save NaN or infinite weights, which can come one step before such a loss."""
        for name, weight in pl_module.named_parameters():
            if weight.requires_grad and not weight.isfinite().all():
                raise NonFiniteLoss(
                    f"{name} is NaN or infinite after step {trainer.global_step:,}, at a learning rate of"
                    f" {_rate(trainer):.3g}, so no checkpoint was written; {_advice(trainer)}"
                )

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        remove_iteration_end(trainer)


def _place(trainer: Trainer, batch_idx: int) -> _Place:
    step = trainer.global_step + (not window_is_complete(trainer))
    return step, batch_idx, trainer.current_epoch, _rate(trainer)


def _error(trainer: Trainer, place: _Place, loss: float | str) -> NonFiniteLoss:
    step, batch, epoch, rate = place
    where = f"step {step:,} (batch {batch:,} of epoch {epoch:,})"
    return NonFiniteLoss(f"the loss is {loss} at {where}, at a learning rate of {rate:.3g}; {_advice(trainer)}")


def _rate(trainer: Trainer) -> float:
    return float(trainer.optimizers[0].param_groups[0]["lr"]) if trainer.optimizers else math.nan


def _advice(trainer: Trainer) -> str:
    paths = ("last_model_path", "best_model_path")
    written = [getattr(callback, path, "") for callback in trainer.checkpoint_callbacks for path in paths]
    last = next(filter(None, written), None)
    saved = f" The last good checkpoint is {last}." if last else " No checkpoint was written before it."
    return f"lower it, or clip the gradients (gradient_clip_val).{saved}"
