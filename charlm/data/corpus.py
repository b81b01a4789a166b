"""From a file to clean names, block by block: ten million take seconds and little more memory than the file."""

import codecs
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

from charlm.data.download import download, is_address
from charlm.shortened import shortened
from charlm.tokenizer import UNPRINTABLE, code_points

BUNDLED = Path(__file__).with_name("names.txt")

_BLOCK = 1 << 16  # bytes taken at a time, so that what is made of them stays in the cache
_SPACES = "\t \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
_ANY_SPACE = re.compile(f"[{_SPACES}]")
# possessive, and tried at the start of a run only: else a long run of inner space takes quadratic time
_OUTER_SPACE = re.compile(f"(?m)^[{_SPACES}]++|(?<![{_SPACES}])[{_SPACES}]++$")
_UNTRIMMED = re.compile(f"(?m)^[{_SPACES}].*$|^.*[{_SPACES}]$")
_MARKS = {"Mn", "Mc", "Me"}


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


def read_corpus(
    path: str | Path | None = None, *, lowercase: bool = False, max_length: int = 64, alphabet: str | None = None
) -> Corpus:
    """Read a list of names: UTF-8, one name a line. BOM, CRLF and blank lines are accepted, outer white space is cut.

    Args:
        path: a file; as text also an http(s) address or "makemore" (the course's names.txt), downloaded once; None: the
            bundled names.
        lowercase: turn all names to lower case.
        max_length: the longest name accepted, in characters, >= 1.
        alphabet: the characters accepted; None: any.

    Raises:
        OSError: no such file, a directory, or no permission to read it; no network.
        ValueError: bytes that are not UTF-8, control or invisible characters, characters outside `alphabet`, a longer
            name, or no name at all; the message gives the line. Or `max_length` < 1.
    """
    if max_length < 1:
        raise ValueError(f"max_length is {max_length}; it must be at least 1 character")
    file = BUNDLED if path is None else download(path) if is_address(path) else Path(path)
    pieces: list[bytes] = []
    characters: set[str] = set()
    lines = blank = trimmed = 0
    for block_of_file in _read(file):
        text = _lines(_decode(block_of_file, file, lines), lowercase)
        text, found, cut = _trim(text, _characters(text))
        block = _Block(file, lines, text)
        _refuse_unprintable(block, found)
        lengths = _refuse_long(block, max_length)
        _refuse_lone_marks(block, found)
        _refuse_strangers(block, found, alphabet)
        empty = int((lengths == 0).sum())
        pieces.append((re.sub("\n{2,}", "\n", text).lstrip("\n") if empty else text).encode())
        characters |= found
        lines, blank, trimmed = lines + len(lengths), blank + empty, trimmed + cut
    if not characters:
        raise ValueError(f"no names in {file}: it is empty or has blank lines only; give one name a line")
    dropped = [f"{blank} blank lines dropped"] * bool(blank) + [f"outer white space cut in {trimmed} lines"] * bool(
        trimmed
    )
    data = b"".join(pieces)
    return Corpus(data, "".join(sorted(characters)), lines - blank, str(file), ", ".join(dropped))


def _read(file: Path) -> Iterator[bytes]:
    """The file in blocks of whole lines, without a BOM."""
    try:
        if file.is_dir():  # first, since Windows gives a PermissionError for reading one
            raise IsADirectoryError(f"{file} is a directory; give a text file with one name a line")
        with file.open("rb") as lines:
            yield (lines.read(_BLOCK) + lines.readline()).removeprefix(codecs.BOM_UTF8)
            while block := lines.read(_BLOCK) + lines.readline():
                yield block
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no names file {file}; give an existing file, or 'makemore'") from None
    except PermissionError:
        raise PermissionError(f"{file} may not be read by this user; change its permissions (chmod u+r)") from None


def _decode(data: bytes, file: Path, before: int) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = before + len(re.findall(rb"\r\n?|\n", data[: error.start])) + 1
        raise ValueError(
            f"{file}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8 and try again"
        ) from None


def _lines(text: str, lowercase: bool) -> str:
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = unicodedata.normalize("NFC", text.lower() if lowercase else text)
    return text if text.endswith("\n") else text + "\n"


def _characters(text: str) -> set[str]:
    """The distinct characters, line ends aside."""
    counts = torch.bincount(torch.from_numpy(code_points(text)))  # numpy's would widen the codes to int64 first
    return {chr(code) for code in np.flatnonzero(counts.numpy())} - {"\n"}


def _trim(text: str, characters: set[str]) -> tuple[str, set[str], int]:
    """Cut outer white space, line by line: what is left, its characters, and the number of lines that had some."""
    if not any(map(_ANY_SPACE.match, characters)):
        return text, characters, 0
    changed = sum(1 for _ in _UNTRIMMED.finditer(text))
    if changed:
        text = _OUTER_SPACE.sub("", text)
    return text, _characters(text), changed


def _refuse_unprintable(block: _Block, characters: set[str]) -> None:
    bad = {ch: kind for ch in characters if (kind := UNPRINTABLE.get(unicodedata.category(ch)))}
    if bad:
        at, ch = min((block.text.index(ch), ch) for ch in bad)
        raise ValueError(f"{block.where(at)}: U+{ord(ch):04X} is {bad[ch]}; remove it from the line")


def _refuse_long(block: _Block, max_length: int) -> np.ndarray:
    """The length of every line in characters, int64, where none is too long."""
    lengths = line_lengths(block.text) - 1
    if lengths.max() > max_length:
        line = int((lengths > max_length).argmax())
        raise ValueError(
            f"{block.file}, line {block.before + line + 1}: a name of {lengths[line]} characters; at most {max_length}"
            " are accepted (data.max_length), one name a line"
        )
    return lengths


def _refuse_lone_marks(block: _Block, characters: set[str]) -> None:
    marks = [ch for ch in characters if unicodedata.category(ch) in _MARKS]
    lone = [at for ch in marks if (at := f"\n{block.text}".find(f"\n{ch}")) >= 0]
    if lone:
        raise ValueError(
            f"{block.where(min(lone))}: U+{ord(block.text[min(lone)]):04X} is an accent without a letter before it;"
            " remove it"
        )


def _refuse_strangers(block: _Block, characters: set[str], alphabet: str | None) -> None:
    strangers = characters - set(alphabet) if alphabet is not None else set()
    if strangers:
        text = block.text
        at = min(text.index(ch) for ch in strangers)
        start = text.rfind("\n", 0, at) + 1
        name = text[start : text.index("\n", at)]
        raise ValueError(
            f"{block.where(at)}: {name!r} has {text[at]!r} at position {at - start}, outside the alphabet"
            f" {shortened(alphabet or '')}; clean the names file or widen data.alphabet"
        )


def line_lengths(text: str) -> np.ndarray:
    """int64 (M,): the length of every line in characters, its end counted."""
    return np.diff(np.flatnonzero(code_points(text) == ord("\n")), prepend=-1)
