"""Rules that read a learning rate off a sweep: pure functions of its rates and losses, n points each.

A rule takes the rates of one sweep, rising and evenly spaced in log(lr), and the raw losses at them, finite and of any
sign. It returns a rate from the first to the last, or raises a ValueError that says why it cannot.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from charlm.callbacks.lr_finder.rules_of_others import minimum_tenth, need_points, steepest, valley

Status = Literal["ok", "never_diverged", "never_descended", "too_few_points", "minimum_at_edge"]
Rule = Callable[[Sequence[float], Sequence[float]], float]

MIN_POINTS = 20  # of the default rule
STEPS_TO_HALF = 60  # steps at a constant rate in which half of a sweep's descent should be made
STOP_FACTOR = 2.0  # stop when the loss is as far above its start as the lowest loss is below it
_RESOLUTION = 1e-6  # relative precision of a float32 loss; a smaller descent does not count


def half_depth(lrs: Sequence[float], losses: Sequence[float]) -> float:
    """Suggest a rate between the two at which the smoothed loss is half as deep as its minimum.

    The sum of the rates until the loss has made half of its descent, spread over 60 steps, is a rate that learns fast
    enough; it does not depend on the number of points per decade. The rate at which half of the descent is lost again
    (or the last one) is too high for stable steps. The suggestion is the geometric mean of the two, with the first
    counted twice. Both points lie where the curve is steep, so that noise moves them little; the minimum lies where it
    is flat.

    Args:
        lrs: rates, rising, evenly spaced in log(lr).
        losses: raw loss at each rate, finite.

    Raises:
        ValueError: fewer than 20 points, or a loss that never falls clearly below its start.

    Example:
        >>> lrs = [1e-4 * 10 ** (i / 10) for i in range(41)]
        >>> losses = [3.0] * 20 + [3.0 - 0.1 * i for i in range(10)] + [2.0 + 0.3 * i for i in range(11)]
        >>> round(half_depth(lrs, losses), 4)
        0.0087
    """
    need_points(lrs, "half_depth", MIN_POINTS)
    y = np.array(smooth(losses))
    at, descent = _descent(np.array(losses, float), y)
    if not descent:
        raise ValueError("half_depth finds no descent: the loss never falls clearly below its start; sweep other rates")
    half = y[at] + descent / 2
    learns = math.fsum(lrs[: int(np.argmax(y <= half)) + 1]) / STEPS_TO_HALF
    lost = np.flatnonzero(y[at:] >= half)
    too_high = lrs[at + int(lost[0])] if len(lost) else lrs[-1]
    return min(max(float((learns**2 * too_high) ** (1 / 3)), float(lrs[0])), float(lrs[-1]))


RULES: dict[str, Rule] = {rule.__name__: rule for rule in (half_depth, valley, steepest, minimum_tenth)}
DEFAULT_RULE = "half_depth"


def smooth(losses: Sequence[float]) -> list[float]:
    """Remove the noise of the batches from the losses, without a lag; linear in shift and scale of the losses.

    Losses are clipped as far above the start as the lowest ones are below it, so that the divergence at the end does
    not reach back into the minimum. Then a running median of five points removes outliers, and a Gaussian window with a
    standard deviation of n / 50 points averages. Everything from the first loss that is not finite on is unchanged.
    """
    n = len(finite_part(losses))
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


def finite_part(losses: Sequence[float]) -> list[float]:
    """The losses before the first NaN or infinite one."""
    end = next((point for point, loss in enumerate(losses) if not math.isfinite(loss)), len(losses))
    return list(losses[:end])


def combine(suggestions: Sequence[float]) -> float:
    """Combine the suggestions of several sweeps: their median in log(lr).

    Example:
        >>> round(combine([0.1, 0.4]), 6)
        0.2
    """
    return math.exp(float(np.median(np.log(suggestions))))


def diagnose(lrs: Sequence[float], losses: Sequence[float], stopped_early: bool) -> Status:
    """Say what one sweep has shown.

    Args:
        lrs: rates, rising.
        losses: raw losses of any sign; the last ones may be NaN or infinite.
        stopped_early: whether `Divergence` ended the sweep.

    Returns:
        too_few_points: fewer than `MIN_POINTS` losses are finite.
        never_descended: the smoothed loss falls by no more than noise could explain.
        minimum_at_edge: the sweep ran to its end, and the loss is lowest in its last fiftieth.
        never_diverged: the sweep ran to its end, and the loss ends at most 10 % of the descent above its minimum.
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
    """Decide after each point whether a sweep has diverged.

    A sweep has diverged when a loss is NaN or infinite, or when the running mean of the losses is above its minimum by
    `stop_factor` times the descent to it. The descent counts as at least the largest difference between two successive
    losses (but for the last ten), so that noise does not stop a sweep before its descent. The first 20 points stop it
    only if one of them is NaN or infinite.

    Args:
        stop_factor: > 0; at 1 the sweep stops when the loss is back at its start.
    """

    def __init__(self, stop_factor: float = STOP_FACTOR) -> None:
        self.stop_factor = stop_factor
        self._n, self._sum, self._start, self._last = 0, 0.0, 0.0, 0.0
        self._best = math.inf
        self._noise, self._steps = 0.0, deque[float]()  # the largest difference of neighbours; the last ten

    def update(self, loss: float) -> bool:
        """Add the next loss and return whether the sweep should stop."""
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
        if self._n < 10:  # the mean of fewer points is as noisy as the points
            return False
        self._best = min(self._best, mean)
        if self._n < MIN_POINTS:
            return False
        least = max(self._noise, _RESOLUTION * abs(self._best))
        return mean > self._best + self.stop_factor * max(self._start - self._best, least)


def _descent(x: np.ndarray, y: np.ndarray) -> tuple[int, float]:
    """The index of the minimum of the smoothed losses `y` of raw `x`, and the descent to it; 0 if it may be noise."""
    at = _flat(len(y)) + int(np.argmin(y[_flat(len(y)) :]))
    descent = _start(x) - float(y[at])
    deviation = 1.05 * float(np.median(np.abs(np.diff(x)))) / math.sqrt(2 * math.sqrt(math.pi) * _width(len(x)))
    return at, descent if descent > max(5 * deviation, _RESOLUTION * float(np.abs(x).min())) else 0.0


def _width(n: int) -> float:
    """The standard deviation of the Gaussian window in points."""
    return max(1.0, n / 50)


def _start(x: np.ndarray) -> float:
    """The loss at the start of a sweep."""
    return float(np.median(x[: _flat(len(x))]))


def _flat(n: int) -> int:
    """The number of points that lie before the descent."""
    return max(3, n // 10)
