"""Checkpoints of a run: the best state, and the last one as well."""

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from charlm.callbacks.internals.iteration_end import add_iteration_end, remove_iteration_end
from charlm.callbacks.internals.loop_state import save_loop_state


class RunCheckpoint(ModelCheckpoint):
    """Lightning's ModelCheckpoint, whose `save_last` keeps the last state of a run.

    Lightning 2.6 rewrites last.ckpt only together with a best checkpoint, so that a run which is resumed from it would
    lose all steps since the lowest val loss. Here it is written after every validation and when training ends, in a
    state from which an epoch that `max_steps` has cut goes on with its next batch.

    What is chosen in a turn of the training loop is written when the turn has ended: after the step's log, the
    validation and the schedulers. What the last step brings is written when training has ended, after the other
    callbacks' `on_train_end`, so that a run which is killed before does them again. Old files are removed after the
    new ones are there. `save_last="link"` means True, as a link could only be to a best state, which is an older one.

    Private parts of Lightning 2.6 used: `_save_checkpoint`, `_remove_checkpoint`, `_save_last_checkpoint`,
    `_monitor_candidates`, `_last_global_step_saved`, `_last_checkpoint_saved`, `_should_skip_saving_checkpoint` and
    `_should_remove_checkpoint`, all of ModelCheckpoint.
    """

    per_execution = True  # for StepsPerExecution: it acts where an execution ends
    _kept_at: int | None = None  # step of the last.ckpt that was written for its own sake

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.save_last = bool(self.save_last)
        self._due: list[tuple[bool, str]] = []  # files to write (True) and to remove, in this order
        self._waits = False  # for the end of the turn
        self._held = False  # until training has ended
        self._left: list[str] = []  # old files that a killed process did not come to remove

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        for filepath in self._left:
            super()._remove_checkpoint(trainer, filepath)
        self._due, self._left, self._waits = [], [], True
        add_iteration_end(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Without a metric to choose by, save the last; the last step has done so."""
        if self.monitor is not None or trainer.global_step != self._kept_at:
            super().on_train_epoch_end(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the best, then the last."""
        super().on_validation_end(trainer, pl_module)
        self._keep_last(trainer)

    def on_iteration_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what the turn has brought, unless it was the last one."""
        self._held = is_over(trainer)
        if not self._held:
            self._write(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what the last turn has brought, and the last state."""
        if trainer.global_step != self._kept_at:
            self._keep_last(trainer)
        self._write(trainer)
        self._leave(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """What the last turn has brought is not lost by an error after it."""
        if self._held:
            self._write(trainer)
        self._leave(trainer)
        super().on_exception(trainer, pl_module, exception)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Once training has ended Lightning counts a cut epoch as a whole one; here it goes on with its next batch."""
        save_loop_state(trainer, checkpoint["loops"])

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "left": list(self._left)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._left = [old for old in state_dict.get("left", ()) if self._is_in_folder(old)]

    def save_now(self, trainer: Trainer) -> str:
        """Save the last state at the end of a turn, whatever `save_last` says; gives the file."""
        save_last, self.save_last = self.save_last, True
        try:
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))
        finally:
            self.save_last = save_last
        self._write(trainer)
        return self.last_model_path

    def file_exists(self, filepath: str | Path, trainer: Trainer) -> bool:
        """Whether a file is one of this training's: another is of steps that were lost, and are being done again."""
        own = {self.best_model_path, self.last_model_path, *self.best_k_models}
        return str(filepath) in own and super().file_exists(filepath, trainer)

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

    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        if not self._waits:
            super()._save_checkpoint(trainer, filepath)
            return
        self._due.append((True, filepath))
        self._last_global_step_saved, self._last_checkpoint_saved = trainer.global_step, filepath

    def _remove_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        if self._due:
            self._due.append((False, filepath))
        else:
            super()._remove_checkpoint(trainer, filepath)

    def _should_remove_checkpoint(self, trainer: Trainer, previous: str, current: str) -> bool:
        """Also the file that the training has gone on from, which Lightning keeps: its run is this one."""
        return previous != current and self._is_in_folder(previous)

    def _is_in_folder(self, filepath: str) -> bool:
        return Path(self.dirpath or "").absolute() in Path(filepath).absolute().parents

    def _write(self, trainer: Trainer) -> None:
        due, self._due = self._due, []
        waits, self._waits = self._waits, False
        for place, (is_new, filepath) in enumerate(due):
            self._left = [old for is_later_new, old in due[place:] if not is_later_new]
            (self._save_checkpoint if is_new else self._remove_checkpoint)(trainer, filepath)
        self._waits, self._left = waits, []

    def _leave(self, trainer: Trainer) -> None:
        self._due, self._waits, self._held = [], False, False
        remove_iteration_end(trainer)


def is_over(trainer: Trainer) -> bool:
    """Whether training ends with the turn that has just ended."""
    epochs: Any = trainer.fit_loop.epoch_progress.current  # its class has more counters than its declaration
    no_more_epochs = trainer.max_epochs not in (None, -1) and epochs.processed >= trainer.max_epochs
    return bool(trainer.should_stop or trainer.global_step == trainer.max_steps or no_more_epochs)
