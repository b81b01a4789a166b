"""A snapshot restores a training: the same objects with their old content."""

from collections import defaultdict, deque
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch.demos.boring_classes import BoringModel
from torch import nn

from charlm.callbacks.lr_finder.restore import Attributes, Snapshots, copied, restored
from charlm.callbacks.lr_finder.snapshot import training_snapshot


class Thing:
    """Any object that has attributes."""

    def __init__(self, **values):
        vars(self).update(values)


CHANGES = {  # a value, and how something changes it in place
    "tensor": (lambda: torch.arange(3.0), lambda t: t.add_(1)),
    "a tensor's shape": (lambda: torch.arange(3.0), lambda t: setattr(t, "data", torch.ones(5))),
    "a tensor's type": (lambda: torch.arange(3.0), lambda t: setattr(t, "data", t.double() + 1)),
    "expanded tensor": (lambda: torch.arange(3.0)[:, None].expand(3, 2), lambda t: t[:, 0].add_(1)),
    "array": (lambda: np.arange(3), lambda a: a.__setitem__(0, 7)),
    "list in a list": (lambda: [[1], [2]], lambda v: v[0].append(3)),
    "dict": (lambda: {"a": [1]}, lambda v: v.update(b=2, a=3)),
    "default dict": (lambda: defaultdict(list, a=[1]), lambda v: v["b"].append(2)),
    "set": (lambda: {1, 2}, lambda v: v.add(3)),
    "deque": (lambda: deque([1, 2], maxlen=2), lambda v: v.append(3)),
    "tuple of lists": (lambda: ([1], 2), lambda v: v[0].append(3)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_value_is_restored_in_place(name):
    make, change = CHANGES[name]
    value, before = make(), make()
    content = copied(value)
    for _ in range(2):
        change(value)
        assert repr(value) != repr(before)
        assert restored(value, content) is value
        assert repr(value) == repr(before)


def test_objects_that_are_not_plain_are_put_back_without_their_old_content_and_new_attributes_deleted():
    inner, function, several = SimpleNamespace(calls=0), print, ({1: [object()]},)
    thing = Thing(inner=inner, function=function, several=several, plain={"a": [1]}, left=1)
    snapshot = Attributes(thing, leave_out={"left"})
    inner.calls, thing.inner, thing.function, thing.several, thing.left, thing.fresh = 1, None, None, None, 2, object()
    thing.plain["a"].append(2)
    snapshot.restore()
    expected = {"inner": inner, "function": function, "several": several, "plain": {"a": [1]}, "left": 2}
    assert vars(thing) == expected
    assert inner.calls == 1


def test_large_attributes_are_not_copied():
    thing = Thing(numbers=list(range(1001)), few=list(range(1000)), table={"a": torch.zeros(11, 100)})
    snapshot = Attributes(thing, most=1000)
    for value in (thing.numbers, thing.few):
        value[0] = 7
    thing.table["a"][0] = 7
    snapshot.restore()
    assert (thing.numbers[0], thing.few[0], thing.table["a"][0, 0].item()) == (7, 0, 7)


def test_one_failure_does_not_stop_the_others_from_being_restored():
    done = []
    restores = [lambda: done.append(1), lambda: 1 / 0, lambda: {}["no"], lambda: done.append(2)]
    with pytest.raises(ZeroDivisionError):
        Snapshots(SimpleNamespace(restore=restore) for restore in restores).restore()
    assert done == [1, 2]


def attached(model, trainer, optimizers=()):
    """A trainer as it is when a training begins."""
    fits = trainer(max_epochs=1)
    fits.strategy.connect(model)
    model.trainer = fits
    fits.strategy.optimizers = list(optimizers)
    return fits


class Tied(BoringModel):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.register_buffer("seen", torch.zeros(2))
        self.register_buffer("hidden", torch.zeros(2), persistent=False)
        self.register_buffer("none", None)
        self.norm = nn.BatchNorm1d(3)
        self.lstm = nn.LSTM(3, 2)


def tensors(model):
    """Every parameter and buffer by name: the object, its values, and what belongs to its gradient."""
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers()]
    return {name: (id(tensor), tensor.tolist(), tensor.requires_grad, tensor.grad) for name, tensor in named}


def test_weights_and_buffers_of_every_kind_are_restored(trainer):
    model = Tied()
    before, flat = tensors(model), [id(weight) for weight in model.lstm._flat_weights]
    snapshot = training_snapshot(attached(model, trainer), model)
    for _ in range(2):
        for weight in model.parameters():
            weight.data.add_(1)
            weight.grad = torch.ones_like(weight)
        model.first.bias.requires_grad_(False)
        model.second.weight = nn.Parameter(torch.zeros(3, 3))  # no longer tied
        model.seen = model.seen + 1  # another tensor
        model.hidden.add_(1)
        model.none = torch.ones(1)
        model.register_buffer("fresh", torch.ones(1), persistent=False)
        model.late = nn.Linear(1, 1)
        model.norm(torch.randn(4, 3))
        model.norm.eval()
        del model.lstm
        snapshot.restore()
        assert tensors(model) == before
        assert [id(weight) for weight in model.lstm._flat_weights] == flat
        assert model.norm.training
        assert set(model.state_dict()) == set(Tied().state_dict())


def test_tensors_of_inference_mode_are_replaced_by_copies(trainer):
    model = BoringModel()
    with torch.inference_mode():
        model.register_buffer("statistics", torch.zeros(2))
        model.attribute = torch.zeros(2)
    snapshot = training_snapshot(attached(model, trainer), model)
    with torch.inference_mode():
        model.statistics.add_(1)
        model.attribute.add_(1)
    snapshot.restore()
    assert dict(model.named_buffers())["statistics"].tolist() == model.attribute.tolist() == [0, 0]


@pytest.mark.parametrize("begun", [False, True])
def test_a_restored_optimizer_takes_the_same_step_again(begun, trainer):
    """One of its weights is outside the module."""
    torch.manual_seed(0)
    model, outside, x = BoringModel(), nn.Parameter(torch.ones(2)), torch.randn(5, 32)
    weights = [*model.parameters(), outside]
    optimizer = torch.optim.AdamW(weights, lr=torch.tensor(0.1), amsgrad=True)

    def step():
        optimizer.zero_grad()
        (model(x) * outside).square().sum().backward()
        optimizer.step()

    def state():
        gradients = [None if weight.grad is None else weight.grad.tolist() for weight in weights]
        return str(optimizer.state_dict()), [weight.tolist() for weight in weights], gradients

    if begun:
        step()
    snapshot, before = training_snapshot(attached(model, trainer, [optimizer]), model), state()
    step()
    after, rate = state(), optimizer.param_groups[0]["lr"]
    for _ in range(2):
        optimizer.param_groups[0] |= {"lr": 7.0, "more": 1}
        optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))]})
        snapshot.restore()
        assert state() == before
        assert optimizer.param_groups[0]["lr"] is rate
        step()
        assert state() == after
