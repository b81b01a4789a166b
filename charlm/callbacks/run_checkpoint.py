"""Checkpoints of a run: the best state, and the last one as well."""

from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint


class RunCheckpoint(ModelCheckpoint):
    """Lightning's ModelCheckpoint, whose `save_last` keeps the last state of a run.

    Lightning 2.6 rewrites last.ckpt only together with a best checkpoint, so that a run which is resumed from it would
    lose all steps since the lowest val loss. Here it is written after every validation and when training ends.
    """

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the best, then the last."""
        super().on_validation_end(trainer, pl_module)
        self._keep_last(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the last."""
        self._keep_last(trainer)

    def kept(self) -> str | None:
        """The best checkpoint of this run, not of the one it goes on from; else the last; None if there is none."""
        paths = (self.best_model_path, self.last_model_path)
        return next((path for path in paths if path and Path(path).parent == Path(self.dirpath or "")), None)

    def _keep_last(self, trainer: Trainer) -> None:
        if self.save_last and not self._should_skip_saving_checkpoint(trainer):
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))
