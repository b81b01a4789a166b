"""Ctrl-C and SIGTERM: the step is finished, the state saved, and the exit status says that the run did not end."""

import os
import signal
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from charlm.callbacks.internals.iteration_end import add_iteration_end, remove_iteration_end
from charlm.callbacks.shared.trainer_state import is_over

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(SystemExit):
    """A signal has ended the training; the exit status is 128 and the signal's number, as shells have it.

    Args:
        signum: the signal.
        step: optimizer steps done.
        file: the checkpoint to go on from; None: nothing was saved, as no training had begun.
        status: the exit status, where it is another one.
    """

    def __init__(self, signum: int, step: int = 0, file: str | None = None, status: int | None = None) -> None:
        super().__init__(128 + signum if status is None else status)
        self.signum, self.step, self.file = signum, step, file


class GracefulStop(Callback):
    """Save and stop at SIGINT (Ctrl-C) and SIGTERM, which is what pre-emptible machines send.

    The step that is being done is finished, with the validation that is due after it, and the state is saved: by
    RunCheckpoint in its last.ckpt, else as stopped.ckpt in the folder of the first ModelCheckpoint, else in the
    trainer's `default_root_dir`. Then `Stopped`, a SystemExit, ends `trainer.fit` with exit status 130 or 143. With
    ExactResume the training goes on from there as if it had not been stopped. A second signal ends the process at once;
    so does the first one where no training runs yet. A training that has done its last step ends as ever.

    With several processes all stop after the same step, whichever of them got the signal; the first one's exit status
    says which signal it was, the others end with 0. Lightning's own handler for SIGTERM, which hangs with several
    processes and exits with 0, is not used meanwhile. Outside the main thread, where Python has no signals, nothing is
    done.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._taken: dict[int, _Taken] = {}
        self._starts = False
        self._is_set_up = False
        self._alone = True
        self._has_begun = False  # its loop, with an epoch

    @property
    def stops_now(self) -> bool:
        """For StepsPerExecution: whether to end the execution with the step that is being done."""
        return self.received is not None and self._alone

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take the signals from the beginning of a fit."""
        if stage == "fit":
            self.received, self._starts, self._alone = None, False, trainer.world_size == 1
            self._is_set_up, self._has_begun = True, False
            self._take(trainer)

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._take(trainer)  # Lightning has set its own since

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._starts = True
        self._take(trainer)
        add_iteration_end(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._has_begun = True

    def on_iteration_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save and stop, if a signal has come to any of the processes.

        Raises:
            Stopped: one has.
        """
        signum = self.received or 0
        if trainer.world_size > 1:
            mine = torch.tensor(signum, device=trainer.strategy.root_device)
            signum = int(trainer.strategy.reduce(mine, reduce_op="max"))
        if not signum or is_over(trainer):
            return
        self.received = signum  # the next signal, to any of them, ends at once
        file = _save(trainer)
        raise Stopped(signum, trainer.global_step, file, None if trainer.is_global_zero else 0)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the signals back.

        Raises:
            Stopped: by Ctrl-C before this callback was set up, as while several processes find each other, or after.
        """
        self._give_back(trainer)
        if isinstance(exception, KeyboardInterrupt) and not self._is_set_up:
            raise Stopped(signal.SIGINT) from None

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._give_back(trainer)
        self._is_set_up = False

    def _take(self, trainer: Trainer) -> None:
        if threading.current_thread() is not threading.main_thread():
            return

        for signum in _SIGNALS:
            if signum not in self._taken:
                self._taken[signum] = _Taken(signum, partial(self._come, trainer))
            signal.signal(signum, self._taken[signum])

    def _give_back(self, trainer: Trainer) -> None:
        for signum, taken in self._taken.items():
            taken.come = None
            signal.signal(signum, taken.before)
        self._taken = {}
        remove_iteration_end(trainer)

    def _come(self, trainer: Trainer, signum: int) -> None:
        """What a signal does; it comes between any two instructions of Python."""
        if self.received is not None:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
        elif not self._is_training(trainer):
            raise Stopped(signum)
        else:
            self.received = signum
            if trainer.is_global_zero:
                name = signal.Signals(signum).name
                # not by sys.stderr, which may be in the middle of a line of its own
                os.write(2, f"\n{name}: the step is finished and the state saved; once more to end at once\n".encode())

    def _is_training(self, trainer: Trainer) -> bool:
        """Whether its loop has begun: before it, as in a sweep of the learning rate, there is nothing to save."""
        epochs: Any = trainer.fit_loop.epoch_progress.current  # its class has more counters than its declaration
        return self._has_begun or (self._starts and epochs.started > epochs.completed)


class _Taken:
    """What a signal does as long as it is taken; then what it did before.

    After an exception Lightning sets the handlers again that it found as the training began, this one among them.

    Args:
        signum: the signal.
        come: what it does, given its number.
    """

    def __init__(self, signum: int, come: Callable[[int], None]) -> None:
        before = signal.getsignal(signum)
        self.before: Any = before.before if isinstance(before, _Taken) and before.come is None else before
        self.come: Callable[[int], None] | None = come

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        if self.come is not None:
            self.come(signum)
        else:
            signal.signal(signum, self.before)
            signal.raise_signal(signal.Signals(signum))


def _save(trainer: Trainer) -> str:
    """Save the state as it is; gives the file."""
    for callback in trainer.checkpoint_callbacks:
        if hasattr(callback, "save_now"):
            return str(callback.save_now(trainer))
    folders = [str(folder) for c in trainer.checkpoint_callbacks if (folder := getattr(c, "dirpath", None))]
    file = Path((folders or [trainer.default_root_dir])[0]) / "stopped.ckpt"
    trainer.save_checkpoint(file)
    return str(file)
