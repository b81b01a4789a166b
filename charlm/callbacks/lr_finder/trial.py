"""Two short trainings that tell whether a learning rate only looks good at first."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

LOWER_BY = 4  # a rate that is too high is divided by this
MIN_TRIAL_STEPS = 60  # with fewer, the mean over a third of the steps is noise
# mean lag in the last third of the steps, relative to that in the second third, if the lag is step ** -1.5
_LEFT = (1.5**0.5 - 1) / (3**0.5 - 1.5**0.5)


@dataclass(frozen=True)
class Trial:
    """Two trainings from the same weights on the same batches, one at a rate and one at half that rate.

    A sweep shows how fast a net learns in its first steps. Its rate is too high for a net that learns fast and then has
    to settle: in a table of logits, Adam moves each number by the rate, first towards its goal and later around it.
    The training at half the rate lags behind at first. If the lag shrinks much faster than the number of steps grows,
    half the rate is about to overtake.

    Args:
        high: the loss before each of n steps at the rate, up to the first NaN or infinite loss.
        low: the same at half the rate.
    """

    high: Sequence[float]
    low: Sequence[float]

    @property
    def steps(self) -> int:
        """The steps of each training, unless its loss became NaN or infinite."""
        return max(len(self.high), len(self.low))

    @property
    def is_too_high(self) -> bool:
        """Whether half the rate is ahead in the last third of the steps, or lags by less than step ** -1.5 predicts."""
        if not (math.isfinite(self.high[-1]) and math.isfinite(self.low[-1])):
            return True
        n = len(self.high)
        earlier, later = (self._lag(n * third // 3, n * (third + 1) // 3) for third in (1, 2))
        return later < max(_LEFT * earlier, 0.0)

    def _lag(self, first: int, end: int) -> float:
        return fmean(self.low[first:end]) - fmean(self.high[first:end])
