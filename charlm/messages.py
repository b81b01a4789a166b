"""Parts of error messages: suggestions, alphabets, the arguments of a class. Needs no torch."""

import difflib
import inspect
import re
from collections.abc import Iterable, Sequence

_SHOWN = 40  # characters
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def visible(text: str) -> str:
    r"""A text whose control characters are escaped, all but tab and line break, so that a terminal shows them.

    Names of runs and texts in files could otherwise move the cursor, set the title of the window, or change the order
    in which letters are shown.

    Example:
        >>> print(visible(chr(27) + "[2Jmine"))
        \x1b[2Jmine
    """
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def did_you_mean(wanted: str, names: Iterable[str], prefix: str = "") -> str:
    """The end of a message: the most similar of `names`, upper or lower case, or "" if none is similar.

    Args:
        wanted: what the user typed.
        names: the names that exist.
        prefix: put before the name.

    Example:
        >>> did_you_mean("modle", ["model", "data"], prefix="--")
        '. Did you mean --model?'
    """
    by_lower = {name.lower(): name for name in names}
    begun = [name for name in by_lower if wanted and name.startswith(wanted.lower())]
    close = sorted(begun, key=len) or difflib.get_close_matches(wanted.lower(), by_lower, n=1)
    return f". Did you mean {prefix}{by_lower[close[0]]}?" if close else ""


def shortened(alphabet: str) -> str:
    """An alphabet for a message: its first 40 characters, and its length if there are more."""
    return repr(alphabet) if len(alphabet) <= _SHOWN else f"{alphabet[:_SHOWN]!r}... ({len(alphabet)} characters)"


def first_few(texts: Sequence[str], most: int) -> str:
    """Some texts for a message, with "..." in place of those after the first `most`.

    Example:
        >>> first_few(["a", "b", "c"], 2)
        'a, b, ...'
    """
    return ", ".join([*texts[:most], "..."] if len(texts) > most else texts)


def parameters_of(kind: type) -> list[str]:
    """The arguments of a class, including those of the base class to which it passes its `**kwargs`."""
    names: list[str] = []
    for part in (part for part in kind.__mro__ if "__init__" in vars(part)):
        of_part = list(inspect.signature(vars(part)["__init__"]).parameters.values())[1:]
        plain = [p for p in of_part if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        # the subclass passes the base class's required arguments itself
        names += [p.name for p in plain if p.name not in names and (part is kind or p.default is not p.empty)]
        if not any(p.kind == p.VAR_KEYWORD for p in of_part):
            break
    return names
