"""What kind of thing a label stands for, and the colour and marker of each kind."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from charlm.callbacks.shared import palette


class Look(NamedTuple):
    """How the points of a kind are drawn: colour, marker, and the colour of a label inside the marker."""

    color: str
    marker: str
    ink: str = "white"


_BLACK = Look(palette.BLACK, "D")
_LOOKS = [
    Look(palette.BLUE, "s"),
    Look(palette.VERMILION, "o"),
    Look(palette.GREEN, "h"),
    Look(palette.PURPLE, "p", "black"),
    Look(palette.ORANGE, "^", "black"),
    Look(palette.SKY_BLUE, "v", "black"),
    _BLACK,
    Look(palette.YELLOW, "8", "black"),
]
_OF_LETTERS = {"vowel": _LOOKS[1], "consonant": _LOOKS[0], "boundary": _BLACK, "other": _LOOKS[2]}
_WITHOUT_KIND = Look(palette.BLUE, "o")
_REST = Look(palette.GREY, "X", "black")
_VOWELS = set("aeiouæøœə\N{LATIN SMALL LETTER DOTLESS I}")


def kind_of(label: str) -> str:
    """Return "vowel", "consonant", "boundary" (".", "·" or "<>") or "other"; accents are ignored."""
    if label in {".", "·", "<>"}:
        return "boundary"
    if len(label) != 1 or not label.isalpha() or not unicodedata.name(label, "").startswith("LATIN"):
        return "other"
    base = unicodedata.normalize("NFD", label.lower())[0]
    return "vowel" if base in _VOWELS else "consonant"


def looks_of(kinds: Sequence[str]) -> tuple[list[str], dict[str, Look]]:
    """Give each kind a look: letters always the same, other kinds by frequency; all beyond eight share one look.

    Args:
        kinds: for each point; "" for all points if there are no kinds.

    Returns:
        The kind of each point, where rare kinds are replaced by a name such as "5 more kinds"; the look of each kind.

    Example:
        >>> looks_of(["even", "odd", "odd"])[1]["odd"].color == palette.BLUE
        True
    """
    counts = Counter(kinds)
    if set(counts) <= {""}:
        return list(kinds), {"": _WITHOUT_KIND}
    if set(counts) <= set(_OF_LETTERS):
        return list(kinds), {kind: look for kind, look in _OF_LETTERS.items() if kind in counts}
    frequent = [kind for kind, _ in counts.most_common(len(_LOOKS))]
    looks = dict(zip(frequent, _LOOKS, strict=False))
    if len(counts) == len(frequent):
        return list(kinds), looks
    rest = f"{len(counts) - len(frequent)} more kinds"
    return [kind if kind in looks else rest for kind in kinds], {**looks, rest: _REST}
