"""Whether a learning rate is one that only a short training prefers, by two short trainings."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

LOWER_BY = 4  # what too high a rate is divided by
MIN_TRIAL_STEPS = 60  # a third of fewer is noise
# of the mean lag in the second third of the steps in the last one, where it falls with the power 1.5 of the step
_LEFT = (1.5**0.5 - 1) / (3**0.5 - 1.5**0.5)


@dataclass(frozen=True)
class Trial:
    """Two trainings from the same weights on the same batches, one at a rate and one at half of it.

    A sweep tells how fast a net learns in its first steps. That is too high a rate for a net that learns fast and then
    has to settle: a table of logits under Adam moves each number by the rate, at first where it should go, later to
    and fro. Half the rate lags behind at first; a lag that shrinks no faster than the training goes on is as it should
    be, one that shrinks much faster is about to turn round.

    Args:
        high: the loss before each of n steps at the rate; it ends with the first that is not finite.
        low: at half of it.
    """

    high: Sequence[float]
    low: Sequence[float]

    @property
    def steps(self) -> int:
        """Steps of the longer of the two, which ends sooner only where its loss is lost."""
        return max(len(self.high), len(self.low))

    @property
    def is_too_high(self) -> bool:
        """Whether half the rate is better in the last third of the steps, or about to be.

        It is about to be where its lag falls faster than with the power 1.5 of the step.
        """
        if not (math.isfinite(self.high[-1]) and math.isfinite(self.low[-1])):
            return True
        n = len(self.high)
        earlier, later = (self._lag(n * third // 3, n * (third + 1) // 3) for third in (1, 2))
        return later < max(_LEFT * earlier, 0.0)

    def _lag(self, first: int, end: int) -> float:
        return fmean(self.low[first:end]) - fmean(self.high[first:end])
