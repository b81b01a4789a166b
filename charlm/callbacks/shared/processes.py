"""Values of all processes of a training."""

from typing import Any

import torch.distributed as dist


def gather(own: Any, world_size: int) -> list[Any]:
    """What every process has, by rank; called by all of them."""
    if world_size == 1:
        return [own]
    gathered: list[Any] = [None] * world_size
    dist.all_gather_object(gathered, own)
    return gathered
