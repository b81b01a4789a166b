"""Where torch keeps the parts of a module and of a scheduler."""

from collections.abc import Sequence
from typing import Any

from torch import nn

RATES_OF_SCHEDULER = ("base_lrs", "max_lrs", "_last_lr")  # max_lrs is CyclicLR's


def part_names(module: nn.Module) -> list[Any]:
    """The containers in which a module keeps its parameters, buffers, parts and non-persistent buffers, by name."""
    owned: list[Any] = [module._parameters, module._buffers, module._modules, module._non_persistent_buffers_set]
    return [part for part in owned if isinstance(part, dict | set)]  # a scripted module has others, which stay


def inner_schedulers(scheduler: Any) -> Sequence[Any]:
    """The schedulers inside a SequentialLR or a ChainedScheduler; none in others."""
    return getattr(scheduler, "_schedulers", ())
