"""The processes of a training end together: where one is gone or stands still, the others do not wait for it."""

import atexit
import os
from typing import Any

import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer

from charlm.callbacks.process_watch import Watch

_FIRST = "PROCESS_GUARD_FIRST"
"""Environment variable that the processes launched by a first one inherit: its number."""
_WAITS = 10.0  # seconds for a process whose connection has closed to be gone


class ProcessLost(ConnectionError):
    """A process of this training is gone; the message says which and how.

    Args:
        message: for the user.
        exit_status: of this process, from now on.
    """

    def __init__(self, message: str, exit_status: int) -> None:
        super().__init__(message)
        self.exit_status = exit_status


class ProcessGuard(Callback):
    """End all processes of a training on this machine when one of them is gone or stands still.

    Lightning's DDP waits half an hour for a process that has been stopped (SIGSTOP), and leaves it behind. Here each
    process looks after the first one, and the first one after those that it has launched. If one has ended, the others
    say so in a sentence and end too, with its exit status; the first one leaves no other behind. One that has stood
    still for `timeout` seconds is killed, by whichever runs. A process that only works for long is never touched, so
    the time that gloo and NCCL wait may stay as it is. All of them standing still is a pause (Ctrl-Z): they go on with
    SIGCONT, and the time does not count.

    It acts from the setup of a training on; after `watch(trainer)`, from there on, also while the processes find each
    other. It does nothing where Lightning's launcher has not started the processes by itself, as under torchrun, SLURM
    or in notebooks, and over several machines it acts on each. Windows has no such standing still.

    Args:
        timeout: seconds that a process may stand still, > 0.

    Raises:
        ValueError: `timeout` <= 0.
        ProcessLost: in training, when another process has ended.

    Example:
        >>> trainer = Trainer(strategy="ddp", devices=2, callbacks=[ProcessGuard(timeout=60)])  # doctest: +SKIP
    """

    def __init__(self, timeout: float = 60.0) -> None:
        if not timeout > 0:
            raise ValueError(f"ProcessGuard's timeout is {timeout}; give a number of seconds above 0")
        self.timeout = timeout
        self._watch: Watch | None = None
        if "LOCAL_RANK" not in os.environ:  # Lightning will launch the others from here
            os.environ[_FIRST] = str(os.getpid())

    def watch(self, trainer: Trainer) -> None:
        """Begin now; again it changes nothing."""
        if self._watch is not None or trainer.world_size == 1:
            return
        rank, first = (int(os.environ.get(name, "0")) for name in ("LOCAL_RANK", _FIRST))
        launcher: Any = trainer.strategy.launcher
        if rank > 0 and first > 0 and (os.getppid() == first or not _exists(first)):
            self._watch = Watch(self.timeout, first=first)
        elif rank == 0 and first == os.getpid() and hasattr(launcher, "procs"):
            self._watch = Watch(self.timeout, launcher=launcher)
            atexit.register(self._watch.end_others)
        if self._watch is not None:
            self._watch.start()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.watch(trainer)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let each go its way, once all are here."""
        if self._watch is not None:
            trainer.strategy.barrier("process_guard")
            self._watch.leave()
            self._watch = None

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Where the reason is that a process is gone, say that instead.

        Raises:
            ProcessLost: it is.
        """
        watch, self._watch = self._watch, None
        if watch is None or not _is_of_connection(exception):
            if watch is not None:
                watch.leave()
            return
        if watch.first is not None:  # not waited for: it waits for this one
            watch.leave()
            raise ProcessLost("another process of this training has ended, and so does this one", 1) from None
        lost = watch.wait(_WAITS)
        if lost is not None:
            raise ProcessLost(lost.message, lost.exit_status) from None


def _exists(process: int) -> bool:
    """Whether it can be seen; on Windows, where asking would end it, it is taken to be there."""
    if os.name == "posix":
        try:
            os.kill(process, 0)
        except OSError:
            return False
    return True


def _is_of_connection(exception: BaseException) -> bool:
    """Whether it is what a process gets whose other one has gone: from sockets, gloo, or the rendezvous."""
    closed = ("Connection closed", "Connection reset", "Broken pipe")
    said = isinstance(exception, RuntimeError) and any(text in str(exception) for text in closed)
    return said or isinstance(exception, ConnectionError | dist.DistNetworkError)
