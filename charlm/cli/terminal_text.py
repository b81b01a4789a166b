"""Text as users type it and as terminals show it."""

import shutil
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import Any

from charlm.data.lowercase import lower
from charlm.messages import shortened, visible

_COMBINING = ("Mn", "Mc", "Me")
_WITHOUT_CELL = ("Mn", "Me", "Cf")  # but a spacing mark (Mc) takes a cell


@contextmanager
def visible_output() -> Iterator[None]:
    """Escape control characters in everything printed inside the block; not for progress bars, which need them."""
    with ExitStack() as both:
        for redirect, stream in ((redirect_stdout, sys.stdout), (redirect_stderr, sys.stderr)):
            if stream is not None:  # as in a windowed program
                both.enter_context(redirect(_Visible(stream)))
        yield


class _Visible:
    """A text stream that escapes control characters."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(visible(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def terminal_width() -> int:
    """Columns of the terminal, at least 40; 80 where there is none, as in a pipe."""
    return max(40, shutil.get_terminal_size().columns)


def is_combining(ch: str) -> bool:
    """Whether a character is drawn onto the previous one, as an accent or a vowel sign."""
    return unicodedata.category(ch) in _COMBINING


def cut(text: str, width: int) -> str:
    """The text, or as much of its beginning as fits into so many cells with ".." after it."""
    if display_width(text) <= width:
        return text
    while display_width(text) > width - 2:
        text = text[:-1]
    return f"{text}.."


def display_width(text: str) -> int:
    """The width of a text in terminal cells: two for a wide character, none for a combining mark.

    Example:
        >>> [display_width(name) for name in ("mia", "ミア", "mi" + chr(0x302) + "a")]
        [3, 4, 3]

    Source: Unicode Standard Annex 11, East Asian Width.
    """
    return len(text) if text.isascii() else sum(map(_cells, text))


def padded(text: str, width: int, *, right: bool = False) -> str:
    """A text filled with spaces up to `width` terminal cells, at its end or, with `right`, at its beginning."""
    spaces = " " * (width - display_width(text))
    return spaces + text if right else text + spaces


def cleaned(text: str, *, lowercase: Any) -> str:
    """A text in the form of the names in training: composed (NFC), and in lower case if they were lowercased."""
    return unicodedata.normalize("NFC", lower(text, lowercase))


def check_vocabulary(what: str, texts: Iterable[str], alphabet: str) -> None:
    """Check that all characters of some texts are in a model's alphabet.

    Args:
        what: word for a text in the message, such as "name".
        texts: what `cleaned` returned.
        alphabet: the characters that the model knows.

    Raises:
        ValueError: an out-of-vocabulary character; the message says which and where.
    """
    known = frozenset(alphabet)
    for text in texts:
        at = next((place for place, ch in enumerate(text) if ch not in known), None)
        if at is None:
            continue
        raise ValueError(
            f"{what} {text!r} has {text[at]!r} (U+{ord(text[at]):04X}) at position {at}, outside the alphabet"
            f" {shortened(alphabet)} of the model; correct it, or use a model that was trained on names with it"
        )


def _cells(ch: str) -> int:
    if unicodedata.category(ch) in _WITHOUT_CELL:
        return 0
    return 2 if unicodedata.east_asian_width(ch) in ("W", "F") else 1
