"""What a Trainer is doing: which validations belong to a training, and whether the training is over."""

from typing import Any

from torch import Tensor

from charlm.callbacks.internals.lightning import LightningModule, Trainer, TrainerFn
from charlm.callbacks.internals.loop_state import time_is_up as time_is_up
from charlm.callbacks.internals.step_count import batch_is_last


def trainer_of(pl_module: LightningModule) -> Trainer | None:
    """The trainer of a module, or None if it is not attached to one."""
    try:
        return pl_module.trainer
    except RuntimeError:  # Lightning's answer where there is none
        return None


def is_of_fit(trainer: Trainer) -> bool:
    """Whether the validation that is running belongs to a training and is not its sanity check."""
    return trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking


def logged_now(trainer: Trainer, name: str) -> Tensor | None:
    """The value that the loop which runs now has logged, not one that an earlier loop left in `callback_metrics`."""
    earlier = trainer.callback_metrics.pop(name, None)
    value = trainer.callback_metrics.get(name)  # Lightning adds what the loop has logged
    if value is None and earlier is not None:
        trainer.callback_metrics[name] = earlier
    return value


def is_over(trainer: Trainer) -> bool:
    """Whether the training is over after the iteration that has just ended."""
    epochs: Any = trainer.fit_loop.epoch_progress.current  # its class has more counters than its declaration
    ended = epochs.processed + (epochs.started > epochs.processed and batch_is_last(trainer))
    no_more_epochs = trainer.max_epochs not in (None, -1) and ended >= trainer.max_epochs
    return bool(trainer.should_stop or trainer.global_step == trainer.max_steps or no_more_epochs)
