"""A resumed training that is the one which was never stopped: the same batches, losses, rates, weights and draws."""

from typing import Any

import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor

from charlm.callbacks.exact_resume.epoch_sums import give_sums, sums_of
from charlm.callbacks.exact_resume.rng_state import rng_state, set_rng_state
from charlm.callbacks.internals.loop_state import cancel_restore, restore_loop_state, save_loop_state

ENTRY = "exact_resume"
"""Where in a checkpoint it stands."""


class ExactResume(Callback):
    """Put into every checkpoint what Lightning leaves out, and go on from there as if nothing had happened.

    `trainer.fit(ckpt_path=...)` then continues at the very step: with the random generators of torch, Python and numpy
    as they were, in every process; with the gradients that were accumulated half; with the sums of `self.log(...,
    on_epoch=True)` and the states of torchmetrics, so that the epoch's means are whole; with `callback_metrics`; and
    with Lightning's counters put right, so that every validation and every epoch hook comes once, also after a
    checkpoint of an epoch's last batch and after a second resume. It works with any ModelCheckpoint. One that
    is not RunCheckpoint saves amid the hooks of a batch or an epoch, and what comes after it there is not done again:
    the module's own hook of that name, and the row that the loggers get of this step or epoch. RunCheckpoint saves when
    all of that has been done.

    The batches are the loader's part: ResumableLoader, charlm's BatchLoader and torchdata's StatefulDataLoader go on in
    the middle of an epoch. A plain DataLoader begins the epoch anew, and with one only checkpoints between two epochs
    are exact. Loaders need a length.

    Example:
        >>> from charlm.callbacks.run_checkpoint import RunCheckpoint
        >>> trainer = Trainer(max_epochs=20, callbacks=[ExactResume(), RunCheckpoint("runs/1", save_last=True)])
        >>> trainer.fit(model, data, ckpt_path="runs/1/last.ckpt")  # doctest: +SKIP
    """

    def __init__(self) -> None:
        self._taken: tuple[dict[str, Any], dict[str, Any]] | None = None  # the entry and the loops' counters

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the entry, and put the counters into the state that it describes."""
        place = save_loop_state(trainer, checkpoint["loops"])
        inside = place["inside"]
        of_rank: dict[str, Any] = {
            "rng": rng_state(),
            "gradients": _gradients(trainer, pl_module) if inside else {},
            "sums": sums_of(trainer, pl_module) if inside else {"logged": {}, "metrics": {}},
        }
        metrics = {key: value.detach().cpu() for key, value in trainer.callback_metrics.items()}
        checkpoint[ENTRY] = {"place": place, "metrics": metrics, "ranks": _of_all(of_rank, trainer.world_size)}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Remember it until training starts."""
        entry = checkpoint.get(ENTRY)
        if entry is not None and (not isinstance(entry, dict) or not {"place", "metrics", "ranks"} <= entry.keys()):
            raise ValueError(f"the checkpoint's entry {ENTRY} is not ExactResume's; use another checkpoint of the run")
        self._taken = (entry, checkpoint["loops"]) if entry is not None else None
        if entry is None:
            rank_zero_info("This checkpoint was made without ExactResume: the training goes on, but not to the bit.")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the place of the training that was stopped, once its loop starts."""
        if self._taken is None:
            return
        (entry, loops), self._taken = self._taken, None
        restore_loop_state(trainer, entry["place"], loops, lambda: self._arrive(trainer, pl_module, entry))

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._taken = None
        cancel_restore(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        cancel_restore(trainer)

    def _arrive(self, trainer: Trainer, pl_module: LightningModule, entry: dict[str, Any]) -> None:
        trainer._logger_connector._callback_metrics.update(entry["metrics"])
        if len(entry["ranks"]) != trainer.world_size:
            rank_zero_info(
                f"The checkpoint is of {len(entry['ranks'])} processes and this training has {trainer.world_size}:"
                " it goes on, but not to the bit."
            )
            return
        own = entry["ranks"][trainer.global_rank]
        give_sums(trainer, pl_module, own["sums"])
        weights = dict(pl_module.named_parameters())
        for name, gradient in own["gradients"].items():
            weights[name].grad = gradient.to(weights[name].device)
        set_rng_state(own["rng"])


def _gradients(trainer: Trainer, pl_module: LightningModule) -> dict[str, Tensor]:
    """Those of an accumulation that is half done."""
    loop = trainer.fit_loop.epoch_loop
    if loop.batch_progress.current.ready % trainer.accumulate_grad_batches == 0 or not loop._should_accumulate():
        return {}
    return {name: p.grad.detach().cpu() for name, p in pl_module.named_parameters() if p.grad is not None}


def _of_all(own: dict[str, Any], world_size: int) -> list[dict[str, Any]]:
    """Of every process, by rank."""
    if world_size == 1:
        return [own]
    gathered: list[Any] = [None] * world_size
    dist.all_gather_object(gathered, own)
    return gathered
