"""On Ctrl-C, SIGTERM or SIGHUP, finish the step, save the state, and exit with the status of the signal."""

import atexit
import os
import signal
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any

import torch

from charlm.callbacks.internals.iteration_end import add_iteration_end, remove_iteration_end
from charlm.callbacks.internals.lightning import LightningModule, Trainer
from charlm.callbacks.internals.loop_state import save_resumable_counters
from charlm.callbacks.internals.workers import let_workers_be, let_workers_outlive_signals
from charlm.callbacks.shared.base_callback import BaseCallback
from charlm.callbacks.shared.trainer_state import is_over

_SIGHUP = getattr(signal, "SIGHUP", None)  # Windows has none
_SIGNALS = tuple(signum for signum in (signal.SIGINT, signal.SIGTERM, _SIGHUP) if signum is not None)


class Stopped(SystemExit):
    """A signal ended the training; the exit status is 128 plus the number of the signal, as in shells.

    Args:
        signum: the number of the signal.
        step: optimizer steps done.
        file: the checkpoint to resume from; None: nothing was saved, as training had not begun.
        status: another exit status.
    """

    def __init__(self, signum: int, step: int = 0, file: str | None = None, status: int | None = None) -> None:
        super().__init__(128 + signum if status is None else status)
        self.signum, self.step, self.file = signum, step, file


