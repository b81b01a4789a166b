"""From a file to clean names, block by block: ten million take seconds and little more memory than the file."""

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from charlm.data.download import MAKEMORE, download_makemore, refuse_address
from charlm.data.text_blocks import text_blocks
from charlm.messages import shortened
from charlm.tokenizer import UNPRINTABLE, code_points

BUNDLED = Path(__file__).with_name("names.txt")
"""The list of names that comes with charlm."""

_BLOCK = 1 << 16  # bytes taken at a time, so that what is made of them stays in the cache
_MOST_CHARACTERS = 1 << 16  # different ones: three times what any language writes its names with
_SPACES = "\t \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
_ANY_SPACE = re.compile(f"[{_SPACES}]")
# possessive, and tried at the start of a run only: else a long run of inner space takes quadratic time
_OUTER_SPACE = re.compile(f"(?m)^[{_SPACES}]++|(?<![{_SPACES}])[{_SPACES}]++$")
_UNTRIMMED = re.compile(f"(?m)^[{_SPACES}].*$|^.*[{_SPACES}]$")
_MARKS = {"Mn", "Mc", "Me"}
_COUNTED = 4  # a table of as many code points for each character of a text is faster than a set of it
_COMPOSED = 4  # characters at most that NFC makes one of


@dataclass(frozen=True)
class Corpus:
    r"""A clean list of names.

    Args:
        data: the names in the order of the file, each ended by "\n"; UTF-8, NFC, no blank lines, no outer white space.
        alphabet: the characters that occur, sorted.
        lines: how many names.
        source: the file they came from.
        note: what was dropped or changed on reading, one sentence; "" where nothing was.
    """

    data: bytes
    alphabet: str
    lines: int
    source: str
    note: str = ""

    def __len__(self) -> int:
        return self.lines

    @property
    def text(self) -> str:
        """The whole list, decoded."""
        return self.data.decode()

    def blocks(self) -> Iterator[str]:
        """The list piece by piece, each of whole lines and of about one size."""
        start = 0
        while start < len(self.data):
            stop = self.data.find(b"\n", start + _BLOCK) + 1 or len(self.data)
            yield self.data[start:stop].decode()
            start = stop

    def names(self) -> list[str]:
        """The names as a list, repeated ones included."""
        return self.text[:-1].split("\n")

    @cached_property
    def sha256(self) -> str:
        """A fingerprint of the clean names: the same for CRLF and LF, with a BOM or without."""
        return hashlib.sha256(self.data).hexdigest()


class _Block(NamedTuple):
    """Some lines of a file and how many stand before them."""

    file: Path
    before: int
    text: str

    def where(self, at: int) -> str:
        """The line of the character at `at`."""
        return f"{self.file}, line {self.before + self.text.count(chr(10), 0, at) + 1}"


def names_file(path: str | Path | None = None) -> Path:
    """The local file of a list of names.

    Args:
        path: a file; the text "makemore" for the course's list, which is downloaded once; None: the bundled list.

    Raises:
        OSError: the course's list cannot be downloaded.
        ValueError: `path` is an internet address, or the download is not the course's list.
    """
    if path is None:
        return BUNDLED
    if path == MAKEMORE:
        return download_makemore()
    refuse_address(path)
    return Path(path)


def read_corpus(
    path: str | Path | None = None, *, lowercase: bool = False, max_length: int = 64, alphabet: str | None = None
) -> Corpus:
    """Read a list of names: UTF-8, one name a line. BOM, CRLF and blank lines are accepted, outer white space is cut.

    Args:
        path: a file, or "makemore" (the course's names.txt, downloaded once); None: the names that come with charlm.
        lowercase: turn all names to lower case.
        max_length: the longest name accepted, in characters, >= 1.
        alphabet: the characters accepted; None: any.

    Raises:
        OSError: no such file, a directory, a pipe or device, or no permission to read it; no network.
        ValueError: bytes that are not UTF-8, control or invisible characters, characters outside `alphabet`, a longer
            name, more than 65,536 different characters, or no name at all; the message gives the line. Or the file
            changed meanwhile, or `max_length` < 1.
    """
    if max_length < 1:
        raise ValueError(f"max_length is {max_length}; it must be at least 1 character")
    file = names_file(path)
    pieces: list[bytes] = []
    characters: set[str] = set()
    lines = blank = trimmed = composed = 0
    for text in text_blocks(file, _BLOCK):
        text, found, cut = _trim(text.lower() if lowercase else text)
        text, found, joined = _compose(_Block(file, lines, text), found, max_length)
        block = _Block(file, lines, text)
        _refuse_unprintable(block, found)
        lengths = _refuse_long(block, max_length)
        _refuse_lone_marks(block, found)
        _refuse_strangers(block, found, alphabet)
        empty = int((lengths == 0).sum())
        pieces.append((re.sub("\n{2,}", "\n", text).lstrip("\n") if empty else text).encode())
        characters |= found
        lines, blank, trimmed, composed = lines + len(lengths), blank + empty, trimmed + cut, composed + joined
        _refuse_many(characters, file, lines)
    if not characters:
        raise ValueError(f"no names in {file}: it is empty or has blank lines only; give one name a line")
    changes = {
        f"{blank} blank lines dropped": blank,
        f"outer white space cut in {trimmed} lines": trimmed,
        f"letters and accents composed (NFC) in {composed} lines": composed,
    }
    note = ", ".join(change for change, lines_changed in changes.items() if lines_changed)
    return Corpus(b"".join(pieces), "".join(sorted(characters)), lines - blank, str(file), note)


