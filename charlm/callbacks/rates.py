"""The learning rates of optimizers: which groups have one, how to set it, under which tag to log it."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer


def rated_groups(optimizer: Optimizer) -> list[dict[str, Any]]:
    """The parameter groups that have a learning rate; Lightning's stand-in for "no optimizer" has none."""
    return [group for group in optimizer.param_groups if group.get("lr") is not None]


def set_rate(group: dict[str, Any], rate: float) -> None:
    """Set a parameter group's learning rate, in place where it is a tensor."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)  # a compiled or captured optimizer holds on to this very tensor
    else:
        group["lr"] = rate


def tagged_rates(optimizers: Sequence[Optimizer]) -> dict[str, float]:
    """The current rates by tag: `lr`, or with several optimizers or groups `lr/optimizer0/group1`."""
    rates = {}
    for i, optimizer in enumerate(optimizers):
        groups = rated_groups(optimizer)
        for j, group in enumerate(groups):
            tag = "lr" + f"/optimizer{i}" * (len(optimizers) > 1) + f"/group{j}" * (len(groups) > 1)
            rates[tag] = float(group["lr"])
    return rates
