"""Fonts for labels in any script: what to write, in which font families, and no flood of warnings about fonts."""

from __future__ import annotations

import logging
import re
import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from math import inf
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.path import Path

SIGNS = {  # of white space; matplotlib's own font has them
    " ": "\N{OPEN BOX}",
    "\n": "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}",
    "\t": "\N{RIGHTWARDS ARROW TO BAR}",
}
_DOTTED_CIRCLE = "\N{DOTTED CIRCLE}"  # what Unicode writes below a mark that stands alone
_REGULAR = 400  # font weight of running text
_BOXES = "lastresort"  # a font that draws the same box for every letter of a script
_CJK = ("CJK", "HANGUL", "HIRAGANA", "KATAKANA", "BOPOMOFO")  # first words of character names
_said: set[str] = set()  # matplotlib's messages about fonts so far


def printable(label: str) -> str:
    """Return a label as it is written: a sign for white space, repr if nothing would show, at most 16 characters.

    An accent or vowel sign that stands alone is written on a dotted circle.
    """
    if label in SIGNS:
        return SIGNS[label]
    visible = label if label.isprintable() and label.strip() else repr(label)
    if unicodedata.category(visible[0]).startswith("M"):
        visible = _DOTTED_CIRCLE + visible
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
        The texts, where a character without a font is replaced by its sound, as in its Unicode name (ka for KATAKANA
        LETTER KA), or by its code point (U+5C71) where its name does not tell; and the font families for matplotlib's
        `family`.
    """
    families, absent = _search(_letters(texts))
    stand_ins = str.maketrans({ch: _stand_in(ch) for ch in absent})
    return [text.translate(stand_ins) for text in texts], families


@quiet_fonts()
def outlines(texts: Sequence[str], family: list[str], size: float, most: float = inf) -> tuple[list[Path], np.ndarray]:
    """Each text as an outline around (0, 0), which is drawn fifty times as fast as a text and fits wherever it must.

    Args:
        texts: V texts, from `legible`.
        family: font families, from `legible`.
        size: of the font, in typographic points.
        most: width and height of an outline in points; a larger one is scaled down. Those with a limit are bold.

    Returns:
        The outlines, and their widths and heights (V, 2), in points.
    """
    from matplotlib import rcParams
    from matplotlib.path import Path

    bold = most < inf and family == rcParams["font.family"]  # other fonts may lack a bold face
    drawn = {}
    for text in set(texts):
        corners, codes = _outline(text, tuple(family), bold)
        extent = np.ptp(corners, 0) * size if len(corners) else np.zeros(2)
        scale = min(1.0, most / max(1e-9, float(extent.max())))
        drawn[text] = Path(corners * size * scale, codes), extent * scale
    return [drawn[text][0] for text in texts], np.array([drawn[text][1] for text in texts])


@cache
def _outline(text: str, family: tuple[str, ...], bold: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Corners and codes of a matplotlib Path of the text in a font of size 1, its middle at (0, 0)."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=list(family), weight="bold" if bold else "normal")
    corners, codes = text_to_path.get_text_path(font, text)
    if not len(corners):
        return np.empty((0, 2)), None
    corners = np.asarray(corners) / text_to_path.FONT_SCALE
    return corners - (corners.min(0) + corners.max(0)) / 2, codes


@quiet_fonts()
def missing_fonts(texts: Sequence[str]) -> str:
    """A sentence that says which package has the letters that no font of this machine has; "" if none is missing.

    Args:
        texts: any, as they are, not as `legible` returns them.
    """
    absent = _search(_letters(texts))[1]
    if not absent:
        return ""
    names = [unicodedata.name(ch, "") for ch in absent]
    package = "fonts-noto-cjk" if any(name.startswith(_CJK) for name in names) else "fonts-noto-core"
    return (
        f"No font on this machine has {len(absent)} of these characters. Install one, such as the Noto fonts"
        f" (on Debian and Ubuntu the package {package})."
    )


def _letters(texts: Sequence[str]) -> frozenset[str]:
    return frozenset(ch for text in texts if not text.isascii() for ch in text if ch.isprintable())


def _stand_in(ch: str) -> str:
    sound = re.search(r"(?:LETTER|SYLLABLE|SIGN) (?:SMALL )?([A-Z]+)$", unicodedata.name(ch, ""))
    return sound[1].lower() if sound else f"U+{ord(ch):04X}"


def _search(letters: frozenset[str]) -> tuple[list[str], set[str]]:
    """The user's font families and those that together have as many other letters as possible; letters without any."""
    from matplotlib import rcParams

    own = tuple(rcParams["font.family"])
    unknown = letters.difference(*map(_characters_of_family, own)) if letters else letters
    families, absent = _search_others(unknown) if unknown else ([], set())
    return [*own, *families], absent


@cache
def _search_others(letters: frozenset[str]) -> tuple[list[str], set[str]]:
    families, absent = _search_known(letters)
    if absent and _add_new_fonts():
        families, absent = _search_known(letters)
    return families, absent


def _search_known(letters: frozenset[str]) -> tuple[list[str], set[str]]:
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


def _add_new_fonts() -> bool:
    """Add fonts that were installed after matplotlib made its list of fonts, which it does only once."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    known = {font.fname for font in fontManager.ttflist}
    new = [file for file in findSystemFonts() if file not in known]
    for file in new:
        with suppress(Exception):  # a broken file; FreeType raises several types
            fontManager.addfont(file)
    return bool(new)


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
