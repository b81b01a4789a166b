"""How labels are written in a picture, whatever script they are in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

SIGNS = {  # of white space; matplotlib's own font has them
    " ": "\N{OPEN BOX}",
    "\n": "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}",
    "\t": "\N{RIGHTWARDS ARROW TO BAR}",
}
_REGULAR = 400  # weight of the letters in running text
_BOXES = "lastresort"  # a font with a box for every character, which tells none of them apart


def printable(label: str) -> str:
    """A label as it is written: white space by its sign, by repr if nothing would show, 16 characters at most."""
    if label in SIGNS:
        return SIGNS[label]
    visible = label if label.isprintable() and label.strip() else repr(label)
    return visible if len(visible) <= 16 else visible[:15] + "…"


def legible(texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Texts as there are fonts for them, and these fonts.

    matplotlib's own has the Latin, Greek, Cyrillic, Armenian, Hebrew and Arabic letters; for others, fonts of this
    machine are looked through.

    Args:
        texts: any.

    Returns:
        The texts, with the code point in place of a character that no font has (U+30AB); and the font families for
        matplotlib's `family`.
    """
    from matplotlib import rcParams

    own = tuple(rcParams["font.family"])
    letters = {ch for text in texts if not text.isascii() for ch in text if ch.isprintable()}
    unknown = letters.difference(*map(_characters_of_family, own)) if letters else letters
    if not unknown:
        return list(texts), list(own)
    families, absent = _search(frozenset(unknown))
    codes = str.maketrans({ch: f"U+{ord(ch):04X}" for ch in absent})
    return [text.translate(codes) for text in texts], [*own, *families]


@cache
def _search(letters: frozenset[str]) -> tuple[list[str], set[str]]:
    """Families that together have as many of the letters as this machine can draw, and those that none has."""
    from matplotlib.font_manager import fontManager

    upright = [font for font in fontManager.ttflist if font.style == "normal"]
    plain = {font.name: font.fname for font in sorted(upright, key=lambda font: font.weight == _REGULAR)}
    families, absent = [], set(letters)
    # sans-serif ones first, as the rest of the picture
    for name in sorted(plain, key=lambda name: ("Sans" not in name, "Mono" in name, name)):
        found = set() if _BOXES in name.replace(" ", "").lower() else absent & _characters(plain[name])
        if found:
            families.append(name)
            absent -= found
        if not absent:
            break
    return families, absent


def _characters_of_family(family: str) -> frozenset[str]:
    from matplotlib.font_manager import FontProperties, findfont

    return _characters(str(findfont(FontProperties(family=[family]))))


@cache
def _characters(file: str) -> frozenset[str]:
    """What a font has; nothing if it cannot be read."""
    from matplotlib.ft2font import FT2Font

    try:
        codes: Iterable[int] = FT2Font(file).get_charmap()
    except (OSError, RuntimeError):
        return frozenset()
    return frozenset(map(chr, codes))
