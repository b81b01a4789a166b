"""How much a pickle stands for, found without unpickling it."""

import pickletools
from typing import Any

_CHANGES = ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "BUILD")  # opcodes that put parts into an older object
_NO_OBJECT = (pickletools.markobject, pickletools.stackslice)
_TAKEN = {op.name: sum(part not in _NO_OBJECT for part in op.stack_before) for op in pickletools.opcodes}
"""How many objects each opcode takes from the stack, besides all that follow the last mark."""
_SINCE_MARK = {op.name for op in pickletools.opcodes if pickletools.stackslice in op.stack_before}


def unfolded_size(pickled: bytes) -> int:
    """How many objects there are in a pickle, with every part counted as often as something refers to it.

    A hundred bytes can stand for 2**40 of them, as a list that holds another list twice, which holds another one twice,
    and so on. Whatever goes through all of them, such as `hash` or `repr`, would not come to an end.

    Raises:
        Exception: of some kind, where the pickle is damaged or nested more deeply than Python's own limit.
    """
    stack: list[Any] = []  # each object by the list of its parts
    marks: list[int] = []
    memo: dict[Any, Any] = {}
    for opcode, argument, _ in pickletools.genops(pickled):
        name = opcode.name
        if name.endswith("PUT"):
            memo[argument] = stack[-1]
        elif name.endswith("GET"):
            stack.append(memo[argument])
        elif name == "MARK":
            marks.append(len(stack))
        elif not opcode.stack_before:
            stack.append([] if name.startswith("EMPTY") else ())  # numbers and texts have no parts
        else:
            first = (marks.pop() if name in _SINCE_MARK else len(stack)) - _TAKEN[name]
            parts = stack[first:]
            del stack[first:]
            if name == "STOP":
                return _size(parts, {})
            if name in _CHANGES:
                parts[0].extend(parts[1:])
                stack.append(parts[0])
            elif opcode.stack_after:
                stack.append(parts)
    raise EOFError


def _size(parts: list[Any], known: dict[int, int]) -> int:
    if id(parts) not in known:
        known[id(parts)] = 1  # of a list within itself
        known[id(parts)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(parts)]
