"""Incremental decoding: a net's logits, character by character, for many names side by side.

Dimension key: B rows (unfinished names), T = block_size of a window net, V = vocab_size.
"""

from typing import Any

import torch
from torch import Tensor, nn

from charlm.nets.interface import block_size_of, takes_names
from charlm.nets.loss import device_of
from charlm.tokenizer import BOUNDARY

_MULTIPLE = 32  # rows


class WindowDecoder:
    """Decode with a net that sees the last T characters.

    Args:
        net: context int64 (B, T) in, logits (B, V) out; T is `net.block_size`.
        rows: B, the number of names at first.
    """

    max_rows = 3 << 10  # so that all that is computed for a step stays in the processor's cache

    def __init__(self, net: nn.Module, rows: int) -> None:
        self.net = net
        self.device = device_of(net)
        self.context = torch.full((rows, block_size_of(net)), BOUNDARY, device=self.device)

    def start(self, prefix: list[int]) -> Tensor:
        """Logits (B, V) after the ids of a prefix, the same in every row."""
        window = ([BOUNDARY] * self.context.shape[1] + prefix)[-self.context.shape[1] :]
        self.context = torch.tensor(window, device=self.device).repeat(len(self.context), 1)
        return self.net(self.context)

    def step(self, ids: Tensor, unfinished: Tensor) -> Tensor:
        """Read one more character of each name, and drop the finished names.

        Args:
            ids: int64 (B,), the next character of every row.
            unfinished: bool (B,), the rows to keep.

        Returns:
            the logits of the rows that are kept.
        """
        ids, unfinished = ids.to(self.device), unfinished.to(self.device)
        self.context = torch.cat([self.context[:, 1:], ids[:, None]], dim=1)[unfinished]
        more = -len(self.context) % _MULTIPLE  # products of ever new sizes would fill a cache of a gigabyte
        padded = torch.cat([self.context, self.context[:1].expand(more, -1)])
        return self.net(padded)[: len(self.context)]


class NameDecoder:
    """Decode with a net that has a state of all characters so far, and reads each character once.

    Args:
        net: with `step(ids, state)`, which returns logits (B, V) and the state after one more character; dimension 1 of
            the state's tensors is the row.
        rows: B, the number of names at first.
    """

    max_rows = 1 << 10  # so that the state of all rows stays in the processor's cache

    def __init__(self, net: nn.Module, rows: int) -> None:
        self.net: Any = net
        self.device = device_of(net)
        self.rows = rows
        self.state: tuple[Tensor, ...] | None = None

    def start(self, prefix: list[int]) -> Tensor:
        """Logits (B, V) after the ids of a prefix, the same in every row."""
        for read in [BOUNDARY, *prefix]:  # in one row, and repeated then
            logits, self.state = self.net.step(torch.tensor([read], device=self.device), self.state)
        self.state = tuple(part.repeat_interleave(self.rows, dim=1) for part in self.state or ())
        self.at = torch.arange(self.rows, device=self.device)
        return logits.repeat(self.rows, 1)

    def step(self, ids: Tensor, unfinished: Tensor) -> Tensor:
        """Read one more character of each name, and drop the finished names; as `WindowDecoder.step`.

        The state keeps finished rows until an eighth of its rows can go, and then has a multiple of 32 rows: to copy it
        at every step takes longer, and so do products of ever new sizes.
        """
        ids, unfinished = ids.to(self.device), unfinished.to(self.device)
        ids, self.at = ids[unfinished], self.at[unfinished]
        rows = -(-len(ids) // _MULTIPLE) * _MULTIPLE
        if rows <= 7 * self.rows // 8:
            kept = torch.cat([self.at, self.at[:1].expand(rows - len(ids))])
            self.state = tuple(part.index_select(1, kept) for part in self.state or ())
            self.at, self.rows = torch.arange(len(ids), device=self.device), rows
        read = ids.new_zeros(self.rows).index_copy(0, self.at, ids)
        logits, self.state = self.net.step(read, self.state)
        return logits[self.at]


Decoder = WindowDecoder | NameDecoder


def decoder_for(net: nn.Module) -> type[WindowDecoder] | type[NameDecoder]:
    """The decoder class for a net."""
    return NameDecoder if takes_names(net) else WindowDecoder
