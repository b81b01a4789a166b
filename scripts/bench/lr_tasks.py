"""The tasks of lr_finder.py: nets and optimizers. B batch, T = block_size, C width, V vocabulary.

The nets of the part "choose" served to choose the default rule; those of "report" were looked at once, after that.
"further" nets were added later, with the rule unchanged, and served with the first two parts to choose the threshold of
a trial; "fresh" nets were looked at once, after that.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import lr_nets as nets
import torch
from lr_nets import T
from torch import nn

from charlm.nets.bigram import Bigram
from charlm.nets.mlp import MLP

Part = Literal["choose", "report", "further", "fresh"]

NETS: dict[str, tuple[Part, Callable[[], nn.Module]]] = {
    "bigram": ("choose", Bigram),
    "gru": ("choose", lambda: nets.recurrent(nn.GRU)),
    "deep relu": ("choose", nets.deep),
    "convolution": ("choose", nets.convolution),
    "wide relu": ("choose", nets.wide),
    "mlp": ("report", lambda: MLP(block_size=T)),
    "transformer": ("report", nets.Transformer),
    "lstm": ("report", lambda: nets.recurrent(nn.LSTM)),
    "residual": ("report", nets.residual),
    "log-linear": ("report", nets.LogLinear),
    "rnn": ("further", lambda: nets.recurrent(nn.RNN)),
    "post-norm transformer": ("further", lambda: nets.Transformer(after=True)),
    "batch norm": ("further", nets.normed),
    "gated": ("further", nets.gated),
    "trigram": ("further", nets.Trigram),
    "bag of words": ("fresh", nets.bag),
    "bilinear": ("fresh", nets.bilinear),
    "deep tanh": ("fresh", nets.tanh),
    "mixer": ("fresh", nets.mixer),
    "back-off": ("fresh", nets.BackOff),
}
OPTIMIZERS: dict[str, Callable[[Iterable[nn.Parameter], float], torch.optim.Optimizer]] = {
    "sgd": lambda weights, lr: torch.optim.SGD(weights, lr, fused=True),
    "momentum": lambda weights, lr: torch.optim.SGD(weights, lr, momentum=0.9, fused=True),
    "adamw": lambda weights, lr: torch.optim.AdamW(weights, lr, fused=True),
}


@dataclass(frozen=True)
class Task:
    """A key of `NETS` and one of `OPTIMIZERS`."""

    net: str
    optimizer: str

    @property
    def name(self) -> str:
        return f"{self.net}, {self.optimizer}"

    @property
    def part(self) -> Part:
        return NETS[self.net][0]

    def build(self, lr: float, seed: int) -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(seed)
        net = NETS[self.net][1]()
        return net, OPTIMIZERS[self.optimizer](net.parameters(), lr)


TASKS = [Task(net, optimizer) for net in NETS for optimizer in OPTIMIZERS]
