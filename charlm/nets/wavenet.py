"""The WaveNet of the course. Dimension key: B batch, T = block_size, P pieces, C = n_embd, H = n_hidden, V."""

from torch import Tensor, nn

from charlm.nets.parts.layers import BatchNorm, Tanh, start_logits, start_tanh
from charlm.nets.parts.sizes import check_dropout, check_sizes


class WaveNet(nn.Module):
    """The last T characters, fused pair by pair, level by level, until one piece is left: a tree of tanh layers.

    Args:
        vocab_size: V, the characters and the start/end token.
        block_size: T, characters of context, a power of two from 2 on; with labels also one less than that.
        n_embd: C, numbers per character.
        n_hidden: H, tanh units of a level.
        dropout: share of the units of each level that is dropped in training.
        n_labels: K, labels of names; their ids follow the characters'. With labels, each window has one place more, at
            its beginning, for the label. Its embedding is added to that of each character, or is a leaf of the tree if
            the places with that of the label are a power of two.

    Raises:
        ValueError: a size below 1, another `block_size`, or `dropout` outside [0, 1).

    Source: van den Oord et al. 2016, arXiv:1609.03499, in the form of "makemore", part 5, by Andrej Karpathy; section
    2.5 there for the label.
    """

    takes = "windows"

    def __init__(
        self,
        vocab_size: int = 27,
        block_size: int = 8,
        n_embd: int = 24,
        n_hidden: int = 128,
        dropout: float = 0.0,
        n_labels: int = 0,
    ) -> None:
        super().__init__()
        check_sizes(vocab_size=vocab_size, block_size=block_size, n_embd=n_embd, n_hidden=n_hidden)
        check_dropout(dropout)
        self.block_size = places = block_size + (n_labels > 0)
        self.adds_label = n_labels > 0 and _fuse(block_size)
        if not (self.adds_label or _fuse(places)):
            raise ValueError(f"block_size is {block_size}; pairs are fused, so it must be a power of two: 2, 4, 8, ...")
        self.embedding = nn.Embedding(vocab_size + n_labels, n_embd)
        sizes = [n_embd] + [n_hidden] * (places.bit_length() - 2)
        self.levels = nn.ModuleList(_Level(size, n_hidden, dropout) for size in sizes)
        self.output = nn.Linear(n_hidden, vocab_size)
        start_logits(self.output)

    def forward(self, context: Tensor) -> Tensor:
        """Logits float32 (B, V) for the character after `context`, int64 (B, T)."""
        x = self.embedding(context)
        if self.adds_label:
            x = x[:, 1:] + x[:, :1]
        for level in self.levels:
            x = level(x)
        return self.output(x[:, 0])


def _fuse(places: int) -> bool:
    """Whether so many places can be fused pair by pair until one is left."""
    return places > 1 and places.bit_count() == 1


class _Level(nn.Module):
    """Fuses two neighbours into one: linear, batch norm over examples and places, tanh."""

    def __init__(self, size: int, n_hidden: int, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * size, n_hidden, bias=False)  # the normalisation has a bias
        self.norm = BatchNorm(n_hidden)
        self.tanh = Tanh()
        self.dropout = nn.Dropout(dropout)
        start_tanh(self.linear)

    def forward(self, x: Tensor) -> Tensor:
        """Float (B, P, size) in, (B, P / 2, H) out."""
        B, P, size = x.shape
        fused = self.linear(x.reshape(B * P // 2, 2 * size))
        return self.dropout(self.tanh(self.norm(fused))).view(B, P // 2, -1)
