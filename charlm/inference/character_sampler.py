"""Draw the next character from logits. Dimension key: B rows, V = vocab_size."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from charlm.tokenizer import BOUNDARY


@dataclass(frozen=True)
class CharacterSampler:
    """Draw one id from each row of logits.

    Args:
        temperature: > 0; the logits are divided by it. Below 1 gives more likely names, above 1 wilder ones.
        top_k: draw from the k most likely characters only, >= 1; the end of the name counts as one. None: from all.
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
        """Draw one id from each row.

        Args:
            logits: (B, V) on the CPU.
            generator: for the draws.
            end_allowed: whether the end of the name may be drawn.

        Returns:
            int64 (B,).

        Raises:
            ValueError: the logits of a row are NaN or infinite.
        """
        first = 0 if end_allowed else BOUNDARY + 1
        cumulative = self._weights(logits[:, first:]).cumsum(1, dtype=torch.float64)
        drawn = torch.rand(len(cumulative), 1, dtype=torch.float64, generator=generator) * cumulative[:, -1:]
        return (cumulative <= drawn).sum(1) + first  # the first that exceeds `drawn`; it has a probability above 0

    def _weights(self, scores: Tensor) -> Tensor:
        """(B, V), in proportion to the probabilities after temperature, top_k and top_p."""
        best = scores.amax(1, keepdim=True)
        if not best.isfinite().all():
            raise ValueError(
                "the net gives no character a probability: its logits are NaN or infinite, or it is a count table that"
                " needs k > 0; use another checkpoint"
            )
        scores = scores - best  # before dividing, so that a tiny temperature gives -inf for the others, never NaN
        if self.top_k is not None and self.top_k < scores.shape[1]:
            likely = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, scores.topk(self.top_k).indices, True)
            scores = scores.masked_fill(~likely, -math.inf)
        if self.temperature != 1:
            scores = scores.double() / self.temperature
        weights = scores.exp()
        return weights if self.top_p is None else _nucleus(weights, self.top_p)


def _nucleus(weights: Tensor, share: float) -> Tensor:
    """Keep the fewest largest weights of each row that together have this share of the sum; set the others to 0."""
    descending, ids = weights.double().sort(dim=1, descending=True, stable=True)
    larger = descending.cumsum(1) - descending  # the sum of the larger weights: 0 for the largest, which always stays
    nucleus = descending.masked_fill(larger >= share * descending.sum(1, keepdim=True), 0)
    return torch.zeros_like(nucleus).scatter_(1, ids, nucleus)
