"""Clean a chunk of a names file, or refuse it in a sentence that names the line."""

import itertools
import re
import unicodedata
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from charlm.data.attributes import Attributes
from charlm.data.lowercase import Language, lower
from charlm.messages import shortened
from charlm.tokenizer import JOINERS, UNPRINTABLE, code_points

_SPACES = "\t \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
_ANY_SPACE = re.compile(f"[{_SPACES}]")
# possessive, and tried at the start of a run only: else a long run of inner space takes quadratic time
_OUTER_SPACE = re.compile(f"(?m)^[{_SPACES}]++|(?<![{_SPACES}])[{_SPACES}]++$")
_UNTRIMMED = re.compile(f"(?m)^[{_SPACES}].*$|^.*[{_SPACES}]$")
_COMBINING = {"Mn", "Mc", "Me"}
# soft hyphen, directional marks, BOM and variation selectors: they say how a text is shown, not how it is spelt
_DROPPED = {*"\xad\u061c\u200e\u200f\ufeff", *map(chr, [*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)])}
_REFUSED = {
    **UNPRINTABLE,
    "Cn": "no character of Unicode",
    **dict.fromkeys("\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0", "a blank that counts as a letter"),
    "\u034f": "an invisible character",
    "\ufffd": "the replacement character for bytes that could not be decoded (see `encoding`)",
}
_VIRAMA = 9  # the combining class of the signs that join consonants in the scripts of India
_HEH = "\u0647"  # in Kurdish, the joiner after it makes it another letter
_COUNTED = 4  # up to so many code points for each character of a text, counting is faster than a set
_COMPOSED = 4  # NFC makes one character of at most so many


class Chunk(NamedTuple):
    """Some lines of a file, the number of lines before them, and each name's weight and label if a table has them."""

    file: Path
    lines_before: int
    text: str
    attributes: tuple[Attributes, ...] = ()

    def where(self, at: int) -> str:
        """The file and the line of the character at index `at`."""
        return f"{self.file}, line {self.lines_before + self.text.count(chr(10), 0, at) + 1}"


class Cleaned(NamedTuple):
    """The clean lines of a chunk, and what was changed in it.

    Args:
        text: the names, each ended by a line feed, without blank lines.
        characters: the distinct characters of the names.
        names: the number of names.
        changes: what was changed, with a place for the number of lines, and that number.
        attributes: the weight and the label of each name; () if the file has none.
    """

    text: str
    characters: set[str]
    names: int
    changes: dict[str, int]
    attributes: tuple[Attributes, ...] = ()


def clean(chunk: Chunk, lowercase: bool | Language, max_length: int, alphabet: str | None) -> Cleaned:
    """Drop soft hyphens and the like, cut outer white space, compose letters and accents (NFC), and drop blank lines.

    Args:
        chunk: whole lines of a file.
        lowercase: turn all names to lower case, by the rules of a language if one is given.
        max_length: length of the longest accepted name in characters.
        alphabet: the accepted characters; None: any.

    Raises:
        ValueError: a control or invisible character, a longer name, an accent without a letter, or a character outside
            `alphabet`; the message gives the line.
    """
    text, characters, dropped = _drop(lower(chunk.text, lowercase))
    text, characters, trimmed = _trim(text, characters)
    text, characters, composed = _compose(chunk._replace(text=text), characters, max_length)
    chunk = chunk._replace(text=text)
    _refuse_unprintable(chunk, characters)
    lengths = _refuse_long(chunk, max_length)
    _refuse_lone_accents(chunk, characters)
    _refuse_out_of_vocabulary(chunk, characters, alphabet)
    blank = int((lengths == 0).sum())
    if blank:
        text = re.sub("\n{2,}", "\n", text).lstrip("\n")
    changes = {
        "{} blank lines dropped": blank,
        "soft hyphens, directional marks or variation selectors dropped from {} lines": dropped,
        "outer white space cut in {} lines": trimmed,
        "letters and accents composed (NFC) in {} lines": composed,
    }
    attributes = tuple(itertools.compress(chunk.attributes, lengths))
    return Cleaned(text, characters, len(lengths) - blank, changes, attributes)


def _characters(text: str) -> set[str]:
    """The distinct characters, without line ends."""
    codes = code_points(text)
    if codes.max(initial=0) > _COUNTED * len(text):
        return set(text) - {"\n"}
    counts = torch.bincount(torch.from_numpy(codes))  # numpy's would widen the codes to int64 first
    return {chr(code) for code in np.flatnonzero(counts.numpy())} - {"\n"}


