"""Fonts for labels in any script: what to write, in which font families, and no flood of warnings about fonts."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache

SIGNS = {  # of white space; matplotlib's own font has them
    " ": "\N{OPEN BOX}",
    "\n": "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}",
    "\t": "\N{RIGHTWARDS ARROW TO BAR}",
}
_REGULAR = 400  # font weight of running text
_BOXES = "lastresort"  # a font that draws the same box for every letter of a script
_said: set[str] = set()  # matplotlib's messages about fonts so far


def printable(label: str) -> str:
    """Return a label as it is written: a sign for white space, repr if nothing would show, at most 16 characters."""
    if label in SIGNS:
        return SIGNS[label]
    visible = label if label.isprintable() and label.strip() else repr(label)
    return visible if len(visible) <= 16 else visible[:15] + "…"


@contextmanager
def quiet_fonts() -> Iterator[None]:
    """Draw with matplotlib: each message about a missing font appears once, warnings about missing glyphs never."""

    def is_new(record: logging.LogRecord) -> bool:
        # two functions of matplotlib report a font as 'Arial' and as ['Arial']
        font = record.getMessage().partition(" not found")[0].translate({ord("["): None, ord("]"): None})
        new = font not in _said
        _said.add(font)
        return new

    logger = logging.getLogger("matplotlib.font_manager")
    logger.addFilter(is_new)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")  # a letter that no font has is drawn as a box, which says it
            yield
    finally:
        logger.removeFilter(is_new)


@quiet_fonts()
def legible(texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Find fonts for texts in any script.

    matplotlib's own font has the Latin, Greek, Cyrillic, Armenian, Hebrew and Arabic letters; other letters are looked
    up in the fonts of this machine.

    Args:
        texts: any.

    Returns:
        The texts, where a character without a font is replaced by its code point (U+30AB); and the font families for
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
    """Families of this machine that together have as many of the letters as possible, and the letters without any."""
    from matplotlib.font_manager import fontManager

    upright = [font for font in fontManager.ttflist if font.style == "normal"]
    plain = {font.name: font.fname for font in sorted(upright, key=lambda font: font.weight == _REGULAR)}
    families, absent = [], set(letters)
    # sans-serif fonts first, like the rest of the picture
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
    """The characters of a font file; none if it cannot be read."""
    from matplotlib.ft2font import FT2Font

    try:
        codes: Iterable[int] = FT2Font(file).get_charmap()
    except (OSError, RuntimeError):
        return frozenset()
    return frozenset(map(chr, codes))
