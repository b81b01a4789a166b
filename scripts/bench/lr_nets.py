"""The nets of lr_tasks.py, in plain torch, and their losses. Dimension key: B batch, T context, V vocabulary."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

T, V = 4, 27


class Apply(nn.Module):
    """A function of the weights and the input; `start` are the initial weights by name."""

    def __init__(self, function: Callable[..., Tensor], **start: Tensor) -> None:
        super().__init__()
        self.function = function
        self.weights = nn.ParameterDict(start)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, **self.weights)


class Recurrent(nn.Module):
    """A recurrent layer over T characters, step by step, in elementary operations; a GRU or a tanh layer."""

    def __init__(self, gates: int, width: int = 32) -> None:
        super().__init__()
        self.embedding = nn.Embedding(V, 12)
        self.into, self.back = nn.Linear(12, gates * width), nn.Linear(width, gates * width)
        self.output = nn.Linear(width, V)
        self.gates, self.width = gates, width

    def forward(self, context: Tensor) -> Tensor:
        state = torch.zeros(len(context), self.width)
        for x in self.into(self.embedding(context)).unbind(1):
            a, b = x.chunk(self.gates, 1), self.back(state).chunk(self.gates, 1)
            new = torch.tanh(a[0] + (b[0] if self.gates == 1 else torch.sigmoid(a[1] + b[1]) * b[0]))
            keep = 0 if self.gates == 1 else torch.sigmoid(a[2] + b[2])
            state = new + keep * (state - new)
        return self.output(state)


def layers(*widths: int, unit: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers with `unit` between them."""
    pairs = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b), unit())]
    return nn.Sequential(*pairs[:-1])


def deep_linear() -> nn.Module:
    """Three linear layers with weights a fifth of torch's, so that training begins near a saddle."""
    net = layers(10, 16, 16, 10, unit=nn.Identity)
    with torch.no_grad():
        for weight in net.parameters():
            weight.mul_(0.2)
    return net


def log_linear() -> nn.Module:
    """One table of logits for each of the T places, added up."""
    return Apply(lambda x, table: table[x + V * torch.arange(T)].sum(1), table=torch.zeros(T * V, V))


def trigram() -> nn.Module:
    """The logits of each pair of last characters."""
    return Apply(lambda x, table: table[x[:, -2] * V + x[:, -1]], table=torch.randn(V * V, V))


def back_off() -> nn.Module:
    """The logits of the last character, of the last two, and of the last with the third last, added up."""

    def logits(x: Tensor, one: Tensor, two: Tensor, skip: Tensor) -> Tensor:
        last = x[:, -1]
        return one[last] + two[last + V * x[:, -2]] + skip[last + V * x[:, -3]]

    return Apply(logits, one=torch.zeros(V, V), two=torch.zeros(V * V, V), skip=torch.zeros(V * V, V))


def factors() -> nn.Module:
    """Matrix factorisation: the product of the vectors of a user and an item."""
    start = {name: 0.1 * torch.randn(size, 8) for name, size in (("user", 200), ("item", 150))}
    return Apply(lambda x, user, item: (user[x[:, 0]] * item[x[:, 1]]).sum(1), **start)


def convolution() -> nn.Module:
    """Twelve filters of 3 x 3 on images of 8 x 8, the mean over places, logits."""

    def logits(x: Tensor, filters: Tensor, bias: Tensor, out: Tensor) -> Tensor:
        return F.relu(x @ filters + bias).view(len(x), 4, 9, 12).amax(2).flatten(1) @ out

    return Apply(logits, filters=torch.randn(9, 12) / 3, bias=torch.zeros(12), out=torch.randn(48, 4) / 7)


class LM(nn.Module):
    """A post-norm Transformer of one block with two heads over 12 tokens."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.embedding, self.position = nn.Embedding(8, width), nn.Parameter(0.1 * torch.randn(12, width))
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.hidden, self.head = layers(width, 4 * width, width, unit=nn.GELU), nn.Linear(width, 8)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens) + self.position
        q, k, v = (part.unflatten(2, (2, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, 2))
        score = (q @ k.transpose(2, 3)) / q.shape[3] ** 0.5
        seen = torch.ones(12, 12).tril().bool()
        x = self.norms[0](x + self.out((score.where(seen, -1e9).softmax(3) @ v).transpose(1, 2).flatten(2)))
        return self.head(self.norms[1](x + self.hidden(x))).flatten(0, 1)


def of_tokens(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of whole sequences; targets of -1 are ignored."""
    return F.cross_entropy(logits.flatten(0, -2), target.flatten(), ignore_index=-1)


def squares(output: Tensor, target: Tensor) -> Tensor:
    """The mean squared error."""
    return F.mse_loss(output.view_as(target), target)


def gaussian(output: Tensor, target: Tensor) -> Tensor:
    """Negative log-likelihood in nats; below 0 where the deviation is small."""
    return (output[:, 1] + 0.5 * ((target - output[:, 0]) * torch.exp(-output[:, 1])) ** 2).mean()


def binary(output: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of two classes, whose targets are 0.0 and 1.0."""
    return F.binary_cross_entropy_with_logits(output.view_as(target), target)
