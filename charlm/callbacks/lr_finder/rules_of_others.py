"""The rules of other learning-rate finders, with the same arguments and errors as those in rules.py.

They use their sources' running mean of the losses, in which a new loss has weight 0.02, but without its bias at the
first points.
"""

from collections.abc import Sequence

import numpy as np


def steepest(lrs: Sequence[float], losses: Sequence[float]) -> float:
    """Where the loss falls fastest per decade. Source: "steep" of fastai."""
    x, y = _averaged(lrs, losses, "steepest")
    return float(x[np.argmin(np.diff(y) / np.diff(np.log(x)))])


def minimum_tenth(lrs: Sequence[float], losses: Sequence[float]) -> float:
    """A tenth of the rate with the lowest loss, but at least the first rate. Source: "minimum" of fastai."""
    x, y = _averaged(lrs, losses, "minimum_tenth", least=1)
    return max(float(x[np.argmin(y)]) / 10, float(lrs[0]))


def valley(lrs: Sequence[float], losses: Sequence[float]) -> float:
    """Halfway along the longest falling subsequence of the losses. Source: "valley", the default of fastai."""
    x, y = _averaged(lrs, losses, "valley")
    length = np.ones(len(y), int)
    for i in range(1, len(y)):
        length[i] = 1 + max(length[:i][y[:i] > y[i]], default=0)
    end, longest = int(np.argmax(length)), int(np.max(length))
    return float(x[max(0, end - longest + longest // 3 + longest // 6)])


def _averaged(
    lrs: Sequence[float], losses: Sequence[float], rule: str, least: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """Rates and running means without the first tenth and the last five; at least `least` must be left."""
    skipped = len(lrs) // 10
    need_points(lrs, rule, skipped + 5 + least)
    weights = 0.98 ** np.arange(len(lrs))
    mean = np.convolve(losses, weights)[: len(lrs)] / np.cumsum(weights)
    return np.array(lrs[skipped:-5], float), mean[skipped:-5]


def need_points(lrs: Sequence[float], rule: str, least: int) -> None:
    """Raise a ValueError for a sweep with fewer than `least` points."""
    if len(lrs) < least:
        raise ValueError(
            f"{rule} needs {least} points with a finite loss, and this sweep has {len(lrs)}; use more num_steps"
        )
