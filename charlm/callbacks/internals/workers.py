"""Workers of DataLoaders that outlive a SIGTERM to all processes of a job, so that the training can still save."""

import os
import signal
import threading
from collections.abc import Callable
from functools import partial
from multiprocessing import parent_process
from typing import Any

from torch.utils.data import DataLoader

from charlm.callbacks.internals.lightning import Trainer, pl_worker_init_function

Init = Callable[[int], object] | None


class Outlive:
    """A `worker_init_fn` that lets a worker end by its parent alone, and then does what another one does.

    torch's workers end at any SIGTERM, and torch raises an error in the training for each that does.
    """

    def __init__(self, init: Init) -> None:
        self.init = init

    def __call__(self, number: int) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP})
        threading.Thread(target=_wait_for_parent, daemon=True).start()
        if self.init is not None:
            self.init(number)


def let_workers_outlive_signals(trainer: Trainer) -> None:
    """Let the workers of loaders that `trainer` prepares from now on ignore signals that are not from their parent.

    Not on Windows and macOS, where Python does not say who sent a signal.
    """
    if hasattr(signal, "sigwaitinfo"):
        vars(trainer.strategy)["process_dataloader"] = partial(_process, trainer, trainer.strategy.process_dataloader)


def let_workers_be(trainer: Trainer) -> None:
    """Prepare loaders as before; a second call changes nothing."""
    vars(trainer.strategy).pop("process_dataloader", None)


def _process(trainer: Trainer, process: Callable[[object], object], loader: object) -> object:
    loader = process(loader)
    options: Any = vars(loader) if isinstance(loader, DataLoader) else getattr(loader, "options", None)
    if not isinstance(options, dict):  # it is where the loader is a ResumableLoader
        return loader
    init = options.get("worker_init_fn")
    if options.get("num_workers") and not isinstance(init, Outlive):
        if init is None and isinstance(loader, DataLoader) and os.environ.get("PL_SEED_WORKERS", "0") != "0":
            init = partial(pl_worker_init_function, rank=trainer.global_rank)  # as Lightning does where there is none
        options["worker_init_fn"] = Outlive(init)
    return loader


def _wait_for_parent() -> None:
    parent: Any = parent_process()  # the training; `os.getppid` may be the forkserver that has started the worker
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent.pid:
        pass
    os._exit(0)
