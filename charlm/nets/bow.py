"""The bag of words. Dimension key: B names, L positions, T = block_size, C = n_embd, H = n_hidden, V = vocab_size."""

import torch
from torch import Tensor, nn

from charlm.nets.parts.layers import Tanh, start_logits
from charlm.nets.parts.sizes import check_sizes
from charlm.tokenizer import LONGEST_NAME

State = tuple[Tensor, ...]


class BoW(nn.Module):
    """Each position adds the mean of itself and those before it, as a bag does; then one tanh layer.

    Args:
        vocab_size: V, the characters and the start/end token.
        block_size: T, positions: one more than the longest name, for the start token.
        n_embd: C, numbers per character.
        n_hidden: H, tanh units.
        n_labels: K, labels that may begin a name in place of the start token; their ids follow the characters'.

    Raises:
        ValueError: a size below 1.

    Source: "makemore" by Andrej Karpathy, its CausalBoW.
    """

    takes = "names"

    def __init__(
        self,
        vocab_size: int = 27,
        block_size: int = LONGEST_NAME + 1,
        n_embd: int = 64,
        n_hidden: int = 64,
        n_labels: int = 0,
    ) -> None:
        super().__init__()
        check_sizes(vocab_size=vocab_size, block_size=block_size, n_embd=n_embd, n_hidden=n_hidden)
        self.block_size = block_size
        self.embedding = nn.Embedding(vocab_size + n_labels, n_embd)
        self.positions = nn.Embedding(block_size, n_embd)
        self.hidden = nn.Linear(n_embd, n_hidden)
        self.tanh = Tanh()
        self.added = nn.Linear(n_hidden, n_embd)
        self.output = nn.Linear(n_embd, vocab_size)
        start_logits(self.output)

    def forward(self, names: Tensor) -> Tensor:
        """Logits float32 (B, L, V) for the character after each of `names`, int64 (B, L), which begin with token 0."""
        L = names.shape[1]
        x = self.embedding(names) + self.positions.weight[:L]
        seen = torch.arange(1, L + 1, device=x.device, dtype=x.dtype)
        return self._after(x, x.cumsum(1) / seen[:, None])

    def step(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The logits after one more character of every name.

        Args:
            ids: int64 (B,); token 0 in the first call.
            state: as the last call returned it; None in the first call.

        Returns:
            logits: float32 (B, V).
            state: the sum (1, B, C) over the L characters so far, and an empty (L, B, 0), whose length is L.
        """
        total, seen = state if state is not None else (0, self.positions.weight.new_empty(0, len(ids), 0))
        x = self.embedding(ids) + self.positions.weight[len(seen)]
        total = total + x[None]
        return self._after(x, total[0] / (len(seen) + 1)), (total, seen.new_empty(len(seen) + 1, len(ids), 0))

    def _after(self, x: Tensor, mean: Tensor) -> Tensor:
        x = x + mean
        return self.output(x + self.added(self.tanh(self.hidden(x))))
