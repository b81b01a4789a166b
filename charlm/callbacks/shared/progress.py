"""How far a training is, and under which step a value is logged.

There are three step counts, which agree within the hooks of a batch:

- `trainer.global_step`: the completed optimizer steps. It rises within the batch, before `on_train_batch_end`.
- `logged_step`: the step under which Lightning has logged the latest optimizer step; the first step is 0. Figures and
  texts that show the current weights are logged under it.
- `scalar_step`: the step under which Lightning writes values that are logged now. It rises when a batch is over, after
  the validation, so values that belong to a validation are logged under it, beside `loss/val`. It differs from
  `logged_step` between two batches, within a step of several accumulated batches, after a resume and after the last
  step.

`log_is_due` tells whether Lightning writes the scalars of the batch that is being trained on.
"""

import math
from itertools import pairwise
from typing import Any

from charlm.callbacks.internals.averaging import epochs_with_steps
from charlm.callbacks.internals.lightning import GradientAccumulationScheduler, Trainer
from charlm.callbacks.internals.step_count import scalar_step as scalar_step
from charlm.callbacks.internals.step_count import window_is_complete
from charlm.callbacks.internals.trainer_attributes import callbacks_of, steps_per_log


def training_steps(trainer: Trainer) -> float:
    """The optimizer steps of the whole training under automatic optimization; infinite where its length is not known.

    These are the steps of earlier epochs, and those of this epoch and the ones to come, which are taken to be as long.
    Each epoch has the accumulation that GradientAccumulationScheduler is going to give it, where Lightning's
    `estimated_stepping_batches` takes the one of this moment for all.
    """
    if trainer.train_dataloader is None:  # as in `configure_optimizers`
        trainer.fit_loop.setup_data()
    most = trainer.max_steps if trainer.max_steps >= 0 else math.inf
    batches, epochs = trainer.num_training_batches, trainer.max_epochs
    if epochs in (None, -1) or batches == math.inf:
        return most
    callbacks = callbacks_of(trainer)
    schedulers = [callback for callback in callbacks if isinstance(callback, GradientAccumulationScheduler)]
    accumulation = schedulers[0].scheduling if schedulers else {0: trainer.accumulate_grad_batches}
    loop = trainer.fit_loop
    now: Any = loop.epoch_progress.current  # its class has more counters than its declaration
    of_epoch = loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step.current.completed
    steps = trainer.global_step - of_epoch * (now.started > now.processed)
    last = max(1, epochs_with_steps(trainer))
    for first, end in pairwise([*sorted(accumulation), last]):
        left = min(end, last) - max(first, now.processed)
        steps += max(0, left) * math.ceil(batches / accumulation[first])
    return min(steps, most)


def fraction_done(trainer: Trainer) -> float | None:
    """The completed fraction of the training, from 0 to 1, or None if the length of the training is not known.

    The length is what max_steps and max_epochs allow. Under manual optimization a batch may take any number of
    optimizer steps, so the larger of two fractions counts: of optimizer steps to max_steps, and of batches.
    """
    if trainer.lightning_module.automatic_optimization:
        total = training_steps(trainer)
        return trainer.global_step / total if 0 < total < math.inf else None
    parts = []
    if trainer.max_steps > 0:
        parts.append(trainer.global_step / trainer.max_steps)
    batches = trainer.num_training_batches * (trainer.max_epochs or 0)
    if 0 < batches < math.inf:
        parts.append(trainer.fit_loop.total_batch_idx / batches)
    return max(parts, default=None)


def logged_step(trainer: Trainer) -> int:
    """The step under which Lightning logs the scalars of the latest training step; the first step is 0.

    It counts optimizer steps; under manual optimization, where a batch can take several, it counts batches.
    """
    automatic = trainer.lightning_module.automatic_optimization
    return max(0, trainer.global_step - 1 if automatic else trainer.fit_loop.total_batch_idx)


def log_is_due(trainer: Trainer) -> bool:
    """Whether Lightning writes the values that are logged for the current batch.

    Lightning writes them at every `log_every_n_steps`-th step, and at every step once training is told to stop, but not
    for a batch that only accumulates gradients.
    """
    every = steps_per_log(trainer)
    if not every or not (trainer.should_stop or (scalar_step(trainer) + 1) % every == 0):
        return False
    return window_is_complete(trainer)
