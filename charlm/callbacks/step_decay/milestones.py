"""The rule of step decay: the rate as a function of how far the training is."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

from lightning.pytorch.utilities.rank_zero import rank_zero_warn


def decay_factor(position: float, milestones: Sequence[float], gamma: float) -> float:
    """What the base rate is multiplied by: `gamma` to the power of the number of milestones <= `position`.

    Args:
        position: how far the training is, in the unit of `milestones`.
        milestones: strictly rising.
        gamma: factor per milestone.

    Example:
        >>> [decay_factor(step, [2, 3], gamma=0.5) for step in range(5)]
        [1.0, 1.0, 0.5, 0.25, 0.25]
    """
    return gamma ** bisect_right(milestones, position)


def check_milestones(milestones: Sequence[float], gamma: float, unit: str) -> None:
    """Refuse what StepDecay cannot follow.

    Raises:
        ValueError: milestones that do not rise or are out of range, `gamma` outside (0, 1], or another `unit`.
    """
    if unit not in ("step", "epoch", "fraction"):
        raise ValueError(f"StepDecay's unit is 'step', 'epoch' or 'fraction', not {unit!r}")
    if not 0 < gamma <= 1:
        raise ValueError(f"StepDecay's gamma is a factor in (0, 1], not {gamma}; 0.1 divides the rate by ten")
    if unit == "fraction" and not all(0 < m < 1 for m in milestones):
        raise ValueError(
            f"StepDecay's milestones are fractions of the training between 0 and 1, not {milestones};"
            " to count steps or epochs use unit='step' or unit='epoch'"
        )
    if unit != "fraction" and not all(m >= 1 and float(m).is_integer() for m in milestones):
        raise ValueError(
            f"StepDecay's milestones are whole {unit}s from 1 on, not {milestones};"
            " for fractions of the training use unit='fraction'"
        )
    if any(later <= earlier for earlier, later in pairwise(milestones)):
        raise ValueError(f"StepDecay's milestones rise strictly, unlike {milestones}; sort them and drop what repeats")


def check_length(done: float | None, before: float) -> None:
    """Refuse milestones that are fractions of an unknown length, and say where it is another one than before.

    Args:
        done: the fraction of the training that is done; None where its length is not known.
        before: the same as a checkpoint has it, or 0.

    Raises:
        ValueError: the length is not known.
    """
    if done is None:
        raise ValueError(
            "StepDecay's milestones are fractions of a training whose length is not known;"
            " set max_steps, or max_epochs with a loader that has a length, or use unit='step'"
        )
    if before and done != before:
        rank_zero_warn(
            f"StepDecay's fractions mean other steps than in the checkpoint: {before:.0%} of the training were"
            f" done there, which are {done:.0%} now, so that a rate that had dropped can rise again;"
            " train to the old length, or use unit='step'"
        )