def _drop(text: str) -> tuple[str, set[str], int]:
    """Drop soft hyphens and the like; returns the text, its characters and the number of changed lines."""
    characters = _characters(text)
    found = characters & _DROPPED
    if not found:
        return text, characters, 0
    changed = sum(not found.isdisjoint(line) for line in text.split("\n"))
    return text.translate(dict.fromkeys(map(ord, found))), characters - found, changed


def _trim(text: str, characters: set[str]) -> tuple[str, set[str], int]:
    """Cut outer white space from every line; returns the text, its characters and the number of changed lines."""
    if not any(map(_ANY_SPACE.match, characters)):
        return text, characters, 0
    changed = sum(1 for _ in _UNTRIMMED.finditer(text))
    if changed:
        text = _OUTER_SPACE.sub("", text)
    return text, _characters(text), changed


def _compose(chunk: Chunk, characters: set[str], max_length: int) -> tuple[str, set[str], int]:
    """Compose letters and accents (NFC); returns the text, its characters and the number of changed lines."""
    text = chunk.text
    if not text.isascii():
        _refuse_long(chunk, max_length, _COMPOSED)  # NFC orders accents, which takes quadratic time for a long run
        text = unicodedata.normalize("NFC", text)
    if text == chunk.text:
        return text, characters, 0
    changed = sum(old != new for old, new in zip(chunk.text.split("\n"), text.split("\n"), strict=True))
    return text, _characters(text), changed


def _refuse_unprintable(chunk: Chunk, characters: set[str]) -> None:
    text = chunk.text
    kinds = {ch: _REFUSED.get(ch) or _REFUSED.get(unicodedata.category(ch)) for ch in characters}
    found = [text.index(ch) for ch, kind in kinds.items() if kind and ch not in JOINERS]
    if not characters.isdisjoint(JOINERS):
        stray = (match.start() for match in re.finditer(f"[{JOINERS}]", text) if not _joins(text, match.start()))
        found += [at for at in [next(stray, None)] if at is not None]
    if found:
        at = min(found)
        raise ValueError(
            f"{chunk.where(at)}: U+{ord(text[at]):04X} is {kinds[text[at]]}; remove it from the line, or give"
            " `bad_lines` skip"
        )


def _joins(text: str, at: int) -> bool:
    """Whether a joiner (ZWJ, ZWNJ) stands where a script spells with it: by a virama, or within an Arabic word.

    Source: Unicode Standard Annex 31, section 2.3, and the Unicode Standard, chapter 9.2, for the Kurdish heh.
    """
    before, after = text[at - 1], text[at + 1]
    if unicodedata.combining(before) == _VIRAMA or before == _HEH:
        return True
    if unicodedata.combining(after) == _VIRAMA:
        return unicodedata.category(before) in ("Lo", "Mn", "Mc")
    return unicodedata.bidirectional(before) in ("AL", "NSM") and unicodedata.bidirectional(after) == "AL"


def _refuse_long(chunk: Chunk, max_length: int, composed_of: int = 1) -> np.ndarray:
    """Refuse a line that is too long even if every `composed_of` characters become one; int64 lengths of all lines."""
    lengths = line_lengths(chunk.text) - 1
    if lengths.max() > max_length * composed_of:
        line = int((lengths > max_length * composed_of).argmax())
        raise ValueError(
            f"{chunk.file}, line {chunk.lines_before + line + 1}: a name of {lengths[line]} characters; at most"
            f" {max_length} are accepted (`max_length`), one name a line"
        )
    return lengths


def _refuse_lone_accents(chunk: Chunk, characters: set[str]) -> None:
    accents = "".join(ch for ch in characters if unicodedata.category(ch) in _COMBINING)
    if accents and (lone := re.search(f"[\n{_SPACES}][{accents}]", f"\n{chunk.text}")):
        at = lone.start()
        raise ValueError(
            f"{chunk.where(at)}: U+{ord(chunk.text[at]):04X} is an accent without a letter before it; remove it"
            ", or give `bad_lines` skip"
        )


def _refuse_out_of_vocabulary(chunk: Chunk, characters: set[str], alphabet: str | None) -> None:
    unknown = characters - set(alphabet) if alphabet is not None else set()
    if unknown:
        text = chunk.text
        at = min(text.index(ch) for ch in unknown)
        start = text.rfind("\n", 0, at) + 1
        name = text[start : text.index("\n", at)]
        raise ValueError(
            f"{chunk.where(at)}: {shortened(name)} has {text[at]!r} at position {at - start}, outside the alphabet"
            f" {shortened(alphabet or '')}; clean the names file or widen `alphabet`"
        )


def line_lengths(text: str) -> np.ndarray:
    """int64 (M,): the length of every line in characters, including its line end."""
    return np.diff(np.flatnonzero(code_points(text) == ord("\n")), prepend=-1)
