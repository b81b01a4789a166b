"""What a learning-rate sweep says: pure functions over its rates and losses, n points each.

A rule takes the rates of one sweep, rising and even in log(lr), and the raw losses seen at them, finite and of any
sign. It suggests a rate from the first to the last, or raises a ValueError that says why it cannot.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from charlm.callbacks.lr_finder.peer_rules import (
    check_length,
    lightning,
    minimum_quarter,
    minimum_tenth,
    slide,
    steepest,
    valley,
)

Status = Literal["ok", "never_diverged", "never_descended", "too_few_points", "minimum_at_edge"]
Rule = Callable[[Sequence[float], Sequence[float]], float]

MIN_POINTS = 20  # that the default rule needs
STEPS_TO_HALF = 60  # at a constant rate, to make half of the descent that a sweep makes
STOP_FACTOR = 2.0  # stop where the loss is as far above its start as the best is below it
_RESOLUTION = 1e-6  # float32 knows a loss to about this share of it: what falls by less has not fallen


def half_depth(lrs: Sequence[float], losses: Sequence[float]) -> float:
    """Between the two rates at which the smoothed curve is half as deep as its minimum, nearer to the lower one.

    On the way down, half of the descent took the sum of the rates until then: that sum spread over 60 steps is a rate
    that learns fast enough, however many points the sweep has for a decade. Where half of the descent is lost again, or
    the sweep ends, a rate is too high for stable steps. The suggestion is their geometric mean, the first twice.
    Both points lie on steep parts of the curve, where noise moves them little; the minimum lies on a flat one.
    """
    y, at, descent = _descended(lrs, losses, "half_depth")
    half = y[at] + descent / 2
    learns = math.fsum(lrs[: int(np.argmax(y <= half)) + 1]) / STEPS_TO_HALF
    lost = np.flatnonzero(y[at:] >= half)
    too_high = lrs[at + int(lost[0])] if len(lost) else lrs[-1]
    return min(max(float((learns**2 * too_high) ** (1 / 3)), float(lrs[0])), float(lrs[-1]))


RULES: dict[str, Rule] = {
    rule.__name__: rule for rule in (half_depth, valley, slide, steepest, minimum_tenth, minimum_quarter, lightning)
}
DEFAULT_RULE = "half_depth"


def smooth(losses: Sequence[float]) -> list[float]:
    """The losses without what differs from batch to batch, not shifted along the sweep; linear in shift and scale.

    A running median of five drops outliers, a Gaussian window of n / 50 points averages. Before, losses are cut off as
    far above the start as the lowest are below it, so that the blow-up does not reach back into the minimum.
    What follows the first loss that is not finite stays as it is.
    """
    n = next((i for i, loss in enumerate(losses) if not math.isfinite(loss)), len(losses))
    if n < 3:
        return list(losses)
    x = np.asarray(losses[:n], float)
    start, lowest = _start(x), np.median(np.sort(x)[: max(3, n // 30)])
    x = np.minimum(x - start, max(start - lowest, np.ptp(x[: _flat(n)])))
    x = np.median(np.lib.stride_tricks.sliding_window_view(np.pad(x, 2, mode="edge"), 5), axis=1)
    width = _width(n)
    half = min(n - 1, math.ceil(4 * width))
    window = np.exp(-0.5 * (np.arange(-half, half + 1) / width) ** 2)
    total, weight = (np.convolve(values, window)[half : half + n] for values in (x, np.ones(n)))
    return [*(total / weight + start).tolist(), *losses[n:]]


def combine(suggestions: Sequence[float]) -> float:
    """One rate for the suggestions of several sweeps: their median in log(lr).

    Example:
        >>> round(combine([0.1, 0.4]), 6)
        0.2
    """
    return math.exp(float(np.median(np.log(suggestions))))


def one_cycle_range(lrs: Sequence[float], losses: Sequence[float]) -> tuple[float, float]:
    """The rates (low, high) at which a tenth and nine tenths of the descent are made, for one-cycle schedules.

    Below, the loss hardly falls; above, it soon ceases to. Raises what the default rule does. Source: the range test of
    Smith 2015, arXiv 1506.01186, there read off a plot.
    """
    y, at, descent = _descended(lrs, losses, "one_cycle_range")
    low, high = (float(lrs[int(np.argmax(y <= y[at] + left * descent))]) for left in (0.9, 0.1))
    return low, high


def diagnose(lrs: Sequence[float], losses: Sequence[float], stopped_early: bool) -> Status:
    """What was seen in one sweep, of whatever sign; losses that are not finite may follow at its end.

    Args:
        lrs: of the points, rising.
        losses: raw.
        stopped_early: whether `Divergence` ended the sweep.

    Returns:
        too_few_points: fewer than `MIN_POINTS` finite losses.
        never_descended: the smoothed loss falls by no more than noise may do.
        minimum_at_edge: the loss is lowest in the last fiftieth of a sweep that ran to its end.
        never_diverged: the loss ends no higher than a tenth of the descent above its lowest, in such a sweep.
        ok: none of these.
    """
    x = [loss for loss in losses if math.isfinite(loss)]
    if len(x) < MIN_POINTS:
        return "too_few_points"
    y = np.array(smooth(x))
    at, descent = _descent(np.array(x), y)
    if not descent:
        return "never_descended"
    if stopped_early or len(x) < len(losses):
        return "ok"
    if at >= len(y) - max(1, len(y) // 50):
        return "minimum_at_edge"
    return "never_diverged" if y[-1] <= y[at] + descent / 10 else "ok"


class Divergence:
    """Whether a sweep has gone so far up that the rest of it says nothing; ask after each point.

    It has once a loss is not finite, or the running mean of the losses is above the lowest it was by `stop_factor`
    times the descent until there. A descent counts as no less than any step between neighbours, the last ten apart: so
    noise ends no sweep that has not begun to fall. The first 20 points end none, unless one is not finite.

    Args:
        stop_factor: > 0; at 1 the loss is back where it began.

    Raises:
        ValueError: `stop_factor` <= 0.
    """

    def __init__(self, stop_factor: float = STOP_FACTOR) -> None:
        if not stop_factor > 0:
            raise ValueError(f"stop_factor is {stop_factor}; give a number of descents above 0, such as {STOP_FACTOR}")
        self.stop_factor = stop_factor
        self._n, self._sum, self._start, self._last = 0, 0.0, 0.0, 0.0
        self._best = math.inf
        self._noise, self._steps = 0.0, deque[float]()  # the greatest step between neighbours; the last ten

    def update(self, loss: float) -> bool:
        """Take the next loss; whether the sweep is to stop."""
        if not math.isfinite(loss):
            return True
        if self._n:
            self._steps.append(abs(loss - self._last))
            while len(self._steps) > 10 * (self._n >= MIN_POINTS):
                self._noise = max(self._noise, self._steps.popleft())
        self._n, self._last = self._n + 1, loss
        if self._n <= 10:
            self._start += (loss - self._start) / self._n
        self._sum = 0.9 * self._sum + 0.1 * loss
        mean = self._sum / (1 - 0.9**self._n)
        if self._n < 10:  # the mean of fewer is as noisy as they are
            return False
        self._best = min(self._best, mean)
        if self._n < MIN_POINTS:
            return False
        least = max(self._noise, _RESOLUTION * abs(self._best))
        return mean > self._best + self.stop_factor * max(self._start - self._best, least)


def _descended(lrs: Sequence[float], losses: Sequence[float], rule: str) -> tuple[np.ndarray, int, float]:
    """The smoothed losses, where they are lowest, and how far they fall until there."""
    check_length(lrs, rule, MIN_POINTS)
    y = np.array(smooth(losses))
    at, descent = _descent(np.array(losses, float), y)
    if not descent:
        raise ValueError(f"{rule} finds no descent: the loss never falls clearly below its start; sweep other rates")
    return y, at, descent


def _descent(x: np.ndarray, y: np.ndarray) -> tuple[int, float]:
    """Where the smoothed losses `y` of the raw `x` are lowest, and how far they fall; 0 if noise may explain it."""
    at = _flat(len(y)) + int(np.argmin(y[_flat(len(y)) :]))
    descent = _start(x) - float(y[at])
    deviation = 1.05 * float(np.median(np.abs(np.diff(x)))) / math.sqrt(2 * math.sqrt(math.pi) * _width(len(x)))
    return at, descent if descent > max(5 * deviation, _RESOLUTION * float(np.abs(x).min())) else 0.0


def _width(n: int) -> float:
    """The standard deviation of the Gaussian window in points."""
    return max(1.0, n / 50)


def _start(x: np.ndarray) -> float:
    """The level at which a sweep begins."""
    return float(np.median(x[: _flat(len(x))]))


def _flat(n: int) -> int:
    """The points that are taken to lie before the descent."""
    return max(3, n // 10)
