"""The two checkpoints of a run: its last state, and the state with the best value of a metric."""

import math
import os
import uuid
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from charlm.callbacks.internals.averaging import averages_weights
from charlm.callbacks.internals.iteration_end import add_iteration_end, remove_iteration_end
from charlm.callbacks.internals.lightning import LightningModule, Trainer, rank_zero_warn
from charlm.callbacks.internals.loop_state import save_resumable_counters
from charlm.callbacks.internals.trainer_attributes import is_trial
from charlm.callbacks.shared.archive import refuse_address
from charlm.callbacks.shared.base_callback import BaseCheckpoint
from charlm.callbacks.shared.checkpoint_files import Best, files_of, own_files
from charlm.callbacks.shared.logger_adapters import folder_below_shared
from charlm.callbacks.shared.processes import mean_over_processes
from charlm.callbacks.shared.trainer_state import is_of_fit, is_over, logged_now


class RunCheckpoint(BaseCheckpoint):
    """Keep a run's last state in last.ckpt, to resume from, and its best one in best.ckpt.

    `last.ckpt` is written after every validation and when training ends; without validations, at the end of every
    epoch. Training goes on from it with the next batch, also where `max_steps` has cut an epoch. `best.ckpt` is the
    state whose own value of `monitor` was the lowest (or highest): a value measured at an earlier step never counts.
    Files are written when an iteration is over, after its log, its validation and its schedulers; training waits for
    them. The files of the last step come after `on_train_end` of the other callbacks (but before WeightAveraging's), so
    a run that is killed before does its end again. Files of an earlier training are replaced, after a warning.

    The state of this callback is two numbers and a random identifier, by which a training knows its own best.ckpt when
    it goes on; a checkpoint cannot name a file to write or to delete. For more files, other names or `ckpt_path="last"`
    add Lightning's ModelCheckpoint beside it.

    Args:
        dirpath: folder of the two files; null: `checkpoints` in the logger's run, or in the trainer's
            `default_root_dir` without a logger.
        monitor: name of the logged metric that chooses the best state, a value of a validation or of an epoch (logged
            with on_epoch=True); null: there is no best.ckpt.
        mode: whether the lowest ("min") or the highest ("max") value is the best.
        save_last: whether to keep last.ckpt.
        every_n_train_steps: write last.ckpt after every so many optimizer steps as well, >= 1.
        save_weights_only: leave the optimizer's state out of best.ckpt, which makes it smaller, not out of last.ckpt.

    Raises:
        ValueError: an address as the folder, an unknown `mode`, `every_n_train_steps` < 1, or nothing to save; in
            training: a RunCheckpoint or ModelCheckpoint that writes the same file.

    Example:
        >>> from charlm.callbacks import RunCheckpoint
        >>> from lightning.pytorch import Trainer
        >>> from lightning.pytorch.demos.boring_classes import BoringModel
        >>> model = BoringModel()
        >>> model.validation_step = lambda batch, batch_idx: model.log("val_loss", model.step(batch))
        >>> saves = RunCheckpoint("runs/1", monitor="val_loss")
        >>> Trainer(max_epochs=2, limit_train_batches=5, enable_progress_bar=False, callbacks=[saves]).fit(model)
        >>> saves.best_model_path
        '...runs/1/best.ckpt'
    """

    per_execution = True  # for StepsPerExecution: it acts at the end of an execution

    def __init__(
        self,
        dirpath: str | Path | None = None,
        *,
        monitor: str | None = None,
        mode: Literal["min", "max"] = "min",
        save_last: bool = True,
        every_n_train_steps: int | None = None,
        save_weights_only: bool = False,
    ) -> None:
        refuse_address(dirpath or "")
        if mode not in ("min", "max"):
            raise ValueError(f"RunCheckpoint's mode is {mode!r}; give 'min' or 'max'")
        if every_n_train_steps is not None and every_n_train_steps < 1:
            raise ValueError(f"RunCheckpoint's every_n_train_steps is {every_n_train_steps}; give steps >= 1 or null")
        if not save_last and monitor is None:
            raise ValueError("RunCheckpoint has nothing to save: give a metric to `monitor`, or save_last=True")
        self.dirpath, self.monitor, self.mode, self.save_last = dirpath, monitor, mode, bool(save_last)
        self.every_n_train_steps, self.save_weights_only = every_n_train_steps, save_weights_only
        self.folder: Path | None = None
        self._told = ""  # by Lightning: the best file, where all processes that train are others, as in a notebook
        self._training = ""  # its identifier
        self._best: Best | None = None  # of best.ckpt
        self._due: Best | None = None  # a better one, not written yet
        self._ends = False  # the files wait for the end of training
        self._last_is_due = self._validated = self._measured = False  # `monitor` had a value
        self._earlier: Tensor | None = None  # its value before the validation
        self._last_step = -1  # of last.ckpt, as this training wrote or loaded it

    @property
    def state_key(self) -> str:
        return f"RunCheckpoint[monitor={self.monitor!r}, mode={self.mode!r}]"

    @property
    def best_model_path(self) -> str:
        """The file of the best state, or without `monitor` of the last; "" as long as there is none."""
        if self.folder is None:
            return self._told
        return self.last_model_path if self.monitor is None else self._existing("best.ckpt", self._best is not None)

    @best_model_path.setter
    def best_model_path(self, path: str) -> None:
        self._told = path

    @property
    def best_model_score(self) -> float | None:
        """The value of `monitor` in the best state; None as long as there is none."""
        return (self._due or self._best or (None,))[0]

    @property
    def last_model_path(self) -> str:
        """The file of the last state; "" as long as there is none."""
        return self._existing("last.ckpt", self._last_step >= 0)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the folder, which is the same in all processes."""
        super().setup(trainer, pl_module, stage)
        if stage == "fit":
            self.folder, folder = None, self.dirpath
            if trainer.global_step == 0:  # else the same Trainer goes on
                self._training = trainer.strategy.broadcast(uuid.uuid4().hex)
                self._best, self._last_step = None, -1
            if not is_trial(trainer):
                if folder is None:  # where Lightning's ModelCheckpoint has it too
                    folder = os.path.join(folder_below_shared(trainer), "checkpoints")
                refuse_address(folder)
                self.folder = Path(trainer.strategy.broadcast(os.path.abspath(os.path.expanduser(folder))))

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take over the files of the training that goes on, also where no step is left to train."""
        if self.folder is None or not is_of_fit(trainer):
            return
        began = own_files(self.folder, self.state_key, checkpoint, trainer.ckpt_path or "")
        training, self._best, self._last_step = trainer.strategy.broadcast(began)
        self._training = training or self._training

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        for other in trainer.checkpoint_callbacks:
            if other is not self and files_of(other) & files_of(self):
                raise ValueError(
                    f"{type(other).__name__} and RunCheckpoint write files of the same name in {self.folder}; give"
                    " one of them another dirpath, or a ModelCheckpoint a filename of its own and no save_last"
                )
        is_own = {"best.ckpt": self._best is not None, "last.ckpt": self._last_step >= 0}
        if there := [file for name in self.fixed_names if not is_own[name] and (file := self._existing(name, True))]:
            advice = "another dirpath keeps them, and ckpt_path goes on from one, by its path (not by 'last')"
            rank_zero_warn(f"{' and '.join(there)} of an earlier training will be replaced; {advice}")
        self._due = None
        self._last_is_due = self._ends = self._validated = self._measured = False
        add_iteration_end(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        every, step = self.every_n_train_steps, trainer.global_step
        self._last_is_due |= every is not None and step % every == 0 and step not in (0, self._last_step)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._earlier = trainer.callback_metrics.get(self.monitor or "")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the validation's value of `monitor`, if it has one, for the state as it is."""
        if is_of_fit(trainer):
            self._last_is_due = self._validated = True
            self._judge(trainer, in_validation=True)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the value of `monitor` that the epoch itself has, as a mean over its batches."""
        self._judge(trainer)
        if self.monitor is not None and not self._measured and (self._validated or not trainer.enable_validation):
            names = ", ".join(sorted(trainer.callback_metrics)) or "nothing"
            what = f"is not logged; monitor one of: {names}"
            if self.monitor in trainer.callback_metrics:
                what = "is logged for single steps, and not for an epoch; log it with on_epoch=True"
            self._measured = True  # to say it once
            rank_zero_warn(f"there is no best.ckpt, as {self.monitor!r} {what}")
        if not trainer.enable_validation and self.every_n_train_steps is None:
            self._last_is_due = trainer.global_step != self._last_step

    def on_iteration_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what is due, unless training ends with this iteration."""
        self._ends = is_over(trainer)
        if self._ends and averages_weights(trainer):  # the average takes the weights' place in `on_train_end`
            self._ends, self._last_is_due = False, True
        if not self._ends:
            self._write(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what is due, and the last state."""
        stopped = trainer.should_stop and not averages_weights(trainer)  # perhaps at an epoch's end, after a save
        self._last_is_due |= stopped or trainer.global_step != self._last_step
        self._write(trainer)
        remove_iteration_end(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Write what waited for the end of training, where an error comes in between."""
        if self._ends:
            self._write(trainer)
        self._due = None
        remove_iteration_end(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        save_resumable_counters(trainer, checkpoint)

    def state_dict(self) -> dict[str, Any]:
        best = self._due or self._best
        return {"training": self._training, **({} if best is None else {"value": best[0], "step": best[1]})}

    def save_now(self, trainer: Trainer) -> str:
        """Save the last state, whatever `save_last` says, when an iteration is over; return its path."""
        self._last_is_due = True
        self._write(trainer, last=True)
        return self.last_model_path

    def _judge(self, trainer: Trainer, in_validation: bool = False) -> None:
        """Mark the current state as the best one if the value just measured is the best so far."""
        if self.monitor is None:
            return
        logged, latest = logged_now(trainer, self.monitor), trainer.callback_metrics.get(self.monitor)
        if logged is None and in_validation and latest is not self._earlier:
            logged = latest  # of one of several loaders: Lightning adds its values when it ends
        self._measured |= logged is not None
        value, best = mean_over_processes(trainer, logged), self.best_model_score
        if math.isfinite(value) and (best is None or (value < best if self.mode == "min" else value > best)):
            self._due = value, trainer.global_step

    def _write(self, trainer: Trainer, last: bool = False) -> None:
        if self.folder is None:  # a trial, by fast_dev_run
            return
        if self._due is not None:
            self._best, self._due = self._due, None
            trainer.save_checkpoint(self.folder / "best.ckpt", self.save_weights_only)
        if self._last_is_due and (self.save_last or last):
            trainer.save_checkpoint(self.folder / "last.ckpt", weights_only=False)
            self._last_step = trainer.global_step
        self._last_is_due = False

    @property
    def fixed_names(self) -> list[str]:
        return ["best.ckpt"] * (self.monitor is not None) + ["last.ckpt"] * self.save_last

    def _existing(self, name: str, is_own: bool) -> str:
        file = (self.folder or Path()) / name
        return str(file) if is_own and self.folder is not None and os.path.isfile(file) else ""
