"""What separates a sweep from its training: silent callbacks, loggers and profiler, and batches of its own."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from charlm.callbacks.internals.lightning import (
    Callback,
    DummyLogger,
    LightningModule,
    PassThroughProfiler,
    Timer,
    Trainer,
)
from charlm.callbacks.internals.loaders import second_loader
from charlm.callbacks.internals.module_log import captured_log
from charlm.callbacks.internals.trainer_attributes import callbacks_of


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
        with captured_log(trainer, pl_module, take):
            yield
    finally:
        for name, value in before.items():
            setattr(trainer, name, value)


def endless_batches(trainer: Trainer, validation: bool = False) -> Generator[Any]:
    """Batches from second iterators over the training's loaders, epoch after epoch.

    Args:
        trainer: in training; its limits and the mode of its combined loader apply.
        validation: batches of the first validation loader instead.

    Raises:
        ValueError: a loader that can be read only once, or loaders without a batch.
    """
    second = second_loader(trainer, validation)
    try:
        while True:
            empty = True
            for batch, _, number in second:
                if batch is not None and not number:  # Lightning skips those that are None
                    empty = False
                    yield batch
            if empty:
                raise ValueError("LRFinder got no batch from the training loader; give it data, or remove LRFinder")
    finally:
        second.reset()


@contextmanager
def untimed(trainer: Trainer, pl_module: LightningModule) -> Iterator[None]:
    """Stop the clocks of Lightning's timers inside the block, so that its time does not count towards `max_time`."""
    callbacks = callbacks_of(trainer)
    timers = [(each, each.state_dict()) for each in callbacks if isinstance(each, Timer) and each.start_time()]
    try:
        yield
    finally:
        for timer, elapsed in timers:
            timer.on_train_start(trainer, pl_module)
            timer.load_state_dict(elapsed)
