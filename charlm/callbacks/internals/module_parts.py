"""Where torch keeps the parts and the hooks of a module, and the parts of a scheduler."""

from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.nn.modules.module import _has_any_global_hook

HOOKS_OF_MODULES = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
HOOKS_OF_WEIGHTS = ("_backward_hooks", "_post_accumulate_grad_hooks")
RATES_OF_SCHEDULER = ("base_lrs", "max_lrs", "_last_lr")  # max_lrs is CyclicLR's


def part_names(module: nn.Module) -> list[Any]:
    """The containers in which a module keeps its parameters, buffers, parts and non-persistent buffers, by name."""
    owned: list[Any] = [module._parameters, module._buffers, module._modules, module._non_persistent_buffers_set]
    return [part for part in owned if isinstance(part, dict | set)]  # a scripted module has others, which stay


def has_hooks(module: nn.Module) -> bool:
    """Whether `module`, one of its parts or one of its weights has a hook, or all modules have one."""
    of_modules = any(getattr(part, kind) for part in module.modules() for kind in HOOKS_OF_MODULES)
    of_weights = any(getattr(weight, kind) for weight in module.parameters() for kind in HOOKS_OF_WEIGHTS)
    return of_modules or of_weights or _has_any_global_hook()


def inner_schedulers(scheduler: Any) -> Sequence[Any]:
    """The schedulers inside a SequentialLR or a ChainedScheduler; none in others."""
    return getattr(scheduler, "_schedulers", ())
