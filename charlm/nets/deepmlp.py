"""The deep MLP. Dimension key: B batch, T = block_size, C = n_embd, H = n_hidden, V = vocab_size."""

from torch import Tensor, nn

from charlm.nets.parts.layers import BatchNorm, Tanh, start_logits, start_tanh
from charlm.nets.parts.sizes import check_dropout, check_sizes


class DeepMLP(nn.Module):
    """The last T characters, each embedded, through several batch-normalised tanh layers to the logits of the next.

    Args:
        vocab_size: V, the characters and the start/end token.
        block_size: T, characters of context, >= 1.
        n_embd: C, numbers per character.
        n_hidden: H, tanh units of a layer.
        n_layer: tanh layers.
        dropout: share of the units of each layer that is dropped in training.
        n_labels: K, labels of names; their ids follow the characters'. With labels, each window has one place more, at
            its beginning, for the label.

    Raises:
        ValueError: a size below 1, or `dropout` outside [0, 1).

    Source: "makemore", parts 3 and 4, by Andrej Karpathy; Ioffe and Szegedy 2015, ICML, for the normalisation.
    """

    takes = "windows"

    def __init__(
        self,
        vocab_size: int = 27,
        block_size: int = 3,
        n_embd: int = 10,
        n_hidden: int = 100,
        n_layer: int = 5,
        dropout: float = 0.0,
        n_labels: int = 0,
    ) -> None:
        super().__init__()
        check_sizes(vocab_size=vocab_size, block_size=block_size, n_embd=n_embd, n_hidden=n_hidden, n_layer=n_layer)
        check_dropout(dropout)
        self.block_size = block_size + (n_labels > 0)
        self.embedding = nn.Embedding(vocab_size + n_labels, n_embd)
        fan_in = [self.block_size * n_embd] + [n_hidden] * (n_layer - 1)
        self.layers = nn.Sequential(*(_layer(size, n_hidden, dropout) for size in fan_in))
        self.output = nn.Linear(n_hidden, vocab_size)
        start_logits(self.output)

    def forward(self, context: Tensor) -> Tensor:
        """Logits float32 (B, V) for the character after `context`, int64 (B, T)."""
        return self.output(self.layers(self.embedding(context).flatten(1)))


def _layer(fan_in: int, n_hidden: int, dropout: float) -> nn.Sequential:
    """Linear, batch norm, tanh, dropout; the linear layer needs no bias, as the batch norm has one."""
    linear = nn.Linear(fan_in, n_hidden, bias=False)
    start_tanh(linear)
    return nn.Sequential(linear, BatchNorm(n_hidden), Tanh(), nn.Dropout(dropout))
