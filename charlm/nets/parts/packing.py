"""Training without the padding of a batch of names. Dimension key: B names, L positions, S positions of all names."""

import torch
from torch import Tensor

_ROWS = 8


class Packing:
    """The S positions of a batch that belong to names, out of B * L.

    Args:
        names: int64 (B, L), each padded at its end with token 0.
    """

    def __init__(self, names: Tensor) -> None:
        self.shape = names.shape
        self.inside = inside_names(names).flatten().nonzero().squeeze(1)  # int64 (S,)

    def pack(self, x: Tensor) -> Tensor:
        """Float (B, L, F) to (S, F)."""
        return x.flatten(0, 1).index_select(0, self.inside)

    def pad(self, x: Tensor) -> Tensor:
        """Float (S, F) to (B, L, F), zeros in the padding."""
        B, L = self.shape
        return x.new_zeros(B * L, x.shape[1]).index_copy(0, self.inside, x).view(B, L, -1)


def inside_names(names: Tensor) -> Tensor:
    """Bool (B, L): the positions up to the last character of each of `names`, int64 (B, L), and some padding.

    At each position the names that go on are filled up to a multiple of 8 with the next ones: products of matrices of
    the same few sizes take less time than those of a size never seen before. All positions, unless the names are sorted
    with the longest first.
    """
    position = torch.arange(names.shape[1], device=names.device)
    last = ((names > 0) * position).amax(1)
    if (last.diff() > 0).any():
        return torch.ones_like(names, dtype=torch.bool)
    rows = (position <= last[:, None]).sum(0)
    return torch.arange(len(names), device=names.device)[:, None] < (rows + _ROWS - 1) // _ROWS * _ROWS
