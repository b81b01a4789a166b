"""The neural bigram. Dimension key: B batch, T context length, V = vocab_size."""

from typing import Literal

import torch
from torch import Tensor, nn


class Bigram(nn.Module):
    """The next character from the last one alone: logits = W[last character], which is one_hot(last) @ W.

    Args:
        vocab_size: V, the characters and the boundary.
        init: "default" starts at the uniform distribution (W = 0, loss ln V); "notebook" draws W from a standard
            normal, as the course does, from torch's global generator.

    Raises:
        ValueError: an unknown `init`.

    Source: "makemore", part 1, by Andrej Karpathy: the count table learnt by gradient descent.
    """

    takes = "windows"
    block_size = 1

    def __init__(self, vocab_size: int = 27, init: Literal["default", "notebook"] = "default") -> None:
        super().__init__()
        if init not in ("default", "notebook"):
            raise ValueError(f"init is {init!r}; give 'default' or 'notebook'")
        notebook = init == "notebook"
        self.W = nn.Parameter(torch.randn(vocab_size, vocab_size) if notebook else torch.zeros(vocab_size, vocab_size))

    def forward(self, context: Tensor) -> Tensor:
        """Logits float32 (B, V) for the character after `context`, int64 (B, T); only the last column counts."""
        return nn.functional.embedding(context[:, -1], self.W)

    def loss(self, context: Tensor, target: Tensor) -> Tensor:
        """The cross-entropy of `forward`'s logits, float32 (), in nats per character.

        A large batch has each pair of characters many times: then the V x V pairs are weighed by how often they come,
        and the table is all that is differentiated.

        Args:
            context: int64 (B, T).
            target: int64 (B,), each a character's id.
        """
        V = len(self.W)
        ids = (context[:, -1], target)
        if len(target) <= V * V or type(self).forward is not Bigram.forward or not all(_fit(i, V) for i in ids):
            return nn.functional.cross_entropy(self(context), target)
        pairs = torch.bincount(context[:, -1] * V + target, minlength=V * V)
        share = pairs.view(V, V).to(self.W.dtype) / len(target)
        return -torch.where(share > 0, share * self.W.log_softmax(1), 0).sum()


def _fit(ids: Tensor, size: int) -> bool:
    return bool((ids.amin() >= 0) & (ids.amax() < size))
