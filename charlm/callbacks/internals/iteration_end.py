"""One hook more for callbacks: `on_turn_end(trainer, pl_module)`, when all that a batch brings with it has been done.

A turn of Lightning's training loop is a batch (an execution of StepsPerExecution: many) with its hooks, its logs, the
validation that is due after it and the schedulers that wait for that. Lightning calls no hook at its end, and what is
saved in `on_train_batch_end` is saved before the step is logged and before the validation. Here the methods that end a
turn and an epoch, `on_advance_end` of the two loops, are replaced on these two objects, as StepsPerExecution replaces
`advance`: their classes, and other trainers, stay as they are.
"""

from collections.abc import Callable
from typing import Any

from lightning.pytorch import Trainer


def call_turn_ends(trainer: Trainer) -> None:
    """From now on call `on_turn_end` of all callbacks that have it, in their order; again it changes nothing."""
    for loop in (trainer.fit_loop.epoch_loop, trainer.fit_loop):
        if "on_advance_end" not in vars(loop):
            vars(loop)["on_advance_end"] = _then_tell(trainer, loop.on_advance_end)


def leave_turn_ends(trainer: Trainer) -> None:
    """Give the loops their own methods back; again it changes nothing."""
    for loop in (trainer.fit_loop.epoch_loop, trainer.fit_loop):
        vars(loop).pop("on_advance_end", None)


def _then_tell(trainer: Trainer, on_advance_end: Callable[..., None]) -> Callable[..., None]:
    def end(*fetcher: Any) -> None:
        on_advance_end(*fetcher)
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]  # set from outside the class
        for callback in callbacks:
            if hasattr(callback, "on_turn_end"):
                callback.on_turn_end(trainer, trainer.lightning_module)

    return end
