"""The means of the training losses, which cost a step next to nothing."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

_LISTED = 4096  # numbers that are kept one by one, on their device


class StepMean:
    """A mean that starts again whenever it is taken. `add` takes a tenth of a microsecond; torchmetrics takes ten.

    `content` holds the numbers in a dict, which stays the same one.
    """

    def __init__(self) -> None:
        self._listed: list[Tensor | float] = []
        self.content: dict[str, Any] = {"listed": self._listed, "total": 0.0, "count": 0}

    def add(self, value: Tensor | float) -> None:
        """Record a step's number; a tensor, float (), must not be changed afterwards."""
        self._listed.append(value)
        if len(self._listed) == _LISTED:
            self.state()

    def take(self) -> float | None:
        """The mean since the last call; None if nothing was added."""
        total, count = self.state()
        self.load((0.0, 0))
        return total / count if count else None

    def state(self) -> tuple[float, int]:
        """The sum so far, and the number of values in it."""
        if self._listed:
            tensors = [value for value in self._listed if isinstance(value, Tensor)]
            numbers = iter(torch.stack(tensors).tolist() if tensors else ())
            for value in self._listed:  # one by one: a sum in two parts may differ in its last bit
                self.content["total"] += next(numbers) if isinstance(value, Tensor) else value
            self.content["count"] += len(self._listed)
            self._listed.clear()
        return self.content["total"], self.content["count"]

    def load(self, state: Sequence[float]) -> None:
        """Continue from what `state` gave."""
        self._listed.clear()
        self.content |= {"total": float(state[0]), "count": int(state[1])}


class TrainMeans:
    """The two means of the training losses: since the last point of `loss/train`, and since the last validation."""

    def __init__(self) -> None:
        self.since_log, self.since_validation = StepMean(), StepMean()
        self.content = [self.since_log.content, self.since_validation.content]

    def add(self, loss: Tensor | float) -> None:
        """Record a step's loss; a tensor is float ()."""
        self.since_log.add(loss)
        self.since_validation.add(loss)

    def state(self) -> list[list[float]]:
        """Sums and counts for a checkpoint, so that a resumed run logs the means of the unbroken one."""
        return [list(self.since_log.state()), list(self.since_validation.state())]

    def load(self, state: Sequence[Sequence[float]] | None = None) -> None:
        """Continue from what `state` gave; None: start again."""
        since_log, since_validation = state or [(0.0, 0), (0.0, 0)]
        self.since_log.load(since_log)
        self.since_validation.load(since_validation)
