"""The rules of other learning-rate finders, with the same arguments and errors as those in rules.py.

They use their sources' running mean of the losses, in which a new loss has weight 0.02, but without its bias at the
first points.
"""

from collections.abc import Sequence

import numpy as np


def lightning(lrs: Sequence[float], losses: Sequence[float]) -> float:
    """Where the loss falls fastest per unit of the rate, without the first ten points and the last one.

    The first rates are so close together that noise makes the steepest slope there. Source: lr_find of Lightning 2.6.
    """
    x, y = _averaged(lrs, losses, "lightning", 10, 1)
    return float(x[np.argmin(np.gradient(y, x))])


def steepest(lrs: Sequence[float], losses: Sequence[float]) -> float:
    """Where the loss falls fastest per decade. Source: "steep" of fastai."""
    x, y = _averaged(lrs, losses, "steepest", len(lrs) // 10, 5)
    return float(x[np.argmin(np.diff(y) / np.diff(np.log(x)))])


def minimum_tenth(lrs: Sequence[float], losses: Sequence[float]) -> float:
    """A tenth of the rate with the lowest loss, but at least the first rate. Source: "minimum" of fastai."""
    return _below_minimum(lrs, losses, "minimum_tenth", 10)


def minimum_quarter(lrs: Sequence[float], losses: Sequence[float]) -> float:
    """A quarter of the rate with the lowest loss, but at least the first rate.

    Source: Smith and Topin 2017, arXiv 1708.07120, where a cycle begins at a third or a quarter of its peak.
    """
    return _below_minimum(lrs, losses, "minimum_quarter", 4)


def valley(lrs: Sequence[float], losses: Sequence[float]) -> float:
    """Halfway along the longest falling subsequence of the losses. Source: "valley", the default of fastai."""
    x, y = _averaged(lrs, losses, "valley", len(lrs) // 10, 5)
    length = np.ones(len(y), int)
    for i in range(1, len(y)):
        length[i] = 1 + max(length[:i][y[:i] > y[i]], default=0)
    end, longest = int(np.argmax(length)), int(np.max(length))
    return float(x[max(0, end - longest + longest // 3 + longest // 6)])


def slide(lrs: Sequence[float], losses: Sequence[float]) -> float:
    """Where, seen from the end, the slopes at two points fifteen apart no longer differ by 0.005 per point.

    Source: "slide" of fastai, whose threshold depends on the scale of the loss.
    """
    x, y = _averaged(lrs, losses, "slide", len(lrs) // 10, 5, least=17)
    slope = np.gradient(y)
    left = found = len(y) - 16
    while left >= 0 and abs(slope[left + 15] - slope[left]) > 0.005:
        found, left = left, left - 1
    return float(x[found])


def _averaged(
    lrs: Sequence[float], losses: Sequence[float], rule: str, skipped: int, dropped: int, least: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """Rates and running means without the first and the last points; at least `least` must be left."""
    need_points(lrs, rule, skipped + dropped + least)
    weights = 0.98 ** np.arange(len(lrs))
    mean = np.convolve(losses, weights)[: len(lrs)] / np.cumsum(weights)
    return np.array(lrs[skipped:-dropped], float), mean[skipped:-dropped]


def _below_minimum(lrs: Sequence[float], losses: Sequence[float], rule: str, divisor: float) -> float:
    x, y = _averaged(lrs, losses, rule, len(lrs) // 10, 5, least=1)
    return max(float(x[np.argmin(y)]) / divisor, float(lrs[0]))


def need_points(lrs: Sequence[float], rule: str, least: int) -> None:
    """Raise a ValueError for a sweep with fewer than `least` points."""
    if len(lrs) < least:
        raise ValueError(
            f"{rule} needs {least} points with a finite loss, and this sweep has {len(lrs)}; use more num_steps"
        )
