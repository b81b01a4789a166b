"""Windows and folds of whole names, to estimate on names that were not counted. Dimension key: B names, L positions."""

import torch
from torch import Tensor

_MIXES = 6364136223846793005  # the multiplier of Knuth's generator MMIX


def windows(names: Tensor, length: int, labelled: bool = False) -> Tensor:
    """The window that ends at each position of `names`, int64 (B, L): int64 (B, L, length), oldest character first.

    Places before the beginning of a name hold its first token; if that is a label, it also begins all other windows.
    """
    first = names[:, :1]
    found = torch.cat([first.expand(-1, length - 1), names], dim=1).unfold(1, length, 1)
    return torch.cat([first[..., None].expand(*names.shape, 1), found[..., 1:]], dim=2) if labelled else found


def key_of(names: Tensor) -> Tensor:
    """Int64 (B,): a hash of each of `names`, int64 (B, L), which depends on its tokens before the padding alone."""
    number = torch.zeros_like(names[:, 0])
    for column in names.flip(1).unbind(1):  # the padding first, which leaves the number at 0
        number = number * _MIXES + column
    return number


def fold_of(names: Tensor, folds: int) -> Tensor:
    """A number from 0 to `folds` - 1 for each of `names`, int64 (B, L), which depends on its characters alone.

    The first token does not count, so that a name with two labels is in one fold.
    """
    return (key_of(torch.cat([torch.zeros_like(names[:, :1]), names[:, 1:]], dim=1)) >> 33) % folds
