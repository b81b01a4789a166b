"""A net's logits from character to character, for many names side by side. Dimension key: B rows, T, V."""

from typing import Any

import torch
from torch import Tensor, nn

from charlm.nets.interface import block_size_of, takes_names
from charlm.nets.loss import device_of
from charlm.tokenizer import BOUNDARY

_WINDOWS = 1 << 16  # rows at a time: what bounds the memory
_NAMES = 1 << 10  # and here what each row has held stays in the processor's cache


class WindowWalk:
    """A net that sees the last T characters.

    Args:
        net: context int64 (B, T) in, logits (B, V) out; T is `net.block_size`.
        rows: B, names at first.
    """

    most = _WINDOWS

    def __init__(self, net: nn.Module, rows: int) -> None:
        self.net = net
        self.device = device_of(net)
        self.context = torch.full((rows, block_size_of(net)), BOUNDARY, device=self.device)

    def begin(self, ids: list[int]) -> Tensor:
        """Logits (B, V) after these characters in every row."""
        window = ([BOUNDARY] * self.context.shape[1] + ids)[-self.context.shape[1] :]
        self.context = torch.tensor(window, device=self.device).repeat(len(self.context), 1)
        return self.net(self.context)

    def step(self, ids: Tensor, going_on: Tensor) -> Tensor:
        """Logits of the rows that go on, after one more character of each; the others leave.

        Args:
            ids: int64 (B,), of all rows.
            going_on: bool (B,).
        """
        ids, going_on = ids.to(self.device), going_on.to(self.device)
        self.context = torch.cat([self.context[:, 1:], ids[:, None]], dim=1)[going_on]
        return self.net(self.context)


class NameWalk:
    """A net that keeps a state of all characters so far, and reads each of them once.

    Args:
        net: with `step(ids, state)`, which gives logits (B, V) and the state after one more character; dimension 1 of
            the state's tensors is the row.
        rows: B, names at first.
    """

    most = _NAMES

    def __init__(self, net: nn.Module, rows: int) -> None:
        self.net: Any = net
        self.device = device_of(net)
        self.rows = rows
        self.state: tuple[Tensor, ...] | None = None

    def begin(self, ids: list[int]) -> Tensor:
        """Logits (B, V) after these characters in every row."""
        for read in [BOUNDARY, *ids]:  # one row for all: so far they are the same
            logits, self.state = self.net.step(torch.tensor([read], device=self.device), self.state)
        self.state = tuple(held.repeat_interleave(self.rows, dim=1) for held in self.state or ())
        return logits.repeat(self.rows, 1)

    def step(self, ids: Tensor, going_on: Tensor) -> Tensor:
        """Logits of the rows that go on, after one more character of each; the others leave.

        Args:
            ids: int64 (B,), of all rows.
            going_on: bool (B,).
        """
        if not going_on.all():
            kept = going_on.nonzero().squeeze(1)
            ids, at = ids[kept], kept.to(self.device)
            self.state = tuple(held.index_select(1, at) for held in self.state or ())
        logits, self.state = self.net.step(ids.to(self.device), self.state)
        return logits


def walk(net: nn.Module) -> type[WindowWalk] | type[NameWalk]:
    """The way to go for a net."""
    return NameWalk if takes_names(net) else WindowWalk
