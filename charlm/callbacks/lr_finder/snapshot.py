"""A whole training in memory, to be given back after steps that are not to count."""

import copy
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset, Sampler

from charlm.callbacks.lr_finder.restore import Restore, keep_all, keep_attributes, keep_value

_OF_MODULES = set(vars(nn.Module())) - {"training"}  # torch's own attributes, which hold parts and hooks
_OF_OPTIMIZERS = {"state", "param_groups", "defaults"}
_OF_DATA = 1000  # elements up to which a dataset's attributes are copied: its position, not its data
_PARTS_OF_LOADERS = ("sampler", "batch_sampler", "dataset", "collate_fn")


def keep_training(trainer: Trainer, pl_module: LightningModule) -> Restore:
    """Copy what steps of a training change in the model and in the trainer.

    That is: weights, buffers (those that are not in the state_dict too), gradients, plain attributes of the module and
    its parts, optimizers, schedulers, gradient scaler and Lightning's counters. It takes as much memory as weights and
    optimizer states. What cannot be copied: the inside of other objects in attributes (an open file, a replay buffer
    of a class of its own), and what a step does outside the process.

    Args:
        trainer: in training, with its optimizers.
        pl_module: the module it trains.

    Returns:
        What gives it all back; it can be called again.
    """
    loop = trainer.fit_loop.epoch_loop
    stateful: list[Any] = [
        loop.batch_progress,
        loop.automatic_optimization.optim_progress,
        loop.manual_optimization.optim_step_progress,
        trainer.precision_plugin,
        *(config.scheduler for config in trainer.lr_scheduler_configs),
    ]
    within = {id(parameter) for parameter in pl_module.parameters()}
    learnt = [weight for of in trainer.optimizers for group in of.param_groups for weight in group["params"]]
    return keep_all(
        [
            *(_keep_module(module) for module in pl_module.modules()),
            *(_keep_weight(weight) for weight in learnt if id(weight) not in within),
            *(_keep_optimizer(optimizer) for optimizer in trainer.optimizers),
            *(_keep_state(part) for part in stateful),
        ]
    )


def keep_data(trainer: Trainer) -> Restore:
    """Copy where the data are: all random generators, and plain attributes of loaders, samplers and datasets.

    The generators are those of torch, numpy and Python, and those that loaders, samplers and datasets have. What cannot
    be copied: attributes of more than 1,000 elements, which are taken for data; other objects in attributes; what
    worker processes keep.

    Args:
        trainer: in training, with its loaders.
    """
    return keep_all([*(keep_attributes(part, most=_OF_DATA) for part in data_parts(trainer)), _keep_random()])


def data_parts(trainer: Trainer) -> Iterator[object]:
    """The datamodule, and every training loader with its samplers and the datasets within its dataset, each once."""
    combined = trainer.fit_loop._combined_loader
    coming: list[Any] = list(combined.flattened) if combined is not None else []
    coming.append(trainer.datamodule)  # type: ignore[attr-defined]  # set from outside the class
    seen: dict[int, Any] = {}
    while coming:
        part = coming.pop()
        if part is None or id(part) in seen:
            continue
        seen[id(part)] = part
        yield part
        coming += [getattr(part, name, None) for name in _PARTS_OF_LOADERS]
        for value in list(getattr(part, "__dict__", {}).values()):
            several = value if isinstance(value, list | tuple) and len(value) <= _OF_DATA else [value]
            coming += [each for each in several if isinstance(each, DataLoader | Dataset | Sampler)]


def _keep_module(module: nn.Module) -> Restore:
    # a scripted module has something else than dicts, from which no name can go
    owned: list[Any] = [module._parameters, module._buffers, module._modules, module._non_persistent_buffers_set]
    parts = [(part, part.copy()) for part in owned if isinstance(part, dict | set)]
    buffers = [(name, buffer, keep_value(buffer)) for name, buffer in module.named_buffers(recurse=False)]
    weights = [_keep_weight(weight) for weight in module.parameters(recurse=False)]
    attributes = keep_attributes(module, _OF_MODULES)

    def restore() -> None:
        attributes()
        for part, content in parts:
            part.clear()
            part.update(content)
        for name, buffer, give_back in buffers:
            if (kept := give_back()) is not buffer:  # of inference mode, whose content stays as it is
                module._buffers[name] = kept
        for weight in weights:
            weight()

    return restore


def _keep_weight(weight: Tensor) -> Restore:
    content, learnt, gradient = keep_value(weight), weight.requires_grad, keep_value(weight.grad)

    def restore() -> None:
        content()
        if weight.requires_grad != learnt:
            weight.requires_grad_(learnt)
        weight.grad = gradient()

    return restore


def _keep_optimizer(optimizer: Optimizer) -> Restore:
    groups = [(group, _keep_group(group)) for group in optimizer.param_groups]
    states = {weight: copy.deepcopy(state) for weight, state in optimizer.state.items()}
    attributes = keep_attributes(optimizer, _OF_OPTIMIZERS)

    def restore() -> None:
        attributes()
        optimizer.param_groups[:] = [group for group, _ in groups]
        for _, content in groups:
            content()
        optimizer.state.clear()
        optimizer.state.update({weight: copy.deepcopy(state) for weight, state in states.items()})

    return restore


def _keep_group(group: dict[str, Any]) -> Restore:
    """A parameter group's options, and which parameters it has."""
    options = {key: keep_value(value) for key, value in group.items() if key != "params"}
    parameters = list(group["params"])

    def restore() -> None:
        for key in [key for key in group if key not in options and key != "params"]:
            del group[key]
        group.update({key: value() for key, value in options.items()})
        group["params"][:] = parameters

    return restore


def _keep_state(part: Any) -> Restore:
    state = copy.deepcopy(part.state_dict())
    return lambda: part.load_state_dict(copy.deepcopy(state))


def _keep_random() -> Restore:
    """The generators of torch on every device, of numpy and of Python."""
    cpu, python, numpy = torch.get_rng_state(), random.getstate(), np.random.get_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else None
    mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None

    def restore() -> None:
        torch.set_rng_state(cpu)
        random.setstate(python)
        np.random.set_state(numpy)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)
        if mps is not None:
            torch.mps.set_rng_state(mps)

    return restore
