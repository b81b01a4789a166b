"""Regular expressions as trees."""

import re

_ATOM = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]|\\[dDsSwW]|\\[\W_]|[^\\()\[\]|*+?{}]")
_GROUP = re.compile(r"\((?:\?:|\?P<\w+>)?(?!\?)")
_REPEAT = re.compile(r"(?:([*+?])|\{(\d*)(,?)(\d*)\})\??(?!\+)")

Reads = frozenset[int] | str
"""What an edge of the nondeterministic automaton reads: one of some ids, or nothing: "" anywhere, "^" only at the
beginning of a name, "$" only at its end."""
Node = Reads | list[list[tuple["Node", int, int | None]]]
"""Alternatives, each a sequence of parts with how often they occur, at least and at most."""


class NotSupportedError(Exception):
    """The expression has something that is decided by a search alone, such as a look-behind, or it is too large."""


def parse(pattern: str, alphabet: str) -> Node:
    """The tree of a correct regular expression.

    Args:
        pattern: the expression.
        alphabet: the letters that it reads, in the order of their ids, which begin with 1.

    Raises:
        NotSupportedError: it has other parts than characters, classes, groups, |, ^, $ and repetitions.
    """
    parser = _Parser(pattern, alphabet)
    node = parser.alternatives()
    if parser.rest:
        raise NotSupportedError
    return node


class _Parser:
    """Reads a regular expression from left to right."""

    def __init__(self, pattern: str, alphabet: str) -> None:
        self.rest = pattern
        self.alphabet = alphabet

    def alternatives(self) -> Node:
        """The expression up to its end, or to a closing parenthesis."""
        sequences: list[list[tuple[Node, int, int | None]]] = [[]]
        while self.rest and self.rest[0] != ")":
            if self.rest[0] == "|":
                self.rest = self.rest[1:]
                sequences.append([])
            else:
                sequences[-1].append((self._part(), *self._times()))
        return sequences

    def _take(self, expression: re.Pattern[str]) -> re.Match[str] | None:
        found = expression.match(self.rest)
        self.rest = self.rest[found.end() :] if found else self.rest
        return found

    def _part(self) -> Node:
        if self._take(_GROUP):
            group = self.alternatives()
            self.rest = self.rest.removeprefix(")")
            return group
        atom = self._take(_ATOM)
        if not atom:
            raise NotSupportedError
        one = re.compile(atom[0])  # `re` itself says which letters a class has
        return atom[0] if atom[0] in "^$" else frozenset(i for i, ch in enumerate(self.alphabet, 1) if one.match(ch))

    def _times(self) -> tuple[int, int | None]:
        times = self._take(_REPEAT)
        if not times:
            return 1, 1
        if times[1]:
            return int(times[1] == "+"), 1 if times[1] == "?" else None
        least = int(times[2] or 0)
        return least, (int(times[4]) if times[4] else None) if times[3] else least
