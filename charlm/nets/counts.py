"""The bigram by counting. Dimension key: N examples, B batch, T context length, V = vocab_size."""

import math
from typing import Protocol

import torch
from torch import Tensor, nn

from charlm.tokenizer import IGNORED

_CHUNK = 1 << 20  # examples gathered at a time: bounds the memory


class Gathers(Protocol):
    """A split that gathers examples by their numbers, such as `charlm.data.contexts.Contexts`."""

    block_size: int

    def __len__(self) -> int: ...

    def gather(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Context int64 (B, T) and target int64 (B,) of the examples with the numbers `index`, int64 (B,)."""
        ...

    @property
    def example_weights(self) -> Tensor | None:
        """float64 (N,), how often each example counts; None: once."""
        ...


Examples = Gathers | tuple[Tensor, Tensor]
"""A split, or its context int64 (N, T) and target int64 (N,)."""


class CountBigram(nn.Module):
    """How often each character follows each other one, and the probabilities that follow from it.

    A net like any other, context in and logits out (here log-probabilities), so it can be evaluated and sampled from.

    Args:
        counts: int64 (V, V), row: the character before, column: the character that follows; float64 sums of weights
            where names have some.
        k: added to every count, >= 0; 0: a pair that was never seen has probability 0.

    Raises:
        ValueError: `k` below 0 or not finite.

    Source: Jurafsky and Martin, Speech and Language Processing, 3rd ed., section 3.6 (add-k smoothing).
    """

    takes = "windows"
    block_size = 1
    counts: Tensor
    probabilities: Tensor
    log_probabilities: Tensor

    def __init__(self, counts: Tensor, k: float = 1.0) -> None:
        super().__init__()
        if not (math.isfinite(k) and k >= 0):
            raise ValueError(f"k is {k}; it must be a number of at least 0 (1 is add-one smoothing)")
        smoothed = counts.double() + k
        rows = smoothed.sum(dim=1, keepdim=True)
        self.k = k
        self.register_buffer("counts", counts)
        self.register_buffer("probabilities", torch.where(rows > 0, smoothed / rows, 0.0))
        self.register_buffer("log_probabilities", self.probabilities.log())

    def extra_repr(self) -> str:
        return f"vocab_size={len(self.counts)}, k={self.k:g}"

    @classmethod
    def from_contexts(cls, contexts: Examples, vocab_size: int, k: float = 1.0) -> "CountBigram":
        """Count the last character of every context with its target.

        A name of weight 5 counts five times; k is then multiplied by the mean weight of the examples, so that it does
        not depend on the unit of the weights.

        Raises:
            ValueError: an id outside 0 to `vocab_size` - 1, or a bad `k`.
        """
        weights = _weights_of(contexts)
        unit = 1.0 if weights is None or not len(weights) else weights.mean().item()
        return cls(count_pairs(contexts, vocab_size), k * unit)

    def forward(self, context: Tensor) -> Tensor:
        """Log-probabilities float64 (B, V) after `context`, int64 (B, T); only the last column counts."""
        return nn.functional.embedding(context[:, -1], self.log_probabilities)

    def nll(self, contexts: Examples) -> float:
        """Mean -log p(target) over examples, in nats; inf where one of them has probability 0.

        Raises:
            ValueError: no example, or an id outside 0 to V - 1.
        """
        return mean_nll(self.log_probabilities, count_pairs(contexts, len(self.counts)))


def count_pairs(contexts: Examples, vocab_size: int) -> Tensor:
    """Count (last character of the context, target) pairs; a target of -1 is ignored, as in the loss.

    Returns:
        int64 (V, V); if the examples have weights their sums, float64 (V, V).

    Raises:
        ValueError: an id outside 0 to `vocab_size` - 1.

    Example:
        >>> count_pairs((torch.tensor([[0], [1], [1]]), torch.tensor([1, 1, 0])), vocab_size=2).tolist()
        [[0, 1], [1, 1]]
    """
    size = len(contexts[1]) if isinstance(contexts, tuple) else len(contexts)
    weights = _weights_of(contexts)
    counts = torch.zeros(vocab_size * vocab_size, dtype=torch.int64 if weights is None else torch.float64)
    for start in range(0, size, _CHUNK):
        stop = min(start + _CHUNK, size)
        if isinstance(contexts, tuple):
            context, target = contexts[0][start:stop], contexts[1][start:stop]
        else:
            context, target = contexts.gather(torch.arange(start, stop))
        counted = target != IGNORED
        last, target = context[counted, -1], target[counted]
        outside = [i for ids in (last, target) if len(ids) for i in ids.aminmax() if not 0 <= i < vocab_size]
        if outside:
            raise ValueError(
                f"the examples have id {int(outside[0])}, and vocab_size is {vocab_size}; use the tokenizer's own"
            )
        weight = None if weights is None else weights[start:stop][counted]
        counts += torch.bincount(last * vocab_size + target, weight, vocab_size * vocab_size).cpu()
    return counts.view(vocab_size, vocab_size)


def _weights_of(contexts: Examples) -> Tensor | None:
    return None if isinstance(contexts, tuple) else contexts.example_weights


def mean_nll(log_probabilities: Tensor, counts: Tensor) -> float:
    """The mean of -log p, in nats, over the counted pairs.

    Args:
        log_probabilities: float (V, V), each row one distribution.
        counts: int64 or float64 (V, V).

    Raises:
        ValueError: all counts are 0.
    """
    seen = counts > 0
    if not seen.any():
        raise ValueError("there is no example to evaluate; give this split a share of the names")
    return float(-(counts[seen] * log_probabilities[seen].double()).sum() / counts.sum())
