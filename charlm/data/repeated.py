"""A short list of examples, repeated within an epoch. Dimension key: N examples, B batch."""

from typing import Any

from torch import Tensor

from charlm.data.batches import Examples


def repeated(examples: Any, enough: int) -> Any:
    """The examples, repeated until there are about `enough` of them."""
    times = round(enough / len(examples)) if len(examples) else 1
    return Repeated(examples, times) if times > 1 else examples


class Repeated:
    """The examples of a split, several times over, for a loader that shuffles them all together.

    Args:
        examples: a split's windows or whole names.
        times: how often each of them comes, >= 1.
    """

    def __init__(self, examples: Examples, times: int) -> None:
        self.examples, self.times = examples, times

    @property
    def example_weights(self) -> Tensor | None:
        """float64 (times * N,), how often each example counts; None: once."""
        weights = self.examples.example_weights
        return None if weights is None else weights.repeat(self.times)

    @property
    def lengths(self) -> Tensor:
        """int64 (times * N,): positions of each whole name."""
        lengths: Tensor = self.examples.lengths  # type: ignore[attr-defined]  # Sequences have them, windows do not
        return lengths.repeat(self.times)

    def __len__(self) -> int:
        return self.times * len(self.examples)

    def gather(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The inputs and targets of the examples with these numbers, 0 to times * N - 1."""
        return self.examples.gather(index % len(self.examples))

    def tensors(self) -> tuple[Tensor, Tensor]:
        """The inputs and targets of all examples in order."""
        inputs, targets = self.examples.tensors()
        return inputs.repeat(self.times, 1), targets.repeat(self.times, *[1] * (targets.dim() - 1))
