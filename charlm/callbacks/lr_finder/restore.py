"""Values and plain attributes of objects, copied and given back as they were."""

import copy
import math
import random
from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

_ATOMS = (type(None), bool, int, float, complex, str, bytes, np.generic)
_RANDOM = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)

Restore = Callable[[], None]


def keep_attributes(owner: object, leave_out: Collection[str] = (), most: float = math.inf) -> Restore:
    """Copy an object's plain attributes.

    Plain are numbers, strings, tensors, arrays, random generators, and lists, dicts, sets, tuples and deques of those.

    Args:
        owner: anything; without a `__dict__` it has nothing to keep.
        leave_out: names to leave alone.
        most: elements of a tensor, an array or a list up to which it is copied.

    Returns:
        What gives them back, each the object that it was, with the content that it had; called as often as wanted.
        Other attributes get the object that they had, as it is by then; attributes that have come since are deleted.
    """
    attributes = getattr(owner, "__dict__", {})
    kept = {
        name: keep_value(value) if is_plain(value, most) else _same(value)
        for name, value in attributes.items()
        if name not in leave_out
    }

    def restore() -> None:
        for name in [name for name in attributes if name not in kept and name not in leave_out]:
            del attributes[name]
        for name, value in kept.items():
            attributes[name] = value()

    return restore


def is_plain(value: Any, most: float = math.inf) -> bool:
    """Whether a value consists of nothing but what can be copied, and of no more than `most` elements at a place."""
    if isinstance(value, dict | list | set | frozenset | tuple | deque):
        if len(value) > most:
            return False
        parts = [*value.keys(), *value.values()] if isinstance(value, dict) else value
        return all(is_plain(part, most) for part in parts)
    if isinstance(value, Tensor | np.ndarray):
        return math.prod(value.shape) <= most
    return isinstance(value, (*_ATOMS, *_RANDOM))


def keep_value(value: Any) -> Callable[[], Any]:
    """Copy a plain value; what is returned gives back the very object, with the content that it had."""
    if isinstance(value, Tensor):
        return _keep_tensor(value)
    if isinstance(value, torch.Generator | np.random.RandomState):
        state = value.get_state()
        return _keep_state(value, state.clone() if isinstance(state, Tensor) else state, value.set_state)
    if isinstance(value, np.random.Generator):
        bits = value.bit_generator
        return _keep_state(value, copy.deepcopy(bits.state), lambda state: setattr(bits, "state", state))
    if isinstance(value, random.Random):
        return _keep_state(value, value.getstate(), value.setstate)
    if isinstance(value, np.ndarray):
        return _keep_array(value)
    if isinstance(value, dict):
        return _keep_dict(value)
    if isinstance(value, list | deque | set):
        return _keep_items(value)
    if isinstance(value, tuple):
        return _keep_tuple(value)
    return _same(value)  # it cannot change


def _same(value: Any) -> Callable[[], Any]:
    return lambda: value


def _keep_state(owner: Any, state: Any, give_back: Callable[[Any], Any]) -> Callable[[], Any]:
    def restore() -> Any:
        give_back(state)
        return owner

    return restore


def _keep_tensor(tensor: Tensor) -> Callable[[], Tensor]:
    content = tensor.detach().clone()
    # the elements of an expanded tensor share memory, into which torch copies nothing
    shared = any(stride == 0 and size > 1 for stride, size in zip(tensor.stride(), tensor.shape, strict=True))

    def restore() -> Tensor:
        if tensor.is_inference():
            return content.clone()  # its content cannot be changed outside of inference mode
        like = (tensor.shape, tensor.dtype, tensor.device) == (content.shape, content.dtype, content.device)
        with torch.no_grad():
            if shared or not like:
                tensor.data = content.clone()
            else:
                tensor.copy_(content)
        return tensor

    return restore


def _keep_array(array: np.ndarray) -> Callable[[], np.ndarray]:
    content = array.copy()

    def restore() -> np.ndarray:
        if array.shape != content.shape or not array.flags.writeable:
            return content.copy()
        array[...] = content
        return array

    return restore


def _keep_dict(owner: dict[Any, Any]) -> Callable[[], dict[Any, Any]]:
    content = {key: keep_value(value) for key, value in owner.items()}

    def restore() -> dict[Any, Any]:
        values = {key: value() for key, value in content.items()}
        owner.clear()
        owner.update(values)
        return owner

    return restore


def _keep_items(owner: Any) -> Callable[[], Any]:
    content = [keep_value(value) for value in owner]

    def restore() -> Any:
        values = [value() for value in content]
        owner.clear()
        (owner.update if isinstance(owner, set) else owner.extend)(values)
        return owner

    return restore


def _keep_tuple(owner: tuple[Any, ...]) -> Callable[[], tuple[Any, ...]]:
    content = [keep_value(value) for value in owner]

    def restore() -> tuple[Any, ...]:
        for value in content:
            value()  # in place: a tuple itself cannot change
        return owner

    return restore


def keep_all(restores: Iterable[Restore]) -> Restore:
    """One function for many; where some fail, the others are done all the same, and the first failure is raised."""
    kept = list(restores)

    def restore() -> None:
        failures = []
        for each in kept:
            try:
                each()
            except Exception as error:
                failures.append(error)
        if failures:
            raise failures[0]

    return restore
