"""The optimizers and the schedule that a model may have."""

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR

OptimizerName = Literal["SGD", "AdamW"]
Schedule = Literal["constant", "one-cycle"]
_NEAR = 1e-6


def make_optimizer(
    net: nn.Module, name: OptimizerName, lr: float, weight_decay: float, *, mixed: bool = False
) -> Optimizer:
    """SGD without momentum or AdamW over all weights.

    Args:
        net: the module that is trained.
        name: the class in torch.optim.
        lr: learning rate.
        weight_decay: the decay of the matrices; biases, norms and embeddings do not decay.
        mixed: whether it is trained in mixed precision, where Lightning cannot clip gradients with a fused optimizer.
    """
    weights = [weight for weight in net.parameters() if weight.requires_grad]
    has_fused = all(weight.device.type in ("cpu", "cuda") for weight in weights)
    fused = {"fused": True} if name == "AdamW" and has_fused and not mixed else {}  # takes a third of the time
    kind = {"SGD": torch.optim.SGD, "AdamW": torch.optim.AdamW}[name]
    if not weight_decay:  # one group, so that there is one rate to look at
        return kind(weights, lr=lr, weight_decay=0.0, **fused)
    embeddings = {id(part.weight) for part in net.modules() if isinstance(part, nn.Embedding)}
    decaying = {id(weight) for weight in weights if weight.dim() > 1} - embeddings
    groups = [
        {"params": [w for w in weights if id(w) in decaying], "weight_decay": weight_decay},
        {"params": [w for w in weights if id(w) not in decaying], "weight_decay": 0.0},
    ]
    return kind([group for group in groups if group["params"]], lr=lr, **fused)


def one_cycle(optimizer: Optimizer, lr: float, steps: float, warmup: float) -> OneCycleLR:
    """Raise the rate to `lr` along half a cosine, and lower it to nearly 0 along another.

    Args:
        optimizer: its learning rates are set.
        lr: the peak rate.
        steps: optimizer steps of the whole training.
        warmup: the share of the steps in which the rate rises.

    Raises:
        ValueError: the number of steps is unknown.
    """
    if not 0 < steps < math.inf:
        raise ValueError("schedule one-cycle needs to know the end of the training; give --trainer.max_steps")
    if abs(warmup * steps - 1) < _NEAR:  # torch would divide by warmup * steps - 1
        warmup *= 1 + 2 * _NEAR
    return OneCycleLR(optimizer, lr, int(steps), pct_start=warmup, cycle_momentum=False)


def check_training(lr: float, weight_decay: float, warmup: float, label_smoothing: float) -> None:
    """Refuse arguments outside their range.

    Raises:
        ValueError: an argument is outside its range.
    """
    if not 0 < warmup < 1:
        raise ValueError(f"warmup is {warmup}; give a share of the steps, between 0 and 1")
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing is {label_smoothing}; give a share of 0 or more, below 1")
    for name, value in (("lr", lr), ("weight_decay", weight_decay)):
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} is {value}; give a number of 0 or more")


def check_end(schedule: Mapping[str, Any], steps: float) -> None:
    """Refuse to resume with a schedule that ends before the training does.

    Args:
        schedule: the state of the schedule in the checkpoint.
        steps: the last optimizer step of the training.

    Raises:
        ValueError: the schedule ends before `steps`.
    """
    ends = schedule.get("total_steps", math.inf)
    if ends < steps:
        raise ValueError(
            f"the checkpoint's one-cycle schedule ends at step {ends:,}, and this training would go to step {steps:,};"
            f" resume with --trainer.max_steps {ends}, or start a new run"
        )
