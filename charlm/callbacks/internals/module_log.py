"""`self.log` of one module: who gets the values, in which hook, and when Lightning writes them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from charlm.callbacks.internals.lightning import LightningModule, Trainer
from charlm.callbacks.internals.trainer_attributes import callbacks_of

_lightning_log = LightningModule.log


@contextmanager
def captured_log(trainer: Trainer, pl_module: LightningModule, take: Callable[..., None]) -> Iterator[None]:
    """Call `take` in place of `pl_module.log`, also where callbacks log; other modules log as before.

    Args:
        trainer: its callbacks hold `pl_module.log` as an attribute of their own.
        pl_module: the module that logs.
        take: gets the arguments of `log`.
    """
    before: Any = LightningModule.log
    callbacks = callbacks_of(trainer)
    holding = [(vars(callback), vars(callback)["log"]) for callback in callbacks if "log" in vars(callback)]

    def log(module: LightningModule, *args: Any, **kwargs: Any) -> None:
        if module is pl_module:
            take(*args, **kwargs)
        else:
            before(module, *args, **kwargs)

    # on the class: the module may be copied meanwhile, or have a `log` of its own that calls this one
    LightningModule.log = log  # type: ignore[method-assign,assignment]  # until the context ends
    try:
        for attributes, _ in holding:
            attributes["log"] = pl_module.log
        yield
    finally:
        LightningModule.log = before  # type: ignore[method-assign]  # restored
        for attributes, held in holding:
            attributes["log"] = held


def log_in_hook(pl_module: LightningModule, hook: str | None, name: str, value: Any, **options: Any) -> None:
    """Lightning's own `log`, as if the module logged in `hook`; None: in the hook that Lightning is in."""
    if hook is not None:
        pl_module._current_fx_name = hook
    _lightning_log(pl_module, name, value, **options)


def current_hook(pl_module: LightningModule) -> str | None:
    """The hook that Lightning is in."""
    return pl_module._current_fx_name


def begin_batch(trainer: Trainer, batch: Any) -> None:
    """Tell Lightning which batch the values that are logged from now on belong to."""
    trainer._logger_connector.on_batch_start(batch)


def write_batch(trainer: Trainer) -> None:
    """Let Lightning write what the batch has logged, where a step is written, and update its metrics."""
    trainer._logger_connector.on_batch_end()
    trainer._logger_connector.update_train_step_metrics()


def restore_callback_metrics(trainer: Trainer, metrics: Mapping[str, Tensor]) -> None:
    """Put values from a checkpoint into `trainer.callback_metrics`."""
    trainer._logger_connector._callback_metrics.update(metrics)
