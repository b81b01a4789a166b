"""Text as a user types it and as a terminal shows it."""

import unicodedata
from collections.abc import Iterable

from charlm.messages import shortened

_MARKS = ("Mn", "Mc", "Me")
_WITHOUT_CELL = ("Mn", "Me", "Cf")  # a spacing mark (Mc) takes a cell of its own


def is_mark(ch: str) -> bool:
    """Whether a character belongs onto the one before it: an accent that is not composed, a vowel sign."""
    return unicodedata.category(ch) in _MARKS


def display_width(text: str) -> int:
    """The cells that a text takes in a terminal: two for a wide character, none for a mark upon another character.

    Example:
        >>> [display_width(name) for name in ("mia", "ミア", "mi" + chr(0x302) + "a")]
        [3, 4, 3]

    Source: Unicode Standard Annex 11, East Asian Width.
    """
    return len(text) if text.isascii() else sum(map(_cells, text))


def padded(text: str, width: int, *, right: bool = False) -> str:
    """A text and spaces up to `width` cells of a terminal; `right`: the spaces before it."""
    spaces = " " * (width - display_width(text))
    return spaces + text if right else text + spaces


def cleaned(text: str, *, lowercase: bool) -> str:
    """A text as those of a names file are: composed (NFC), and in lower case if theirs were turned to it."""
    return unicodedata.normalize("NFC", text.lower() if lowercase else text)


def refuse_strangers(what: str, texts: Iterable[str], alphabet: str) -> None:
    """Refuse texts with a character that a model does not know.

    Args:
        what: they are, for the message.
        texts: after `cleaned`.
        alphabet: the model's.

    Raises:
        ValueError: there is one; the message says which, and where.
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
