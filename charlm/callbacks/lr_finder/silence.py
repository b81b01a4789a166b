"""A time in which nobody outside of a module hears what it does."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.profilers import PassThroughProfiler

from charlm.callbacks.internals.log_capture import log_taken


@contextmanager
def silenced(
    trainer: Trainer, pl_module: LightningModule, callbacks: Sequence[Callback], logged: dict[str, Any]
) -> Iterator[None]:
    """Keep a training's steps from its callbacks, loggers and profiler.

    Args:
        trainer: in training.
        pl_module: the module it trains.
        callbacks: are called in place of the trainer's.
        logged: takes what the module logs.
    """
    quiet = {
        "callbacks": list(callbacks),
        "loggers": [DummyLogger() for _ in trainer.loggers],
        "profiler": PassThroughProfiler(),
    }
    before = {name: getattr(trainer, name) for name in (*quiet, "should_stop")}

    def take(name: str, value: Any, *args: Any, **kwargs: Any) -> None:
        logged[name] = value

    try:
        for name, value in quiet.items():
            setattr(trainer, name, value)
        with log_taken(pl_module, take):
            yield
    finally:
        for name, value in before.items():
            setattr(trainer, name, value)