def _characters(text: str) -> set[str]:
    """The distinct characters, line ends aside."""
    codes = code_points(text)
    if codes.max(initial=0) > _COUNTED * len(text):
        return set(text) - {"\n"}
    counts = torch.bincount(torch.from_numpy(codes))  # numpy's would widen the codes to int64 first
    return {chr(code) for code in np.flatnonzero(counts.numpy())} - {"\n"}


def _trim(text: str) -> tuple[str, set[str], int]:
    """Cut outer white space, line by line: what is left, its characters, and the number of lines that had some."""
    characters = _characters(text)
    if not any(map(_ANY_SPACE.match, characters)):
        return text, characters, 0
    changed = sum(1 for _ in _UNTRIMMED.finditer(text))
    if changed:
        text = _OUTER_SPACE.sub("", text)
    return text, _characters(text), changed


def _compose(block: _Block, characters: set[str], max_length: int) -> tuple[str, set[str], int]:
    """Letters and their accents as one character where there is one (NFC), and the number of lines that had such."""
    text = block.text
    if not text.isascii():
        _refuse_long(block, max_length, _COMPOSED)  # to order a long run of accents takes quadratic time
        text = unicodedata.normalize("NFC", text)
    if text == block.text:
        return text, characters, 0
    changed = sum(old != new for old, new in zip(block.text.split("\n"), text.split("\n"), strict=True))
    return text, _characters(text), changed


def _refuse_unprintable(block: _Block, characters: set[str]) -> None:
    bad = {ch: kind for ch in characters if (kind := UNPRINTABLE.get(unicodedata.category(ch)))}
    if bad:
        at, ch = min((block.text.index(ch), ch) for ch in bad)
        raise ValueError(f"{block.where(at)}: U+{ord(ch):04X} is {bad[ch]}; remove it from the line")


def _refuse_long(block: _Block, max_length: int, pieces: int = 1) -> np.ndarray:
    """The length of every line in characters, int64, where none is too long even if so many of them became one."""
    lengths = line_lengths(block.text) - 1
    if lengths.max() > max_length * pieces:
        line = int((lengths > max_length * pieces).argmax())
        raise ValueError(
            f"{block.file}, line {block.before + line + 1}: a name of {lengths[line]} characters; at most {max_length}"
            " are accepted (data.max_length), one name a line"
        )
    return lengths


def _refuse_lone_marks(block: _Block, characters: set[str]) -> None:
    marks = "".join(ch for ch in characters if unicodedata.category(ch) in _MARKS)
    if marks and (lone := re.search(f"[\n{_SPACES}][{marks}]", f"\n{block.text}")):
        at = lone.start()
        raise ValueError(
            f"{block.where(at)}: U+{ord(block.text[at]):04X} is an accent without a letter before it; remove it"
        )


def _refuse_many(characters: set[str], file: Path, lines: int) -> None:
    if len(characters) > _MOST_CHARACTERS:
        raise ValueError(
            f"{file}, up to line {lines}: {len(characters):,} different characters, which no list of names has;"
            f" at most {_MOST_CHARACTERS:,} are accepted, give another file"
        )


def _refuse_strangers(block: _Block, characters: set[str], alphabet: str | None) -> None:
    strangers = characters - set(alphabet) if alphabet is not None else set()
    if strangers:
        text = block.text
        at = min(text.index(ch) for ch in strangers)
        start = text.rfind("\n", 0, at) + 1
        name = text[start : text.index("\n", at)]
        raise ValueError(
            f"{block.where(at)}: {shortened(name)} has {text[at]!r} at position {at - start}, outside the alphabet"
            f" {shortened(alphabet or '')}; clean the names file or widen data.alphabet"
        )


def line_lengths(text: str) -> np.ndarray:
    """int64 (M,): the length of every line in characters, its end counted."""
    return np.diff(np.flatnonzero(code_points(text) == ord("\n")), prepend=-1)
