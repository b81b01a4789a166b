"""How far a Trainer is, and under which step something is logged.

There are three step counts, and in the hooks of a batch they tell the same:

- `trainer.global_step`: the optimizer steps that are done. It rises within the batch, before `on_train_batch_end`.
- `logged_step`: the step under which Lightning has logged the latest optimizer step; the first step is 0. Figures and
  texts of a state of the weights are logged under it.
- `scalar_step`: the step under which Lightning writes what `self.log` gets now. It rises when a batch is over, after
  the validation, so what belongs to a validation is logged under it, beside `loss/val`. It differs from `logged_step`
  between two batches, within a step of several accumulated batches, after a resume and after the last step.

`log_is_due` tells whether Lightning writes the scalars of the batch that is being trained on.
"""

import math

from lightning.pytorch import Trainer

from charlm.callbacks.internals.step_count import scalar_step as scalar_step


def fraction_done(trainer: Trainer) -> float | None:
    """The part of the whole training that is done, or None where its length is not known.

    The length is what max_steps and max_epochs allow. Under manual optimization optimizers may step at different paces;
    then the nearer of the two ends counts, the one in Lightning's `global_step` or the one in batches.
    """
    if trainer.lightning_module.automatic_optimization:
        total = trainer.estimated_stepping_batches
        return trainer.global_step / total if 0 < total < math.inf else None
    parts = []
    if trainer.max_steps > 0:
        parts.append(trainer.global_step / trainer.max_steps)
    batches = trainer.num_training_batches * (trainer.max_epochs or 0)
    if 0 < batches < math.inf:
        parts.append(trainer.fit_loop.total_batch_idx / batches)
    return max(parts, default=None)


def logged_step(trainer: Trainer) -> int:
    """The step under which Lightning logs the scalars of the latest training step: the first one's is 0.

    It counts optimizer steps; under manual optimization, where a batch can take several, it counts batches.
    """
    automatic = trainer.lightning_module.automatic_optimization
    return max(0, trainer.global_step - 1 if automatic else trainer.fit_loop.total_batch_idx)


def log_is_due(trainer: Trainer) -> bool:
    """Whether Lightning writes what the batch that is being trained on logs.

    It does at every `log_every_n_steps`-th step, and at every step once training is told to stop; never for a batch
    whose gradients are only accumulated.
    """
    every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set from outside the class
    if not every or not (trainer.should_stop or (scalar_step(trainer) + 1) % every == 0):
        return False
    batches = trainer.fit_loop.epoch_loop.batch_progress
    last = batches.is_last_batch or batches.current.ready == trainer.num_training_batches
    return last or batches.current.ready % trainer.accumulate_grad_batches == 0
