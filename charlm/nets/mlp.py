"""The neural probabilistic language model. Dimension key: B batch, T = block_size, C = n_embd, H = n_hidden, V."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init


class MLP(nn.Module):
    """The last T characters, each embedded, through one tanh layer to the logits of the next.

    Args:
        vocab_size: V, the characters and the boundary.
        block_size: T, characters of context, >= 1.
        n_embd: C, numbers per character.
        n_hidden: H, tanh units.
        init: "default" is small and well scaled, so that the first loss is about ln V; "notebook" is the course's own,
            drawn from torch's global generator in its order.

    Raises:
        ValueError: a size below 1, or an unknown `init`.

    Source: Bengio et al. 2003, JMLR 3:1137-1155, section 2, with characters for words and without direct connections.
    """

    def __init__(
        self,
        vocab_size: int = 27,
        block_size: int = 3,
        n_embd: int = 10,
        n_hidden: int = 200,
        init: Literal["default", "notebook"] = "default",
    ) -> None:
        super().__init__()
        if init not in ("default", "notebook"):
            raise ValueError(f"init is {init!r}; give 'default' or 'notebook'")
        sizes = {"vocab_size": vocab_size, "block_size": block_size, "n_embd": n_embd, "n_hidden": n_hidden}
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name} is {size}; it must be at least 1")
        self.block_size = block_size
        # Built without torch's own initial values: drawing those would move the generator before the notebook's draws.
        device = torch.get_default_device()
        self.embedding = skip_init(nn.Embedding, vocab_size, n_embd, device=device)
        self.hidden = skip_init(nn.Linear, block_size * n_embd, n_hidden, device=device)
        self.output = skip_init(nn.Linear, n_hidden, vocab_size, device=device)
        (self._init_notebook if init == "notebook" else self._init_default)()

    def forward(self, context: Tensor) -> Tensor:
        """Logits float32 (B, V) for the character after `context`, int64 (B, T)."""
        return self.output(torch.tanh(self.hidden(self.embedding(context).flatten(1))))

    @torch.no_grad()
    def _init_default(self) -> None:
        """Tanh inputs of about unit size (gain 5/3 over sqrt(fan in)), logits near zero: no wasted first steps."""
        nn.init.normal_(self.embedding.weight)
        nn.init.kaiming_normal_(self.hidden.weight, nonlinearity="tanh")
        nn.init.zeros_(self.hidden.bias)
        nn.init.normal_(self.output.weight, std=0.1 / self.output.in_features**0.5)
        nn.init.zeros_(self.output.bias)

    @torch.no_grad()
    def _init_notebook(self) -> None:
        """The course's tables hold (fan in, fan out), torch's layers (fan out, fan in): hence the transpositions."""
        table, hidden, output = self.embedding.weight, self.hidden, self.output
        table.copy_(torch.randn(table.shape) * 0.1)
        hidden.weight.copy_((torch.randn(hidden.weight.T.shape) * 0.2).T)
        hidden.bias.copy_(torch.randn(hidden.bias.shape) * 0.01)
        output.weight.copy_((torch.randn(output.weight.T.shape) * 0.01).T)
        output.bias.copy_(torch.randn(output.bias.shape) * 0)
