"""How far a Trainer is, in the two ways that its own counters do not tell."""

import math

from lightning.pytorch import Trainer


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