class GracefulStop(BaseCallback):
    """Save and stop on SIGINT (Ctrl-C), on SIGTERM (preemptible machines) and on SIGHUP (a closed terminal).

    The trainer finishes the current step and the validation that is due after it. Then the state is saved: by
    RunCheckpoint to its last.ckpt; without RunCheckpoint to stopped.ckpt, in the folder of the first ModelCheckpoint or
    in the trainer's `default_root_dir`. Then `Stopped`, a SystemExit, ends `trainer.fit` with exit status 130, 143 or
    129. With ExactResume a resumed training continues as if it had not been stopped. A second SIGINT or SIGTERM ends
    the process at once, as does the first signal before training begins. If a signal comes during the last step,
    training ends normally. Under nohup, which ignores SIGHUP, training continues.

    A SIGTERM to all processes of a job does not end the workers of its DataLoaders; the training ends them (on Linux).
    Programs that a worker starts have SIGTERM blocked as well: end them by `kill()`, as `terminate()` has no effect.
    With several processes all of them stop after the same step, whichever process got the signal. The process of rank 0
    exits with the status of the signal, the others with 0. During training this callback replaces Lightning's own
    SIGTERM handler, which hangs with several processes and exits with 0. Outside the main thread, where Python cannot
    handle signals, the callback does nothing. It costs nothing with one process, and one small reduction an iteration
    with several.

    Example:
        >>> from charlm.callbacks import GracefulStop
        >>> from lightning.pytorch import Trainer
        >>> from lightning.pytorch.demos.boring_classes import BoringModel
        >>> trainer = Trainer(max_steps=9, enable_progress_bar=False, callbacks=[GracefulStop()])
        >>> trainer.fit(BoringModel())  # Ctrl-C leaves stopped.ckpt, for trainer.fit(..., ckpt_path="stopped.ckpt")
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._handlers: dict[int, _Handler] = {}
        self._starts = False
        self._is_set_up = False
        self._alone = True
        self._has_begun = False  # the first epoch has started

    def __getstate__(self) -> dict[str, Any]:
        """Without the handlers of this process: some projects save their callbacks as hyperparameters."""
        return {**vars(self), "_handlers": {}}

    @property
    def stops_now(self) -> bool:
        """Tells StepsPerExecution to end the execution after the current step."""
        return self.received is not None and self._alone

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Handle the signals from the beginning of `fit`."""
        super().setup(trainer, pl_module, stage)
        if stage == "fit":
            self.received, self._starts, self._alone = None, False, trainer.world_size == 1
            self._is_set_up, self._has_begun = True, False
            self._install(trainer)
            let_workers_outlive_signals(trainer)

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._install(trainer)  # Lightning has installed its own handlers since `setup`

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._starts = True
        self._install(trainer)
        add_iteration_end(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._has_begun = True

    def on_iteration_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save and stop if any of the processes got a signal.

        Raises:
            Stopped: a process got a signal.
        """
        signum = self.received or 0
        if trainer.world_size > 1:
            mine = torch.tensor(signum, device=trainer.strategy.root_device)
            signum = int(trainer.strategy.reduce(mine, reduce_op="max"))
        if not signum or is_over(trainer):
            return
        self.received = signum  # in every process the next signal ends it at once
        file = _save(trainer)
        raise Stopped(signum, trainer.global_step, file, None if trainer.is_global_zero else 0)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        save_resumable_counters(trainer, checkpoint)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Restore the previous signal handlers.

        Raises:
            Stopped: Ctrl-C came before `setup`, for example while several processes connect, or after `teardown`.
        """
        self._restore_handlers(trainer)
        if isinstance(exception, KeyboardInterrupt) and not self._is_set_up:
            raise Stopped(signal.SIGINT) from None

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._restore_handlers(trainer)
        self._is_set_up = False

    def _install(self, trainer: Trainer) -> None:
        if threading.current_thread() is not threading.main_thread():
            return

        for signum in _SIGNALS:
            if signum == _SIGHUP and signal.getsignal(signum) == signal.SIG_IGN:  # by nohup
                continue
            if signum not in self._handlers:
                self._handlers[signum] = _Handler(signum, partial(self._handle, trainer))
            signal.signal(signum, self._handlers[signum])

    def _restore_handlers(self, trainer: Trainer) -> None:
        for signum, handler in self._handlers.items():
            if signum == self.received == _SIGHUP:
                handler.before = signal.SIG_IGN  # the second one, of the system or the shell, may still come
                atexit.register(signal.signal, signum, signal.SIG_IGN)  # Lightning has put `handler` back by then
            handler.handle = None
            signal.signal(signum, handler.before)
        self._handlers = {}
        remove_iteration_end(trainer)
        let_workers_be(trainer)

    def _handle(self, trainer: Trainer, signum: int) -> None:
        """Handle a signal, which can come between any two Python instructions."""
        if signum == _SIGHUP:
            _leave_closed_terminal()
            if self.received is not None:  # the system and the shell each send one when a terminal is closed
                return
        if self.received is not None:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
        elif not self._is_training(trainer):
            raise Stopped(signum)
        else:
            self.received = signum
            if trainer.is_global_zero:
                name = signal.Signals(signum).name
                # not through sys.stderr, which may be in the middle of writing a line
                os.write(
                    2, f"\n{name}: saving and stopping after this step; a second signal ends it at once\n".encode()
                )

    def _is_training(self, trainer: Trainer) -> bool:
        """Whether the training loop has begun; before it, as in a learning-rate sweep, there is nothing to save."""
        epochs: Any = trainer.fit_loop.epoch_progress.current  # its class has more counters than its declaration
        return self._has_begun or (self._starts and epochs.started > epochs.completed)


def _leave_closed_terminal() -> None:
    """Discard the output if the terminal was closed, since writing to it would be an error."""
    for output in (1, 2):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(output).st_mode) and not os.isatty(output):
                os.dup2(os.open(os.devnull, os.O_WRONLY), output)


class _Handler:
    """A signal handler that can be switched off, and then does what the previous handler did.

    After an exception Lightning reinstalls the handlers that it found when training began, and this is one of them.

    Args:
        signum: the number of the signal.
        handle: called with this number; None: the handler is switched off.
    """

    def __init__(self, signum: int, handle: Callable[[int], None]) -> None:
        before = signal.getsignal(signum)
        self.before: Any = before.before if isinstance(before, _Handler) and before.handle is None else before
        self.handle: Callable[[int], None] | None = handle

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        if self.handle is not None:
            self.handle(signum)
        else:
            signal.signal(signum, self.before)
            signal.raise_signal(signal.Signals(signum))


def _save(trainer: Trainer) -> str:
    """Save the current state, and return the path of the file."""
    for callback in trainer.checkpoint_callbacks:
        if hasattr(callback, "save_now"):
            return str(callback.save_now(trainer))
    folders = [str(folder) for c in trainer.checkpoint_callbacks if (folder := getattr(c, "dirpath", None))]
    file = os.path.join((folders or [trainer.default_root_dir])[0], "stopped.ckpt")  # the folder may be an address
    trainer.save_checkpoint(file)
    return file
