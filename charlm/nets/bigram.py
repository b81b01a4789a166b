"""The neural bigram. Dimension key: B batch, T context length, V = vocab_size."""

from typing import Literal

import torch
from torch import Tensor, nn

from charlm.nets.parts.sizes import check_choice


class Bigram(nn.Module):
    """The next character from the last one alone: logits = W[last character], which is one_hot(last) @ W.

    Args:
        vocab_size: V, the characters and the start/end token.
        init: "default" starts at the uniform distribution (W = 0, loss ln V); "notebook" draws W from a standard
            normal, as the course does, from torch's global generator.
        n_labels: K, labels that may begin a name in place of the start token; their ids follow the characters'.

    Raises:
        ValueError: an unknown `init`.

    Source: "makemore", part 1, by Andrej Karpathy: the count table learned by gradient descent.
    """

    takes = "windows"
    block_size = 1

    def __init__(
        self, vocab_size: int = 27, init: Literal["default", "notebook"] = "default", n_labels: int = 0
    ) -> None:
        super().__init__()
        check_choice(init=init, allowed=("default", "notebook"))
        draw = torch.randn if init == "notebook" else torch.zeros
        self.W = nn.Parameter(draw(vocab_size + n_labels, vocab_size))

    def forward(self, context: Tensor) -> Tensor:
        """Logits float32 (B, V) for the character after `context`, int64 (B, T); only the last column counts."""
        return nn.functional.embedding(context[:, -1], self.W)
