"""Values of all processes of a training."""

import math
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from charlm.callbacks.internals.lightning import Trainer


def gather(own: Any, world_size: int) -> list[Any]:
    """What every process has, by rank; called by all of them."""
    if world_size == 1:
        return [own]
    gathered: list[Any] = [None] * world_size
    dist.all_gather_object(gathered, own)
    return gathered


def mean_over_processes(trainer: Trainer, value: Tensor | None) -> float:
    """The mean over the processes that have a value, as it may be logged in the first one only; NaN without any."""
    if trainer.world_size == 1:
        return math.nan if value is None else float(value)
    mine = torch.tensor([0.0, 0.0] if value is None else [float(value), 1.0], device=trainer.strategy.root_device)
    total, count = trainer.strategy.reduce(mine, reduce_op="sum").tolist()
    return total / count if count else math.nan
