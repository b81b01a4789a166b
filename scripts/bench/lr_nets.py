"""The nets of lr_tasks.py, in plain torch. B batch, T = block_size, C width, V vocabulary."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

T, V = 4, 27


class Last(nn.Module):
    """The last step of a recurrent net's output (B, T, C)."""

    def __init__(self, net: nn.RNNBase) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)[0][:, -1]


class Block(nn.Module):
    """A Transformer's layer: causal attention and a hidden layer on a residual path, normed before or `after` each."""

    def __init__(self, width: int, heads: int, after: bool) -> None:
        super().__init__()
        self.heads, self.after = heads, after
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.hidden = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        if self.after:
            x = self.norms[0](x + self.attend(x))
            return self.norms[1](x + self.hidden(x))
        x = x + self.attend(self.norms[0](x))
        return x + self.hidden(self.norms[1](x))

    def attend(self, x: Tensor) -> Tensor:
        B, steps, C = x.shape
        q, k, v = self.qkv(x).view(B, steps, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(B, steps, C)
        return self.out(y)


class Transformer(nn.Module):
    """One layer, 32 wide, with learned positions."""

    def __init__(self, after: bool = False) -> None:
        super().__init__()
        self.embedding, self.position = nn.Embedding(V, 32), nn.Embedding(T, 32)
        self.block = Block(32, 4, after)
        self.head = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, V))

    def forward(self, context: Tensor) -> Tensor:
        return self.head(self.block(self.embedding(context) + self.position.weight)[:, -1])


class Residual(nn.Module):
    """x + hidden layer of LayerNorm(x), as wide as x."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layer(x)


class LogLinear(nn.Module):
    """One table of logits for each of the T places, added up."""

    offset: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.Embedding(T * V, V)
        self.register_buffer("offset", torch.arange(T) * V)

    def forward(self, context: Tensor) -> Tensor:
        return self.tables(context + self.offset).sum(1)


class Trigram(nn.Module):
    """The logits of each pair of last characters."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(V * V, V)

    def forward(self, context: Tensor) -> Tensor:
        return self.table(context[:, -2] * V + context[:, -1])


class BackOff(nn.Module):
    """The logits of the last character, of the last two and of the last three, added up."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(V**n, V) for n in (1, 2, 3))

    def forward(self, context: Tensor) -> Tensor:
        rows, row = [], torch.zeros_like(context[:, 0])
        for n, table in enumerate(self.tables):
            row = row + context[:, T - 1 - n] * V**n
            rows.append(table(row))
        return torch.stack(rows).sum(0)


class Mean(nn.Module):
    """(B, T, C) to (B, C): the bag of words."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


class Mixer(nn.Module):
    """One layer that mixes places, then one that mixes channels, each on a residual path."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.places = nn.Sequential(nn.Linear(T, 16), nn.GELU(), nn.Linear(16, T))
        self.channels = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.places(self.norms[0](x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norms[1](x))


class Swap(nn.Module):
    """(B, T, C) to (B, C, T), which convolutions want."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


def recurrent(kind: Callable[..., nn.RNNBase]) -> nn.Module:
    """Embedding, one recurrent layer, logits."""
    return nn.Sequential(nn.Embedding(V, 16), Last(kind(16, 48, batch_first=True)), nn.Linear(48, V))


def deep() -> nn.Module:
    """Seven ReLU layers without any norm, as torch initialises them."""
    widths = [T * 10, *[64] * 7]
    layers = [m for a, b in itertools.pairwise(widths) for m in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(nn.Embedding(V, 10), nn.Flatten(), *layers, nn.Linear(64, V))


def wide() -> nn.Module:
    """One layer of 500 ReLUs."""
    return nn.Sequential(nn.Embedding(V, 8), nn.Flatten(), nn.Linear(T * 8, 500), nn.ReLU(), nn.Linear(500, V))


def convolution() -> nn.Module:
    """A convolution with a batch norm."""
    layer = (nn.Conv1d(16, 48, 2), nn.BatchNorm1d(48), nn.ReLU())
    return nn.Sequential(nn.Embedding(V, 16), Swap(), *layer, nn.Flatten(), nn.Linear(48 * (T - 1), V))


def normed() -> nn.Module:
    """Two tanh layers, each with a batch norm."""
    layers = [m for n in (T * 10, 64) for m in (nn.Linear(n, 64, bias=False), nn.BatchNorm1d(64), nn.Tanh())]
    return nn.Sequential(nn.Embedding(V, 10), nn.Flatten(), *layers, nn.Linear(64, V))


def gated() -> nn.Module:
    """One layer of 128 units with a gate each."""
    return nn.Sequential(nn.Embedding(V, 10), nn.Flatten(), nn.Linear(T * 10, 256), nn.GLU(), nn.Linear(128, V))


def bag() -> nn.Module:
    """The mean of the characters' embeddings, and a tanh layer."""
    return nn.Sequential(nn.Embedding(V, 32), Mean(), nn.Linear(32, 64), nn.Tanh(), nn.Linear(64, V))


def bilinear() -> nn.Module:
    """Logits that are linear in the embeddings."""
    return nn.Sequential(nn.Embedding(V, 16), nn.Flatten(), nn.Linear(T * 16, V))


def tanh() -> nn.Module:
    """Four tanh layers without any norm, initialised for tanh, the embeddings at a tenth."""
    layers: list[nn.Module] = []
    for n in (T * 10, 64, 64, 64):
        linear = nn.Linear(n, 64)
        nn.init.kaiming_normal_(linear.weight, nonlinearity="tanh")
        layers += [linear, nn.Tanh()]
    embedding = nn.Embedding(V, 10)
    nn.init.normal_(embedding.weight, std=0.1)
    return nn.Sequential(embedding, nn.Flatten(), *layers, nn.Linear(64, V))


def mixer() -> nn.Module:
    """A layer of an MLP-Mixer."""
    return nn.Sequential(nn.Embedding(V, 24), Mixer(24), nn.Flatten(), nn.LayerNorm(T * 24), nn.Linear(T * 24, V))


def residual() -> nn.Module:
    """Three residual layers."""
    start = (nn.Embedding(V, 10), nn.Flatten(), nn.Linear(T * 10, 64))
    return nn.Sequential(*start, *[Residual(64) for _ in range(3)], nn.LayerNorm(64), nn.Linear(64, V))
