"""One more hook for callbacks: `on_iteration_end(trainer, pl_module)`, called when an iteration of the loop is over.

An iteration of Lightning's training loop is a batch (with StepsPerExecution: an execution of many batches) with its
hooks, its logs, the validation that is due after it and the schedulers that wait for that validation. Lightning has no
hook at this point, and a checkpoint that is saved in `on_train_batch_end` misses the step's log and the validation.
After the last batch of an epoch without a validation, the hook is called at the end of the epoch alone: Lightning
resumes a state from before with one batch too many. Here `on_advance_end` of the epoch loop and of the fit loop is
replaced on these two objects. Their classes, and the loops of other trainers, do not change.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from charlm.callbacks.internals.lightning import Trainer
from charlm.callbacks.internals.step_count import batch_is_last
from charlm.callbacks.internals.trainer_attributes import callbacks_of


def add_iteration_end(trainer: Trainer) -> None:
    """Call `on_iteration_end` of every callback that has it from now on; a second call changes nothing."""
    for loop in (trainer.fit_loop.epoch_loop, trainer.fit_loop):
        if "on_advance_end" not in vars(loop):
            # no closure, so that what holds a Trainer can be pickled
            vars(loop)["on_advance_end"] = partial(_then_call_hooks, trainer, loop.on_advance_end)


def remove_iteration_end(trainer: Trainer) -> None:
    """Restore the methods of the loops; a second call changes nothing."""
    for loop in (trainer.fit_loop.epoch_loop, trainer.fit_loop):
        vars(loop).pop("on_advance_end", None)


def _then_call_hooks(trainer: Trainer, on_advance_end: Callable[..., None], *fetcher: Any) -> None:
    validated = trainer.fit_loop.epoch_loop.val_loop.batch_progress.total
    before = validated.ready
    on_advance_end(*fetcher)
    if fetcher and batch_is_last(trainer) and validated.ready == before:
        return
    callbacks = callbacks_of(trainer)
    for callback in callbacks:
        if hasattr(callback, "on_iteration_end"):
            callback.on_iteration_end(trainer, trainer.lightning_module)
