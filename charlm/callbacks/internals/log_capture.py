"""`self.log` of one module, heard by somebody else for a time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import LightningModule


@contextmanager
def log_taken(pl_module: LightningModule, take: Callable[..., None]) -> Iterator[None]:
    """Have `take` called with what `pl_module.log` is called with; other modules log as before.

    Args:
        pl_module: the module that logs.
        take: gets the arguments of `log`.
    """
    before: Any = LightningModule.log

    def log(module: LightningModule, *args: Any, **kwargs: Any) -> None:
        if module is pl_module:
            take(*args, **kwargs)
        else:
            before(module, *args, **kwargs)

    # not on the module, which may be copied meanwhile, or have its own `log` around this one
    LightningModule.log = log  # type: ignore[method-assign,assignment]  # for that time
    try:
        yield
    finally:
        LightningModule.log = before  # type: ignore[method-assign]  # given back
