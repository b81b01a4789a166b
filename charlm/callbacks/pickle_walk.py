"""What a checkpoint's pickle would make, found out without making any of it. Needs nothing but Python."""

import pickletools
from collections.abc import Callable
from typing import Any

_LEAVES = {"NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"}
_LEAVES |= {"SHORT_BINSTRING"}
_EMPTY = {"EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_INTO = {"APPEND": 1, "BUILD": 1, "SETITEM": 2, "APPENDS": 0, "SETITEMS": 0}
_OWN = {"torch", "collections", "_codecs", "builtins", "__builtin__"}  # a user's own classes are left to torch
_CALLED = {"collections.OrderedDict", "collections.Counter", "torch.Size", "torch.device"}
_CALLED |= {"torch.serialization._get_layout", "torch._tensor._rebuild_from_type_v2"}
_CALLED |= {f"{module}.{name}" for module in ("builtins", "__builtin__") for name in ("set", "complex", "bytearray")}
_CALLED |= {"_codecs.encode"}
_BYTES = {"Double": 8, "Float": 4, "Half": 2, "BFloat16": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1}
_BYTES |= {"Bool": 1, "ComplexFloat": 8, "ComplexDouble": 16, "QInt8": 1, "QUInt8": 1, "QInt32": 4, "QUInt4x2": 1}
_BYTES |= {"Untyped": 1}

_DEEPEST = 100
_OFTEN = 10  # the same list, dict or tuple may be part of several others
_MORE = "it holds more than tensors and plain values"


class _Name(str):
    """A class or function, as the file names it."""


class _Box(list[Any]):
    """The parts of a list, dict, tuple, call or tensor."""


def check_pickle(data: bytes, size_of: Callable[[str], int]) -> None:
    """Refuse a pickle that holds more than a checkpoint does: calls, sizes, depth.

    Args:
        data: the pickle.
        size_of: bytes of the storage of this name in the file; -1: there is none.

    Raises:
        RefusedError: what it is that is more.
    """
    walk = _Walk(size_of)
    operations = 0
    try:
        for operation, given, _ in pickletools.genops(data):
            walk.follow(operation.name, given)
            operations += 1
    except RefusedError:
        raise
    except Exception:  # what a foreign file can do to a reader is without end
        raise RefusedError("its list of contents cannot be read") from None
    measured: dict[int, tuple[int, int]] = {}
    for box in walk.boxes:
        _measure(box, 1000 + _OFTEN * operations, measured)


class RefusedError(ValueError):
    """Why not, and the part of the pickle that it is about if there is one."""

    def __init__(self, reason: str, part: str = "") -> None:
        super().__init__(reason)
        self.part = f" ({part})" if part else ""


class _Walk:
    """The state of a reader of pickles, without the objects: what is on the stack, and which parts a box has."""

    def __init__(self, size_of: Callable[[str], int]) -> None:
        self.size_of = size_of
        self.boxes: list[_Box] = []
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[Any, Any] = {}

    def follow(self, name: str, given: Any) -> None:
        """One operation, by its name in pickletools."""
        if name in _LEAVES:
            self.stack.append(given)
        elif name in _EMPTY:
            self._push_box([])
        elif name == "GLOBAL":
            self.stack.append(_Name(str(given).replace(" ", ".", 1)))
        elif name in ("BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[given])
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[given] = self.stack[-1]
        elif name == "MARK":
            self.marks.append(self.stack)
            self.stack = []
        elif name == "TUPLE" or name in _TUPLES:
            self._push_box(self._since_mark() if name == "TUPLE" else self._pop(_TUPLES[name]))
        elif name in _INTO:
            _fill(self._since_mark() if name.endswith("S") else self._pop(_INTO[name]), self.stack)
        elif name in ("REDUCE", "NEWOBJ"):
            called, arguments = self._pop(2)
            _check_call(called, arguments)
            self._push_box([called, arguments])
        elif name == "BINPERSID":
            _check_storage(self.stack[-1], self.size_of)
            self._push_box(self._pop(1))
        elif name not in ("PROTO", "STOP"):
            raise RefusedError(_MORE, name)

    def _push_box(self, parts: list[Any]) -> None:
        self.boxes.append(_Box(parts))
        self.stack.append(self.boxes[-1])

    def _pop(self, count: int) -> list[Any]:
        return [self.stack.pop() for _ in range(count)][::-1]

    def _since_mark(self) -> list[Any]:
        parts, self.stack = self.stack, self.marks.pop()
        return parts


def _fill(parts: list[Any], stack: list[Any]) -> None:
    if not isinstance(stack[-1], _Box):
        raise RefusedError(_MORE, "a state that changes a class")
    stack[-1].extend(parts)


def _check_call(called: Any, arguments: Any) -> None:
    """What torch lets a file call could ask for any memory: a billion zeros, or a text encoded again and again."""
    if not isinstance(called, _Name) or not isinstance(arguments, _Box):
        raise RefusedError(_MORE, "a call")
    known = called in _CALLED or called.startswith("torch._utils._rebuild_")
    if called.partition(".")[0] in _OWN and not known:
        raise RefusedError(_MORE, f"{called!a:.80}")
    plain, short = True, called.rpartition(".")[2]  # the module may go by an old name
    if short in ("encode", "bytearray") and arguments:  # bytes are written as texts
        plain = type(arguments[0]) is str and arguments[1:] in (["latin1"], ["latin-1"])
        plain |= short == "bytearray" and isinstance(arguments[0], _Box)  # which are bytes
    elif short == "_rebuild_from_type_v2":
        plain = str(arguments[0]).startswith("torch._utils._rebuild_")
    if not plain:
        raise RefusedError(_MORE, f"a call of {called!a:.80}")


def _check_storage(named: Any, size_of: Callable[[str], int]) -> None:
    """The values of tensors: as many as the file has."""
    _, kind, key, _, count = named
    width = _BYTES.get(kind.rpartition(".")[2].removesuffix("Storage"), 1)
    if type(count) is not int or count < 0 or count * width > max(size_of(str(key)), 0):
        raise RefusedError("it has fewer values than it says")


def _measure(box: _Box, most: int, measured: dict[int, tuple[int, int]], depth: int = 1) -> tuple[int, int]:
    """How many parts one meets who goes through all, each as often as it is part of another one; and how deep."""
    known = measured.get(id(box))
    if known is not None:
        return known
    inside = [_measure(part, most, measured, depth + 1) for part in box if isinstance(part, _Box) and depth <= _DEEPEST]
    parts, deep = 1 + len(box) + sum(size for size, _ in inside), 1 + max((below for _, below in inside), default=0)
    if parts > most or depth > _DEEPEST or deep > _DEEPEST:  # a box within itself is one of these
        raise RefusedError("its values are nested without end")
    measured[id(box)] = parts, deep
    return parts, deep
