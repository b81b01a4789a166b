"""Conditions that drawn names have to meet."""

import re
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Conditions:
    """Conditions that every drawn name must meet, all of them together.

    Args:
        prefix: the beginning of the name.
        suffix: the end of the name.
        contains: a part of the name.
        match: a regular expression of Python's `re` that is found in the name; ^ is its beginning and $ its end.
        min_length: the fewest characters of the name, >= 1.
        max_length: the most characters of the name; None: any number.

    Raises:
        ValueError: `match` is no regular expression, or no name can be so long.
    """

    prefix: str = ""
    suffix: str = ""
    contains: str = ""
    match: str = ""
    min_length: int = 1
    max_length: int | None = None

    def __post_init__(self) -> None:
        try:
            re.compile(self.match)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"match is {self.match!r}, which is no regular expression: {error}") from None
        if self.min_length < 1 or (self.max_length is not None and self.max_length < self.min_length):
            raise ValueError(
                f"min_length is {self.min_length} and `max_length` is {self.max_length}; they must be at least 1, and"
                " `max_length` not below `min_length`"
            )
        if self.max_length is not None and self.max_length < len(self.prefix):
            raise ValueError(
                f"max_length is {self.max_length}, and the prefix {self.prefix!r} has {len(self.prefix)} characters;"
                " `max_length` counts them too"
            )

    @property
    def restrict(self) -> bool:
        """Whether there are conditions besides the prefix, with which every draw begins anyway."""
        return self != Conditions(self.prefix)

    @cached_property
    def patterns(self) -> list[str]:
        """Suffix, contains and match as regular expressions."""
        parts = (f"{re.escape(self.suffix)}$", re.escape(self.contains), self.match)
        return [part for part in parts if part not in ("$", "")]

    def are_met(self, name: str) -> bool:
        """Whether a name meets all conditions.

        Example:
            >>> Conditions(suffix="a", match="^[aeiou]", max_length=5).are_met("emma")
            True
        """
        is_short = self.max_length is None or len(name) <= self.max_length
        is_long = len(name) >= self.min_length
        return is_short and is_long and name.startswith(self.prefix) and all(re.search(p, name) for p in self.patterns)

    def __str__(self) -> str:
        """As a user would give them, such as "`suffix` 'lyn', `max_length` 8"; "" if there are none."""
        given = {"prefix": self.prefix, "suffix": self.suffix, "contains": self.contains, "match": self.match}
        words = [f"`{name}` {text!r}" for name, text in given.items() if text]
        words += [f"`min_length` {self.min_length}"] if self.min_length > 1 else []
        words += [f"`max_length` {self.max_length}"] if self.max_length is not None else []
        return ", ".join(words)
