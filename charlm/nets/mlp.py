"""The neural probabilistic language model. Dimension key: B batch, T = block_size, C = n_embd, H = n_hidden, V."""

from typing import Literal

import torch
from torch import Tensor, nn

from charlm.nets.parts.layers import Tanh, start_logits, start_tanh
from charlm.nets.parts.sizes import check_choice, check_sizes


class MLP(nn.Module):
    """The last T characters, each embedded, through one tanh layer to the logits of the next.

    Args:
        vocab_size: V, the characters and the start/end token.
        block_size: T, characters of context, >= 1.
        n_embd: C, numbers per character.
        n_hidden: H, tanh units.
        init: "default" is small and well scaled, so that the first loss is about ln V; "notebook" is the course's own,
            drawn from torch's global generator in the order of the course.
        n_labels: K, labels of names; their ids follow the characters'. With labels, each window has one place more, at
            its beginning, for the label.

    Raises:
        ValueError: a size below 1, or an unknown `init`.

    Source: Bengio et al. 2003, JMLR 3:1137-1155, section 2, with characters for words and without direct connections.
    """

    takes = "windows"

    def __init__(
        self,
        vocab_size: int = 27,
        block_size: int = 3,
        n_embd: int = 10,
        n_hidden: int = 200,
        init: Literal["default", "notebook"] = "default",
        n_labels: int = 0,
    ) -> None:
        super().__init__()
        check_choice(init=init, allowed=("default", "notebook"))
        check_sizes(vocab_size=vocab_size, block_size=block_size, n_embd=n_embd, n_hidden=n_hidden)
        self.block_size = block_size + (n_labels > 0)
        # torch's own initial values must not move the generator before the course's draws
        with torch.random.fork_rng(devices=[]):
            self.embedding = nn.Embedding(vocab_size + n_labels, n_embd)
            self.hidden = nn.Linear(self.block_size * n_embd, n_hidden)
            self.tanh = Tanh()  # a module, so that hooks can look at the hidden units
            self.output = nn.Linear(n_hidden, vocab_size)
        if init == "notebook":
            self._init_notebook()
        else:
            nn.init.normal_(self.embedding.weight)
            start_tanh(self.hidden)
            start_logits(self.output)

    def forward(self, context: Tensor) -> Tensor:
        """Logits float32 (B, V) for the character after `context`, int64 (B, T)."""
        embedded = self.embedding(context).flatten(1)  # (B, T * C)
        return self.output(self.tanh(self.hidden(embedded)))

    @torch.no_grad()
    def _init_notebook(self) -> None:
        """Draw as the course does; its tables are (fan in, fan out), torch's layers (fan out, fan in)."""
        table, hidden, output = self.embedding.weight, self.hidden, self.output
        table.copy_(torch.randn(table.shape) * 0.1)
        hidden.weight.copy_((torch.randn(hidden.weight.T.shape) * 0.2).T)
        hidden.bias.copy_(torch.randn(hidden.bias.shape) * 0.01)
        output.weight.copy_((torch.randn(output.weight.T.shape) * 0.01).T)
        output.bias.copy_(torch.randn(output.bias.shape) * 0)
