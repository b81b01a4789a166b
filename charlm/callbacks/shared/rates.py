"""The learning rates of optimizers and schedulers: read them, set them, scale them, and name them for loggers."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from charlm.callbacks.internals.module_parts import RATES_OF_SCHEDULER, inner_schedulers

_RATES = ("lr", "initial_lr", "max_lr", "min_lr")  # of a parameter group; the last two are OneCycleLR's


def rated_groups(optimizer: Optimizer) -> list[dict[str, Any]]:
    """The parameter groups with a learning rate; Lightning's stand-in for a missing optimizer has none."""
    return [group for group in optimizer.param_groups if group.get("lr") is not None]


def all_rates(optimizers: Sequence[Optimizer]) -> list[Any]:
    """The learning rate of every parameter group: a number, a tensor, or None for a group without a rate."""
    return [group.get("lr") for optimizer in optimizers for group in optimizer.param_groups]


def set_rate(group: dict[str, Any], rate: float) -> None:
    """Set a parameter group's learning rate, in place where it is a tensor."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)  # a compiled optimizer keeps a reference to this tensor
    else:
        group["lr"] = rate


def peak_rates(optimizer: Optimizer, schedulers: Sequence[Any] = ()) -> list[float]:
    """The highest learning rate of each parameter group with a rate.

    It is the peak of a cycle, the base rate that a scheduler multiplies, or the current rate.

    Args:
        optimizer: the optimizer with the groups.
        schedulers: the schedulers of this optimizer.
    """
    rates = [float(group.get("max_lr", group.get("initial_lr", group["lr"]))) for group in rated_groups(optimizer)]
    for scheduler in _flat(schedulers):
        cycle = getattr(scheduler, "max_lrs", None)  # CyclicLR's; its groups have only the lowest rate
        if isinstance(cycle, list) and len(cycle) == len(rates):
            rates = [max(rate, float(peak)) for rate, peak in zip(rates, cycle, strict=True)]
    return rates


def scale_rates(optimizer: Optimizer, schedulers: Sequence[Any], old: float, new: float) -> None:
    """Multiply all learning rates of an optimizer, and the base rates of its schedulers, by new / old.

    Args:
        optimizer: the optimizer; the ratios between its groups do not change.
        schedulers: the schedulers of this optimizer.
        old: a learning rate, not 0.
        new: the learning rate that takes the place of `old`, exactly.

    Raises:
        ValueError: see `refuse_fixed`.
    """
    refuse_fixed(schedulers)
    scaled: set[int] = set()  # groups may share one tensor
    for group in rated_groups(optimizer):
        for key in _RATES:
            rate = group.get(key)
            if isinstance(rate, Tensor):
                if id(rate) not in scaled:
                    rate.copy_(new * (rate / old))
                scaled.add(id(rate))
            elif rate is not None:
                group[key] = new * (rate / old)
    for scheduler in _with_parts(schedulers):
        for name in RATES_OF_SCHEDULER:
            rates = getattr(scheduler, name, None)
            if isinstance(rates, list):
                setattr(scheduler, name, [new * (rate / old) for rate in rates])


def refuse_fixed(schedulers: Sequence[Any]) -> None:
    """Refuse schedulers that would overwrite a learning rate that LRFinder sets.

    Raises:
        ValueError: a scheduler has no `base_lrs` and is not ReduceLROnPlateau.
    """
    for scheduler in _flat(schedulers):
        if not hasattr(scheduler, "base_lrs") and not isinstance(scheduler, ReduceLROnPlateau):
            raise ValueError(
                f"LRFinder cannot keep {type(scheduler).__name__} at the rate that it finds: it has no base_lrs to"
                " change. Use a scheduler of torch, give a function as update_attr that changes this one, or use"
                " LRFinder(apply=False) and set the rate yourself"
            )


def _flat(schedulers: Sequence[Any]) -> list[Any]:
    """The schedulers, with the parts of SequentialLR and ChainedScheduler in place of these two."""
    return [scheduler for scheduler in _with_parts(schedulers) if not inner_schedulers(scheduler)]


def _with_parts(schedulers: Sequence[Any]) -> list[Any]:
    """The schedulers, each followed by its parts if it is a SequentialLR or a ChainedScheduler."""
    found = []
    for scheduler in schedulers:
        found += [scheduler, *_with_parts(inner_schedulers(scheduler))]
    return found


def tagged_rates(optimizers: Sequence[Optimizer]) -> dict[str, float]:
    """The current learning rates by tag: `lr`, or `lr/optimizer0/group1` with several optimizers or groups."""
    rates = {}
    for i, optimizer in enumerate(optimizers):
        groups = rated_groups(optimizer)
        for j, group in enumerate(groups):
            tag = "lr" + f"/optimizer{i}" * (len(optimizers) > 1) + f"/group{j}" * (len(groups) > 1)
            rates[tag] = float(group["lr"])
    return rates
