"""Climb to a learning rate by short trainings: pure functions of the losses that these trainings have."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

Train = Callable[[float, int], Sequence[float]]
"""Trains at a rate for a number of steps, from the same weights on the same batches each time, and returns the loss
before each step, up to the first NaN or infinite one."""

TRIAL_STEPS = 200  # shorter trials may choose a rate that only looks good at first
MIN_TRIAL_STEPS = 30  # with fewer, the mean over a third of the steps is noise
MOST_TRIALS = 12
_HALF_DECADE = math.sqrt(10)
_CLIFF = 8.0  # a loss this many times steeper than on the other side counts as no more than that
_POWER = 0.4  # of the factor for longer trainings; fitted on names, see scripts/bench


@dataclass(frozen=True)
class Trial:
    """A short training at one rate.

    Args:
        rate: the learning rate.
        steps: optimizer steps that it was given.
        loss: the mean over the last third of them; infinite if a loss was NaN or infinite.
    """

    rate: float
    steps: int
    loss: float


@dataclass(frozen=True)
class Climb:
    """The trials, and the rate that follows from them.

    Args:
        trials: in the order in which they were made.
        rate: the best rate for a training as long as the trials; None if no trial had finite losses.
        factor: the rate for the training that follows, divided by `rate`.
        steps: optimizer steps of the training that follows; infinite if not known.
        decays: whether its schedule lowers the rate.
    """

    trials: list[Trial]
    rate: float | None
    factor: float = 1.0
    steps: float = math.inf
    decays: bool = False

    @property
    def suggestion(self) -> float | None:
        """The rate for the training that follows."""
        return None if self.rate is None else self.rate * self.factor


def climb(
    train: Train,
    start: float,
    *,
    trial_steps: int = TRIAL_STEPS,
    steps: float = math.inf,
    decays: bool = False,
    most: int = MOST_TRIALS,
) -> Climb:
    """Train for a few steps at `start` and at rates half a decade apart, up or down for as long as the loss gets lower.

    Args:
        train: makes a trial.
        start: the first rate, > 0.
        trial_steps: steps of a trial.
        steps: optimizer steps of the training that follows; infinite if not known.
        decays: whether the training's schedule lowers the rate.
        most: number of trials, at most.

    Example:
        >>> found = climb(lambda rate, steps: [(math.log10(rate) + 1.5) ** 2] * steps, 1e-3)
        >>> [f"{trial.rate:.2g}" for trial in found.trials], round(found.rate, 4)
        (['0.001', '0.00032', '0.0032', '0.01', '0.032', '0.1'], 0.0316)
    """
    trials: dict[int, Trial] = {}  # by half decades above the start

    def loss(place: int) -> float:
        if place not in trials and len(trials) < most:
            rate = start * _HALF_DECADE**place
            trials[place] = Trial(rate, trial_steps, _score(train(rate, trial_steps), trial_steps))
        return trials[place].loss if place in trials else math.inf

    loss(best := 0)
    while (loss(best - 1) < loss(best) or loss(best) == math.inf) and len(trials) < most:
        best -= 1
    while loss(best + 1) < loss(best):
        best += 1
    found = (
        None
        if loss(best) == math.inf
        else start * _HALF_DECADE ** (best + _offset(*map(loss, range(best - 1, best + 2))))
    )
    return Climb([*trials.values()], found, factor(trial_steps, steps, decays), steps, decays)


def factor(trial_steps: int, steps: float, decays: bool) -> float:
    """What the rate that is best for `trial_steps` steps is multiplied by for a training of `steps` steps.

    Example:
        >>> round(factor(200, 6400, False), 3), factor(200, 100, True), factor(200, math.inf, True)
        (0.25, 1.0, 1.0)
    """
    if decays or not trial_steps < steps < math.inf:  # trials decay as the training does
        return 1.0
    return (trial_steps / steps) ** _POWER


def _score(losses: Sequence[float], steps: int) -> float:
    """The mean of the last third; infinite where the training was lost."""
    if len(losses) < steps or not all(map(math.isfinite, losses)):
        return math.inf
    return fmean(losses[-(steps // 3) :])


def _offset(below: float, at: float, above: float) -> float:
    """Where the parabola through three losses has its minimum, from -1/2 to 1/2 of the distance between them."""
    if not math.isfinite(below):
        return 0.0
    above = min(above, at + _CLIFF * (below - at))  # a cliff is no parabola
    bend = below - 2 * at + above
    return min(0.5, max(-0.5, (below - above) / (2 * bend))) if bend > 0 else 0.0
