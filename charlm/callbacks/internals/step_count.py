"""Lightning's own count of logged steps, and the steps at which a ModelCheckpoint saves."""

from typing import Any

from charlm.callbacks.internals.lightning import Callback, ModelCheckpoint, Trainer


def scalar_step(trainer: Trainer) -> int:
    """The step under which Lightning writes what is logged now; `shared/progress.py` explains the step counts."""
    return trainer.fit_loop.epoch_loop._batches_that_stepped


def count_scalar_step(trainer: Trainer) -> None:
    """Count one step more, as Lightning does after each."""
    trainer.fit_loop.epoch_loop._batches_that_stepped += 1


def steps_between_checkpoints(callback: Callback) -> int:
    """Optimizer steps between two checkpoints of RunCheckpoint or a ModelCheckpoint; 0 where it counts none."""
    if isinstance(callback, ModelCheckpoint):
        return callback._every_n_train_steps
    return getattr(callback, "every_n_train_steps", None) or 0


def step_counter(trainer: Trainer) -> Any:
    """Under automatic optimization its `completed` is `trainer.global_step`, which is far slower to read."""
    return trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step.total
