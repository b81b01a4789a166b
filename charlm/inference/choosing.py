"""Which character comes next. Dimension key: B rows, V = vocab_size."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from charlm.tokenizer import BOUNDARY


@dataclass(frozen=True)
class Choice:
    """How one id is drawn from logits.

    Args:
        temperature: > 0; the logits are divided by it: below 1 nearer to the most likely names, above 1 wilder.
        top_k: draw from the k most likely characters only, the end counted as one, >= 1; None: from all.
        top_p: draw from the fewest most likely characters that together have this probability, in (0, 1]; after
            `temperature` and `top_k`; None: from all.

    Raises:
        ValueError: an argument outside its range.

    Source: Holtzman et al. 2020, ICLR, "The Curious Case of Neural Text Degeneration", for top_p.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(
                f"temperature is {self.temperature}; it must be a number above 0 (1 is the net's own distribution)"
            )
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k is {self.top_k}; it must be at least 1, or None for all characters")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}; give a share of the probability above 0, up to 1")

    def __call__(self, logits: Tensor, generator: torch.Generator, *, end_allowed: bool) -> Tensor:
        """One id for each row of logits (B, V), int64 (B,).

        Raises:
            ValueError: a row without a probability: NaN or infinite logits.
        """
        first = 0 if end_allowed else BOUNDARY + 1
        below = self._weights(logits[:, first:]).cumsum(1, dtype=torch.float64)  # up to their sum, a part of it drawn
        drawn = torch.rand(len(below), 1, dtype=torch.float64, generator=generator) * below[:, -1:]
        return (below <= drawn).sum(1) + first  # the first that exceeds it, so none without a probability

    def _weights(self, scores: Tensor) -> Tensor:
        """(B, V) not below 0, in proportion to the probabilities."""
        best = scores.amax(1, keepdim=True)
        if not best.isfinite().all():
            raise ValueError(
                "the net gives no character a probability: its logits are NaN or infinite, or it is a count table that"
                " needs k > 0"
            )
        scores = scores - best  # first, so that a tiny temperature gives -inf for the others, never NaN
        if self.top_k is not None and self.top_k < scores.shape[1]:
            likely = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, scores.topk(self.top_k).indices, True)
            scores = scores.masked_fill(~likely, -math.inf)
        if self.temperature != 1:
            scores = scores.double() / self.temperature
        weights = scores.exp()
        return weights if self.top_p is None else _nucleus(weights, self.top_p)


def _nucleus(weights: Tensor, share: float) -> Tensor:
    """The largest weights of each row up to the one at which they have this share of the sum; 0 for the others."""
    falling, ids = weights.double().sort(dim=1, descending=True, stable=True)
    before = falling.cumsum(1) - falling  # what the larger ones have together: 0 for the largest, which always stays
    kept = falling.masked_fill(before >= share * falling.sum(1, keepdim=True), 0)
    return torch.zeros_like(kept).scatter_(1, ids, kept)
