"""Whether anybody has registered a hook on a module: torch has no public way to ask."""

from torch import nn
from torch.nn.modules.module import _has_any_global_hook

OF_MODULES = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
OF_WEIGHTS = ("_backward_hooks", "_post_accumulate_grad_hooks")


def has_hooks(module: nn.Module) -> bool:
    """Whether `module`, one of its parts or one of its weights has a hook, or all modules have one."""
    of_modules = any(getattr(part, kind) for part in module.modules() for kind in OF_MODULES)
    of_weights = any(getattr(weight, kind) for weight in module.parameters() for kind in OF_WEIGHTS)
    return of_modules or of_weights or _has_any_global_hook()
