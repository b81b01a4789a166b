"""What separates a sweep from its training: silent callbacks, loggers and profiler, and batches of its own."""

import copy
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.utilities.combined_loader import CombinedLoader
from torch.utils.data import DataLoader

from charlm.callbacks.internals.log_capture import log_taken


@contextmanager
def silenced(
    trainer: Trainer, pl_module: LightningModule, callbacks: Sequence[Callback], logged: dict[str, Any]
) -> Iterator[None]:
    """Silence callbacks, loggers and profilers for the module.

    Args:
        trainer: in training.
        pl_module: the module that it trains.
        callbacks: these are called instead of the trainer's.
        logged: receives what the module logs, by name.
    """
    silent = {
        "callbacks": list(callbacks),
        "loggers": [DummyLogger() for _ in trainer.loggers],
        "profiler": PassThroughProfiler(),
    }
    before = {name: getattr(trainer, name) for name in (*silent, "should_stop")}

    def take(name: str, value: Any, *args: Any, **kwargs: Any) -> None:
        logged[name] = value

    try:
        for name, value in silent.items():
            setattr(trainer, name, value)
        with log_taken(pl_module, take):
            yield
    finally:
        for name, value in before.items():
            setattr(trainer, name, value)


def endless_batches(trainer: Trainer) -> Generator[Any]:
    """Batches from second iterators over the training's loaders, epoch after epoch.

    Args:
        trainer: in training; its limits and the mode of its combined loader apply.

    Raises:
        ValueError: a loader that can be read only once, or loaders without a batch.
    """
    combined = trainer.fit_loop._combined_loader
    assert combined is not None  # Lightning makes it before on_train_start
    second: CombinedLoader = copy.copy(combined)
    second.flattened = [_second(loader) for loader in combined.flattened]
    try:
        while True:
            empty = True
            for batch, _, _ in second:
                if batch is not None:  # Lightning skips these too
                    empty = False
                    yield batch
            if empty:
                raise ValueError("LRFinder got no batch from the training loader; give it data, or remove LRFinder")
    finally:
        second.reset()


def _second(loader: Any) -> Any:
    """A loader with an iterator of its own, so that the first one stays where it is."""
    if isinstance(loader, Iterator):
        raise ValueError(
            f"LRFinder cannot read batches from a {type(loader).__name__}, which can be read only once;"
            " train on a DataLoader or a list"
        )
    second = copy.copy(loader)
    if isinstance(loader, DataLoader):
        vars(second).update(_iterator=None, persistent_workers=False)  # persistent workers share one iterator
    return second
