"""Rules of other learning-rate finders that nobody should take, for the table of lr_finder.py.

They use their sources' running mean of the losses, but without its bias at the first points.
"""

from collections.abc import Sequence

import numpy as np


def lightning(lrs: Sequence[float], losses: Sequence[float]) -> float:
    """Where the loss falls fastest per unit of the rate, without the first ten points and the last one.

    The first rates are so close together that noise makes the steepest slope there. Source: lr_find of Lightning 2.6.
    """
    x, y = _averaged(lrs, losses, 10, 1)
    return float(x[np.argmin(np.gradient(y, x))])


def minimum_quarter(lrs: Sequence[float], losses: Sequence[float]) -> float:
    """A quarter of the rate with the lowest loss, but at least the first rate.

    Source: Smith and Topin 2017, arXiv 1708.07120, where a cycle begins at a third or a quarter of its peak.
    """
    x, y = _averaged(lrs, losses, len(lrs) // 10, 5)
    return max(float(x[np.argmin(y)]) / 4, float(lrs[0]))


def slide(lrs: Sequence[float], losses: Sequence[float]) -> float:
    """Where, seen from the end, the slopes at two points fifteen apart no longer differ by 0.005 per point.

    Source: "slide" of fastai, whose threshold depends on the scale of the loss.
    """
    x, y = _averaged(lrs, losses, len(lrs) // 10, 5)
    slope = np.gradient(y)
    left = found = len(y) - 16
    while left >= 0 and abs(slope[left + 15] - slope[left]) > 0.005:
        found, left = left, left - 1
    return float(x[found])


def _averaged(
    lrs: Sequence[float], losses: Sequence[float], skipped: int, dropped: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rates and running means without the first and the last points."""
    weights = 0.98 ** np.arange(len(lrs))
    mean = np.convolve(losses, weights)[: len(lrs)] / np.cumsum(weights)
    return np.array(lrs[skipped:-dropped], float), mean[skipped:-dropped]
