"""Lightning's own count of logged steps, and the steps at which a ModelCheckpoint saves."""

from typing import Any

from charlm.callbacks.internals.lightning import Callback, ModelCheckpoint, Trainer


def scalar_step(trainer: Trainer) -> int:
    """The step under which Lightning writes what is logged now; `shared/progress.py` explains the step counts."""
    return trainer.fit_loop.epoch_loop._batches_that_stepped


def count_scalar_steps(trainer: Trainer, number: int = 1) -> None:
    """Count steps as Lightning does after each."""
    trainer.fit_loop.epoch_loop._batches_that_stepped += number


def count_steps(trainer: Trainer, number: int) -> None:
    """Count whole steps, each of one batch, as Lightning does from the batch to the logs."""
    loop = trainer.fit_loop.epoch_loop
    of_optimizer = loop.automatic_optimization.optim_progress.optimizer
    for progress in (loop.batch_progress, of_optimizer.zero_grad, of_optimizer.step):
        progress.total.increment_by(number)
        progress.current.increment_by(number)
    count_scalar_steps(trainer, number)


def batch_is_last(trainer: Trainer) -> bool:
    """Whether the latest batch is the last one of its epoch."""
    batches = trainer.fit_loop.epoch_loop.batch_progress
    return batches.is_last_batch or batches.current.ready == trainer.num_training_batches


def window_is_complete(trainer: Trainer) -> bool:
    """Whether Lightning takes a step with the latest batch, as it does with the last one of an epoch in any case."""
    ready = trainer.fit_loop.epoch_loop.batch_progress.current.ready
    return batch_is_last(trainer) or ready % trainer.accumulate_grad_batches == 0


def steps_between_checkpoints(callback: Callback) -> int:
    """Optimizer steps between two checkpoints of RunCheckpoint or a ModelCheckpoint; 0 where it counts none."""
    if isinstance(callback, ModelCheckpoint):
        return callback._every_n_train_steps
    return getattr(callback, "every_n_train_steps", None) or 0


def step_counter(trainer: Trainer) -> Any:
    """Under automatic optimization its `completed` is `trainer.global_step`, which is far slower to read."""
    return trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step.total
