"""Which hooks of callbacks and modules do something: the others need not be called at every step."""

from collections.abc import Callable
from functools import partial
from typing import Any

from charlm.callbacks.internals.lightning import PACKAGE, Callback, LightningModule, Trainer
from charlm.callbacks.internals.trainer_attributes import callbacks_of

Hook = Callable[..., Any]

STEP_HOOKS = (
    *("on_train_batch_start", "on_before_zero_grad", "on_before_backward", "on_after_backward"),
    *("on_before_optimizer_step", "on_train_batch_end"),
)
_ONCE_AN_EXECUTION = (f"{PACKAGE}.callbacks.model_checkpoint", f"{PACKAGE}.callbacks.progress")


def overrides(owner: Callback | LightningModule, name: str) -> bool:
    """Whether a callback or a module does something in the hook `name`, through its class or the object itself."""
    base = Callback if isinstance(owner, Callback) else LightningModule
    hook = getattr(owner, name)
    return getattr(hook, "__func__", hook) is not getattr(base, name)


def offers(owner: Callback | LightningModule, offer: str, *methods: str) -> bool:
    """Whether `owner` has the method `offer`, and none of `methods` is from a subclass that does not know of it."""
    for names in (vars(owner), *map(vars, type(owner).__mro__)):
        if offer in names or any(method in names for method in methods):
            return offer in names
    return False


def acts_every_step(callback: Callback, name: str) -> bool:
    """Whether a callback does something in the hook `name` at every step.

    ModelCheckpoint and the progress bars of Lightning, and callbacks with `per_execution = True`, need
    `on_train_batch_start` and `on_train_batch_end` only at the end of an execution.
    """
    if not overrides(callback, name):
        return False
    if not name.startswith("on_train_batch"):
        return True
    file = getattr(getattr(callback, name), "__module__", "")
    return not (file.startswith(_ONCE_AN_EXECUTION) or getattr(callback, "per_execution", False))


def step_hooks(name: str, trainer: Trainer, pl_module: LightningModule) -> list[Hook]:
    """The hooks `name` to call at every step, in Lightning's order: those of the callbacks, then the module's."""
    callbacks = callbacks_of(trainer)
    hooks: list[Hook] = [
        partial(getattr(callback, name), trainer, pl_module)
        for callback in callbacks
        if acts_every_step(callback, name)
    ]
    return hooks + ([getattr(pl_module, name)] if overrides(pl_module, name) else [])
