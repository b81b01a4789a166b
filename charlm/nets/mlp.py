"""The neural probabilistic language model. Dimension key: B batch, T = block_size, C = n_embd, H = n_hidden, V."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

aten = torch.ops.aten
_MEAN = 1  # ATen's number for reduction="mean"


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

    @staticmethod
    @torch.no_grad()
    def gradients(weights: Sequence[Tensor], context: Tensor, target: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The cross-entropy of `forward`'s logits and its gradients, derived by hand: half the time of autograd.

        The same operations in the same order as autograd's, so that the results are its own, bit for bit. Hooks on the
        layers are not called.

        Args:
            weights: the net's `parameters()`.
            context: int64 (B, T).
            target: int64 (B,), each a character's id.

        Returns:
            loss: float32 (), in nats per character.
            gradients: of each of `weights`.
        """
        table, W1, b1, W2, b2 = weights
        embedded = aten.embedding(table, context).flatten(1)  # (B, T * C)
        h = torch.addmm(b1, embedded, W1.t()).tanh_()  # (B, H)
        logp = torch.addmm(b2, h, W2.t()).log_softmax(1)  # (B, V)
        loss, weight = aten.nll_loss_forward(logp, target, None, _MEAN, -100)
        d_logp = aten.nll_loss_backward(torch.ones_like(loss), logp, target, None, _MEAN, -100, weight)
        d_logits = aten._log_softmax_backward_data(d_logp, logp, 1, logp.dtype)
        d_hidden = aten.tanh_backward(d_logits.mm(W2), h)
        d_embedded = d_hidden.mm(W1).view(*context.shape, -1)
        d_table = aten.embedding_dense_backward(d_embedded, context, len(table), -1, False)
        return loss, [d_table, d_hidden.t().mm(embedded), d_hidden.sum(0), d_logits.t().mm(h), d_logits.sum(0)]

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
