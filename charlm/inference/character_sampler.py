"""Draw the next character from logits. Dimension key: B rows, V = vocab_size."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from charlm.tokenizer import BOUNDARY


@dataclass(frozen=True)
class CharacterSampler:
    """Which ids may be drawn after each row of logits, and how probably.

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
            raise ValueError(f"top_k is {self.top_k}; give 1 or more, or leave it out for all characters")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}; give a share of the probability above 0, up to 1")

    def weights(self, logits: Tensor, *, end_allowed: bool = True) -> Tensor:
        """How probable each id is after temperature, top_k and top_p.

        Args:
            logits: (B, V) on the CPU.
            end_allowed: whether the end of the name may be drawn.

        Returns:
            float32 or float64 (B, V), in proportion to the probabilities.

        Raises:
            ValueError: the logits of a row are NaN or infinite.
        """
        scores = logits if end_allowed else logits.index_fill(1, torch.tensor([BOUNDARY]), -math.inf)
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


def draw(weights: Tensor, uniforms: Tensor) -> Tensor:
    """Draw one id from each row.

    Args:
        weights: (B, V), in proportion to the probabilities.
        uniforms: float64 (B,), random numbers in [0, 1), which decide.

    Returns:
        int64 (B,); none of weight 0.
    """
    cumulative = weights.cumsum(1, dtype=torch.float64)
    return (cumulative <= uniforms[:, None] * cumulative[:, -1:]).sum(1)  # the first above it has a weight above 0


def _nucleus(weights: Tensor, share: float) -> Tensor:
    """Keep the fewest largest weights of each row that together have this share of the sum; set the others to 0."""
    descending, ids = weights.double().sort(dim=1, descending=True, stable=True)
    larger = descending.cumsum(1) - descending  # the sum of the larger weights: 0 for the largest, which always stays
    nucleus = descending.masked_fill(larger >= share * descending.sum(1, keepdim=True), 0)
    return torch.zeros_like(nucleus).scatter_(1, ids, nucleus)
