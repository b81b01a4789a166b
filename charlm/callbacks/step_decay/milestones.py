"""The rule of step decay: the learning rate as a function of the position in the training."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from charlm.callbacks.internals.lightning import rank_zero_warn


def decay_factor(position: float, milestones: Sequence[float], gamma: float) -> float:
    """The factor of the base rate: `gamma` to the power of the number of milestones <= `position`.

    Args:
        position: of the training, in the unit of `milestones`.
        milestones: strictly rising.
        gamma: factor per milestone.

    Example:
        >>> [decay_factor(step, [2, 3], gamma=0.5) for step in range(5)]
        [1.0, 1.0, 0.5, 0.25, 0.25]
    """
    return gamma ** bisect_right(milestones, position)


def check_arguments(milestones: Sequence[float], gamma: float, unit: str, over: str) -> None:
    """Check StepDecay's arguments.

    Raises:
        ValueError: milestones that do not rise strictly or are out of range, `gamma` outside (0, 1], or another `unit`
            or `over`.
    """
    if over not in ("rate", "schedule"):
        raise ValueError(f"StepDecay's over is 'rate' or 'schedule', not {over!r}")
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
            f"StepDecay's milestones are whole numbers of {unit}s, 1 or more, not {milestones};"
            " for fractions of the training use unit='fraction'"
        )
    if any(later <= earlier for earlier, later in pairwise(milestones)):
        raise ValueError(f"StepDecay's milestones rise strictly, unlike {milestones}; sort them and remove duplicates")


def check_fractions(done: float | None, before: float) -> None:
    """Check milestones that are fractions of the training; warn if its length has changed since the checkpoint.

    Args:
        done: the fraction of the training that is done; None if its length is unknown.
        before: the same according to the checkpoint; 0 without one.

    Raises:
        ValueError: the length is unknown.
    """
    if done is None:
        raise ValueError(
            "StepDecay's milestones are fractions of a training whose length is unknown;"
            " set max_steps, or max_epochs with a loader that has a length, or use unit='step'"
        )
    if before and done != before:
        rank_zero_warn(
            f"StepDecay's milestones are fractions, and the length of the training has changed: {before:.0%} was done"
            f" in the checkpoint, which is {done:.0%} now. Milestones that have passed stay so, and the others move;"
            " to keep them train to the old length, or use unit='step'"
        )


def warn_of_new(arguments: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Warn if StepDecay's arguments are not those in the state of a checkpoint in which it had milestones."""
    old = {name: state.get(name, "rate") for name in arguments}  # only `over` can be missing: it is newer
    if arguments != old and old["milestones"]:
        new, before = (", ".join(f"{name}={value!r}" for name, value in each.items()) for each in (arguments, old))
        rank_zero_warn(f"StepDecay uses its new {new}; the checkpoint has {before}")
