"""Climb to a learning rate by short trainings: pure functions of the losses that these trainings have."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

Train = Callable[[float, int], Sequence[float]]
"""Trains at a rate for a number of steps, from the same weights on the same batches each time, and returns the loss
before each step, up to the first NaN or infinite one. The rate follows the training's own schedule, compressed into
these steps."""

TRIAL_STEPS = 200  # shorter trials may choose a rate that only looks good at first
MIN_TRIAL_STEPS = 30  # with fewer, the mean over a third of the steps is noise
_MOST_TRIALS = 12  # of one length
_HALF_DECADE = math.sqrt(10)
_LONGER = (2, 4)  # times as many steps, where trials end on the plateau that they began on
_FALL = 0.05  # share of the first loss; on a plateau the loss may still fall by 3 %, as the net learns the mean target
_RISE = 0.01  # share of the first loss
_ALIKE = 1e-4  # share of the first loss
_FIRST = 10  # steps whose median is the first loss
_POWER = {False: 0.4, True: 0.1}  # of the factor, at a constant rate and where the rate decays; see scripts/bench


@dataclass(frozen=True)
class Trial:
    """A short training at one rate.

    Args:
        rate: the learning rate, at the peak of the schedule.
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
        rate: the best rate for a training as long as the trials; None if no trial had finite losses, or all ended
            alike.
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
) -> Climb:
    """Train for a few steps at `start` and at rates half a decade apart, up or down for as long as the loss gets lower.

    If no trial brings the loss clearly down, training may begin on a plateau, on which a low rate looks as good as any.
    Then the highest rate that is stable is tried for two and for four times as many steps, and if the loss falls, the
    climb is repeated from there with trials of that length. If all trials end alike, there is no best rate.

    Args:
        train: makes a trial.
        start: the first rate, > 0.
        trial_steps: steps of a trial.
        steps: optimizer steps of the training that follows; infinite if not known. No longer trial is as long as that.
        decays: whether the training's schedule lowers the rate.

    Example:
        >>> found = climb(lambda rate, steps: [3.0] * 10 + [(math.log10(rate) + 1.5) ** 2] * (steps - 10), 1e-3)
        >>> [f"{trial.rate:.2g}" for trial in found.trials], round(found.rate, 4)
        (['0.001', '0.00032', '0.0032', '0.01', '0.032', '0.1'], 0.0316)
    """
    used = _Trials(train, start, trial_steps)
    best = used.climb(0)
    made = [used]
    if math.isfinite(used.loss(best)) and not (used.falls(best) and used.differ()):
        highest = used.highest_stable(best)
        best = min(used.losses, key=used.loss)
        for length in (times * trial_steps for times in _LONGER if times * trial_steps <= steps):
            if used.falls(best):
                break
            made.append(longer := _Trials(train, start, length))
            if longer.falls(highest):
                used, best = longer, longer.climb(highest)
    trials = [Trial(each.rate(place), each.steps, each.loss(place)) for each in made for place in each.losses]
    rate = used.best_rate(best) if math.isfinite(used.loss(best)) and used.differ() else None
    return Climb(trials, rate, factor(used.steps, steps, decays), steps, decays)


def factor(trial_steps: int, steps: float, decays: bool) -> float:
    """What the rate that is best for `trial_steps` steps is multiplied by for a training of `steps` steps.

    At a constant rate the loss ends where the noise of the batches keeps it, so that a longer training wants a lower
    rate. A decay removes the noise, and trials decay as the training does.

    Example:
        >>> round(factor(200, 6400, False), 3), round(factor(200, 6400, True), 3), factor(200, math.inf, True)
        (0.25, 0.707, 1.0)
    """
    return (trial_steps / steps) ** _POWER[decays] if trial_steps < steps < math.inf else 1.0


class _Trials:
    """Trials of one length. Their place is the number of half decades above `start`."""

    def __init__(self, train: Train, start: float, steps: int) -> None:
        self.train, self.start, self.steps = train, start, steps
        self.losses: dict[int, Sequence[float]] = {}

    def rate(self, place: float) -> float:
        return self.start * _HALF_DECADE**place

    def loss(self, place: int) -> float:
        """The mean of the last third; infinite where the training diverged, or where there may be no more trials."""
        if place not in self.losses and len(self.losses) < _MOST_TRIALS:
            self.losses[place] = self.train(self.rate(place), self.steps)
        losses = self.losses.get(place, ())
        return fmean(self._end(place)) if len(losses) == self.steps and all(map(math.isfinite, losses)) else math.inf

    def climb(self, place: int) -> int:
        """The place where both neighbours are worse."""
        while self.loss(place) > self.loss(place - 1) or self.loss(place) == math.inf:
            if len(self.losses) == _MOST_TRIALS:
                break
            place -= 1
        while self.loss(place + 1) < self.loss(place):
            place += 1
        return place

    def falls(self, place: int) -> bool:
        """Whether the loss ends clearly below the first; medians, because one batch may be huge."""
        if not math.isfinite(self.loss(place)):
            return False
        first = self._first()
        return first - median(self._end(place)) > _FALL * abs(first)

    def differ(self) -> bool:
        """Whether the rate makes a difference: all trials are on the same batches."""
        ends = [self.loss(place) for place in self.losses]
        return max(ends) - min(ends) > _ALIKE * abs(self._first())

    def highest_stable(self, place: int) -> int:
        """The last place above whose trial does not end above the first loss, but for noise."""
        while self.loss(place + 1) - self._first() <= _RISE * abs(self._first()):
            place += 1
        return place

    def best_rate(self, place: int) -> float:
        """The rate at the minimum of the parabola through three losses; a loss that has risen is on no parabola."""
        below, at, above = (self._known(near) for near in (place - 1, place, place + 1))
        bend = below - 2 * at + above
        if not (math.isfinite(below) and above <= self._first() and bend > 0):
            return self.rate(place)
        return self.rate(place + min(0.5, max(-0.5, (below - above) / (2 * bend))))

    def _first(self) -> float:
        """The loss before training: at the lowest rate, which changes it least."""
        return median(self.losses[min(self.losses)][:_FIRST])

    def _end(self, place: int) -> Sequence[float]:
        return self.losses[place][-(self.steps // 3) :]

    def _known(self, place: int) -> float:
        return self.loss(place) if place in self.losses else math.inf
