"""A copy in memory of everything that training steps change, to be restored after steps that should not count."""

import copy
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset, Sampler

from charlm.callbacks.internals.lightning import LightningModule, Trainer
from charlm.callbacks.internals.loaders import train_loaders
from charlm.callbacks.internals.module_parts import part_names
from charlm.callbacks.internals.trainer_attributes import datamodule_of
from charlm.callbacks.lr_finder.restore import Attributes, Snapshots, copied, restored

_OF_MODULES = set(vars(nn.Module())) - {"training"}  # torch's own attributes, which hold parts and hooks
_OF_OPTIMIZERS = {"state", "param_groups", "defaults"}
_OF_DATA = 1000  # larger attributes of a dataset are taken for its data, which steps do not change
_PARTS_OF_LOADERS = ("sampler", "batch_sampler", "dataset", "collate_fn")


def training_snapshot(trainer: Trainer, pl_module: LightningModule) -> Snapshots:
    """Copy what training steps change in the model and in the trainer.

    These are weights, buffers (also those that are not in the state_dict), gradients, plain attributes of the module
    and of its parts, optimizers, schedulers, the gradient scaler and Lightning's counters. The copy takes as much
    memory as weights and optimizer states. The inside of other objects in attributes (an open file, a replay buffer
    with a class of its own) is not copied, nor is anything outside the process.

    Args:
        trainer: in training, with its optimizers.
        pl_module: the module that it trains.
    """
    loop = trainer.fit_loop.epoch_loop
    stateful: list[Any] = [
        loop.batch_progress,
        loop.automatic_optimization.optim_progress,
        loop.manual_optimization.optim_step_progress,
        trainer.precision_plugin,
        *(config.scheduler for config in trainer.lr_scheduler_configs),
    ]
    in_module = {id(parameter) for parameter in pl_module.parameters()}
    groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
    others = [weight for group in groups for weight in group["params"] if id(weight) not in in_module]
    return Snapshots(
        [
            *(_Module(module) for module in pl_module.modules()),
            *(_Weight(weight) for weight in others),
            *(_Optimizer(optimizer) for optimizer in trainer.optimizers),
            *(_StateDict(part) for part in stateful),
        ]
    )


def data_snapshot(trainer: Trainer) -> Snapshots:
    """Copy the random generators, and the positions of loaders, samplers and datasets.

    The generators are the global ones of torch, numpy and Python, and those that loaders, samplers and datasets own.
    Attributes with more than 1,000 elements, objects that are not plain and the state of worker processes are not
    copied.

    Args:
        trainer: in training, with its loaders.
    """
    return Snapshots([*(Attributes(part, most=_OF_DATA) for part in data_parts(trainer)), _RandomStates()])


def data_parts(trainer: Trainer) -> Iterator[object]:
    """The datamodule, and every loader of the training with its samplers and all datasets inside its dataset, once."""
    coming: list[Any] = [*train_loaders(trainer), *train_loaders(trainer, validation=True)]
    coming.append(datamodule_of(trainer))
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


class _Module:
    """One module without those inside it."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.names = [(names, names.copy()) for names in part_names(module)]
        self.buffers = [(name, buffer, copied(buffer)) for name, buffer in module.named_buffers(recurse=False)]
        self.weights = [_Weight(weight) for weight in module.parameters(recurse=False)]
        self.attributes = Attributes(module, _OF_MODULES)

    def restore(self) -> None:
        self.attributes.restore()
        for part, content in self.names:
            part.clear()
            part.update(content)
        for name, buffer, content in self.buffers:
            if (back := restored(buffer, content)) is not buffer:  # a tensor of inference mode, which cannot change
                setattr(self.module, name, back)
        for weight in self.weights:
            weight.restore()


class _Weight:
    def __init__(self, weight: Tensor) -> None:
        self.weight, self.content, self.requires_grad = weight, copied(weight), weight.requires_grad
        self.gradient, self.gradient_content = weight.grad, copied(weight.grad)

    def restore(self) -> None:
        restored(self.weight, self.content)
        if self.weight.requires_grad != self.requires_grad:
            self.weight.requires_grad_(self.requires_grad)
        self.weight.grad = restored(self.gradient, self.gradient_content)


class _Optimizer:
    """Its parameter groups with their options, and the state of each weight, but not the weights themselves."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.groups = [
            (group, list(group["params"]), copied({key: value for key, value in group.items() if key != "params"}))
            for group in optimizer.param_groups
        ]
        self.states = {weight: copy.deepcopy(state) for weight, state in optimizer.state.items()}
        self.attributes = Attributes(optimizer, _OF_OPTIMIZERS)

    def restore(self) -> None:
        self.attributes.restore()
        self.optimizer.param_groups[:] = [group for group, _, _ in self.groups]
        for group, weights, options in self.groups:
            of_group = group["params"]
            of_group[:] = weights
            group.clear()
            group.update(params=of_group, **restored({}, options))
        self.optimizer.state.clear()
        self.optimizer.state.update({weight: copy.deepcopy(state) for weight, state in self.states.items()})


class _StateDict:
    """Any object that can save and load its state."""

    def __init__(self, owner: Any) -> None:
        self.owner, self.state = owner, copy.deepcopy(owner.state_dict())

    def restore(self) -> None:
        self.owner.load_state_dict(copy.deepcopy(self.state))


class _RandomStates:
    """The global generators of torch on every device, of numpy and of Python."""

    def __init__(self) -> None:
        self.cpu, self.numpy, self.python = torch.get_rng_state(), np.random.get_state(), random.getstate()
        on_cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
        self.cuda = torch.cuda.get_rng_state_all() if on_cuda else None
        self.mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None

    def restore(self) -> None:
        torch.set_rng_state(self.cpu)
        np.random.set_state(self.numpy)
        random.setstate(self.python)
        if self.cuda is not None:
            torch.cuda.set_rng_state_all(self.cuda)
        if self.mps is not None:
            torch.mps.set_rng_state(self.mps)
