"""Clean a chunk of a names file, or refuse it in a sentence that names the line."""

import re
import unicodedata
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from charlm.messages import shortened
from charlm.tokenizer import UNPRINTABLE, code_points

_SPACES = "\t \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
_ANY_SPACE = re.compile(f"[{_SPACES}]")
# possessive, and tried at the start of a run only: else a long run of inner space takes quadratic time
_OUTER_SPACE = re.compile(f"(?m)^[{_SPACES}]++|(?<![{_SPACES}])[{_SPACES}]++$")
_UNTRIMMED = re.compile(f"(?m)^[{_SPACES}].*$|^.*[{_SPACES}]$")
_MARKS = {"Mn", "Mc", "Me"}
_COUNTED = 4  # up to so many code points for each character of a text, counting is faster than a set
_COMPOSED = 4  # NFC makes one character of at most so many


class Chunk(NamedTuple):
    """Some lines of a file, and how many lines stand before them."""

    file: Path
    lines_before: int
    text: str

    def where(self, at: int) -> str:
        """The file and the line of the character at index `at`."""
        return f"{self.file}, line {self.lines_before + self.text.count(chr(10), 0, at) + 1}"


class Cleaned(NamedTuple):
    """The clean lines of a chunk, and what was changed in it.

    Args:
        text: the names, each ended by a line feed, without blank lines.
        characters: the distinct characters of the names.
        lines: the number of lines in the file, including blank ones.
        blank: lines that were dropped because they were blank.
        trimmed: lines from which outer white space was cut.
        composed: lines in which letters and accents were composed.
    """

    text: str
    characters: set[str]
    lines: int
    blank: int
    trimmed: int
    composed: int


def clean(chunk: Chunk, lowercase: bool, max_length: int, alphabet: str | None) -> Cleaned:
    """Cut outer white space, compose letters and accents (NFC), and drop blank lines.

    Args:
        chunk: whole lines of a file.
        lowercase: turn all names to lower case.
        max_length: length of the longest accepted name in characters.
        alphabet: the accepted characters; None: any.

    Raises:
        ValueError: a control or invisible character, a longer name, an accent without a letter, or a character outside
            `alphabet`; the message gives the line.
    """
    text, characters, trimmed = _trim(chunk.text.lower() if lowercase else chunk.text)
    text, characters, composed = _compose(chunk._replace(text=text), characters, max_length)
    chunk = chunk._replace(text=text)
    _refuse_unprintable(chunk, characters)
    lengths = _refuse_long(chunk, max_length)
    _refuse_lone_marks(chunk, characters)
    _refuse_out_of_vocabulary(chunk, characters, alphabet)
    blank = int((lengths == 0).sum())
    if blank:
        text = re.sub("\n{2,}", "\n", text).lstrip("\n")
    return Cleaned(text, characters, len(lengths), blank, trimmed, composed)


def _characters(text: str) -> set[str]:
    """The distinct characters, without line ends."""
    codes = code_points(text)
    if codes.max(initial=0) > _COUNTED * len(text):
        return set(text) - {"\n"}
    counts = torch.bincount(torch.from_numpy(codes))  # numpy's would widen the codes to int64 first
    return {chr(code) for code in np.flatnonzero(counts.numpy())} - {"\n"}


def _trim(text: str) -> tuple[str, set[str], int]:
    """Cut outer white space from every line; returns the text, its characters and the number of changed lines."""
    characters = _characters(text)
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
    bad = {ch: kind for ch in characters if (kind := UNPRINTABLE.get(unicodedata.category(ch)))}
    if bad:
        at, ch = min((chunk.text.index(ch), ch) for ch in bad)
        raise ValueError(f"{chunk.where(at)}: U+{ord(ch):04X} is {bad[ch]}; remove it from the line")


def _refuse_long(chunk: Chunk, max_length: int, composed_of: int = 1) -> np.ndarray:
    """Refuse a line that is too long even if every `composed_of` characters become one; int64 lengths of all lines."""
    lengths = line_lengths(chunk.text) - 1
    if lengths.max() > max_length * composed_of:
        line = int((lengths > max_length * composed_of).argmax())
        raise ValueError(
            f"{chunk.file}, line {chunk.lines_before + line + 1}: a name of {lengths[line]} characters; at most"
            f" {max_length} are accepted (data.max_length), one name a line"
        )
    return lengths


def _refuse_lone_marks(chunk: Chunk, characters: set[str]) -> None:
    marks = "".join(ch for ch in characters if unicodedata.category(ch) in _MARKS)
    if marks and (lone := re.search(f"[\n{_SPACES}][{marks}]", f"\n{chunk.text}")):
        at = lone.start()
        raise ValueError(
            f"{chunk.where(at)}: U+{ord(chunk.text[at]):04X} is an accent without a letter before it; remove it"
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
            f" {shortened(alphabet or '')}; clean the names file or widen data.alphabet"
        )


def line_lengths(text: str) -> np.ndarray:
    """int64 (M,): the length of every line in characters, including its line end."""
    return np.diff(np.flatnonzero(code_points(text) == ord("\n")), prepend=-1)
