"""Checkpoints of a run: the best state, and the last one as well."""

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint


class RunCheckpoint(ModelCheckpoint):
    """Lightning's ModelCheckpoint, whose `save_last` keeps the last state of a run.

    Lightning 2.6 rewrites last.ckpt only together with a best checkpoint, so that a run which is resumed from it would
    lose all steps since the lowest val loss. Here it is written after every validation and when training ends, in a
    state from which an epoch that `max_steps` has cut goes on with its next batch.

    Private parts of Lightning 2.6 used: `_save_last_checkpoint`, `_monitor_candidates`, `_last_global_step_saved` and
    `_should_skip_saving_checkpoint`, all of ModelCheckpoint.
    """

    per_execution = True  # for StepsPerExecution: it acts where an execution ends
    _kept_at: int | None = None  # step of the last.ckpt that was written for its own sake

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save the last one at the last step: once training has ended, a cut epoch counts as a whole one."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if trainer.global_step == trainer.max_steps != self._kept_at:
            self._keep_last(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Without a metric to choose by, save the last; the last step has done so."""
        if self.monitor is not None or trainer.global_step != self._kept_at:
            super().on_train_epoch_end(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the best, then the last."""
        super().on_validation_end(trainer, pl_module)
        self._keep_last(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the last, unless the last step has done so."""
        if trainer.global_step != self._kept_at:
            self._keep_last(trainer)

    def kept(self) -> str | None:
        """The best checkpoint of this run, not of the one it goes on from; else the last; None if there is none.

        Without a metric to choose by it is the last.
        """
        paths = [self.best_model_path, self.last_model_path][:: 1 if self.monitor is not None else -1]
        own = Path(self.dirpath or "")
        return next((path for path in paths if Path(path).is_file() and Path(path).parent == own), None)

    def _keep_last(self, trainer: Trainer) -> None:
        if self.save_last and not self._should_skip_saving_checkpoint(trainer):
            saved_at, self._kept_at = self._last_global_step_saved, trainer.global_step
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))
            self._last_global_step_saved = saved_at  # a best one may follow at this very step
