"""Copy plain values and the plain attributes of objects, and restore them: the same objects with their old content."""

import math
import random
from collections import deque
from collections.abc import Collection, Iterable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

_CONSTANTS = (type(None), bool, int, float, complex, str, bytes, np.generic)
_GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
_CONTAINERS = (dict, list, set, frozenset, tuple, deque)


class Snapshot(Protocol):
    """A copy of some state."""

    def restore(self) -> None:
        """Restore the state; can be called again."""


class Snapshots:
    """Many snapshots as one: if some fail to restore, the others are still restored, and the first error is raised.

    Args:
        parts: are restored in this order.
    """

    def __init__(self, parts: Iterable[Snapshot]) -> None:
        self.parts = list(parts)

    def restore(self) -> None:
        errors = []
        for part in self.parts:
            try:
                part.restore()
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]


class Attributes:
    """A snapshot of an object's attributes.

    Plain attributes are restored with their content: numbers, strings, tensors, arrays, random generators, and lists,
    dicts, sets, tuples and deques of those. Any other attribute gets its old object back, whose inside may have
    changed. Attributes that are new since the snapshot are deleted.

    Args:
        owner: any object; one without a `__dict__` has nothing to copy.
        leave_out: names of attributes to leave alone.
        most: tensors, arrays and containers with more elements than this are not copied.
    """

    def __init__(self, owner: object, leave_out: Collection[str] = (), most: float = math.inf) -> None:
        self._attributes: dict[str, Any] = getattr(owner, "__dict__", {})
        self._leave_out = set(leave_out)
        self._values = {name: value for name, value in self._attributes.items() if name not in self._leave_out}
        self._contents = {name: copied(value) for name, value in self._values.items() if is_copyable(value, most)}

    def restore(self) -> None:
        for name in self._attributes.keys() - self._values.keys() - self._leave_out:
            del self._attributes[name]
        for name, value in self._values.items():
            plain = name in self._contents
            self._attributes[name] = restored(value, self._contents[name]) if plain else value


def is_copyable(value: Any, most: float = math.inf) -> bool:
    """Whether a value is plain through and through, and no tensor, array or container has more than `most` elements."""
    if isinstance(value, _CONTAINERS):
        parts = [*value.keys(), *value.values()] if isinstance(value, dict) else value
        return len(value) <= most and all(is_copyable(part, most) for part in parts)
    if isinstance(value, Tensor | np.ndarray):
        return math.prod(value.shape) <= most
    return isinstance(value, (*_CONSTANTS, *_GENERATORS))


def copied(value: Any) -> Any:
    """Copy the content of a plain value for `restored`; None if the value cannot change."""
    match value:
        case Tensor():
            return value.detach().clone()
        case np.ndarray():
            return value.copy()
        case torch.Generator() | np.random.RandomState():
            return value.get_state()
        case np.random.Generator():
            return value.bit_generator.state
        case random.Random():
            return value.getstate()
        case dict():
            return {key: (part, copied(part)) for key, part in value.items()}
        case list() | deque() | set() | tuple():
            return [(part, copied(part)) for part in value]
    return None


def restored(value: Any, content: Any) -> Any:
    """Restore the content of a value in place and return the value; where that is not possible, return a copy.

    Args:
        value: a plain value, which may have changed.
        content: what `copied` returned for it.
    """
    match value:
        case Tensor():
            return _restored_tensor(value, content)
        case np.ndarray():
            if value.shape != content.shape or not value.flags.writeable:
                return content.copy()
            value[...] = content
        case torch.Generator() | np.random.RandomState():
            value.set_state(content)
        case np.random.Generator():
            value.bit_generator.state = content
        case random.Random():
            value.setstate(content)
        case dict():
            items = {key: restored(*part) for key, part in content.items()}
            value.clear()
            value.update(items)
        case list() | deque() | set():
            parts = [restored(*part) for part in content]
            value.clear()
            (value.update if isinstance(value, set) else value.extend)(parts)
        case tuple():
            for part in content:
                restored(*part)
    return value


def _restored_tensor(tensor: Tensor, content: Tensor) -> Tensor:
    if tensor.is_inference():  # torch allows no change outside of inference mode
        return content.clone()
    # the elements of an expanded tensor share memory, and torch refuses to copy into it
    expanded = any(stride == 0 and size > 1 for stride, size in zip(tensor.stride(), tensor.shape, strict=True))
    alike = (tensor.shape, tensor.dtype, tensor.device) == (content.shape, content.dtype, content.device)
    with torch.no_grad():
        if expanded or not alike:
            tensor.data = content.clone()
        else:
            tensor.copy_(content)
    return tensor
