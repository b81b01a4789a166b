"""Which positions of a batch hold names, and which padding. Dimension key: B names, L positions."""

import torch
from torch import Tensor


def inside_names(names: Tensor) -> Tensor:
    """Bool (B, L): up to the last character of each of `names`, int64 (B, L), which are padded with the boundary.

    All positions where the names do not come longest first.
    """
    place = torch.arange(names.shape[1], device=names.device)
    last = ((names > 0) * place).amax(1)
    if (last.diff() > 0).any():
        return torch.ones_like(names, dtype=torch.bool)
    return place <= last[:, None]
