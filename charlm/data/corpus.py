"""From a file to clean names, chunk by chunk: ten million names take seconds, and little more memory than the file."""

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from charlm.data.cleaning import Chunk, clean
from charlm.data.download import MAKEMORE, download_makemore, refuse_address
from charlm.data.table import SAMPLE, Table, find_table
from charlm.data.text_chunks import text_chunks
from charlm.tokenizer import LONGEST_NAME

BUNDLED = Path(__file__).with_name("names.txt")
"""The list of names that comes with charlm."""

_CHUNK_BYTES = 1 << 16  # small enough for the processor's cache, with everything that is computed from a chunk
_MOST_CHARACTERS = 1 << 16  # different ones: three times what any language writes its names with


@dataclass(frozen=True)
class Corpus:
    r"""A clean list of names.

    Args:
        data: the names in the order of the file, each ended by "\n"; UTF-8, NFC, no blank lines, no outer white space.
        alphabet: the characters that occur, sorted.
        lines: the number of names.
        source: the file they came from.
        note: what was dropped or changed while reading, in one sentence; "" if nothing was.
    """

    data: bytes
    alphabet: str
    lines: int
    source: str
    note: str = ""

    def __len__(self) -> int:
        return self.lines

    def __repr__(self) -> str:
        return f"Corpus({self.lines:,} names, {len(self.alphabet):,} characters, {self.source!r})"

    @property
    def text(self) -> str:
        """The whole list, decoded."""
        return self.data.decode()

    def chunks(self) -> Iterator[str]:
        """The list in chunks of whole lines, all of about the same size."""
        start = 0
        while start < len(self.data):
            stop = self.data.find(b"\n", start + _CHUNK_BYTES) + 1 or len(self.data)
            yield self.data[start:stop].decode()
            start = stop

    def names(self) -> list[str]:
        """The names as a list, including repeated ones."""
        return self.text[:-1].split("\n")

    @cached_property
    def sha256(self) -> str:
        """A fingerprint of the clean names: the same for CRLF and LF, with a BOM or without."""
        return hashlib.sha256(self.data).hexdigest()


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
    path: str | Path | None = None,
    *,
    lowercase: bool = False,
    max_length: int = LONGEST_NAME,
    alphabet: str | None = None,
    column: int | str | None = None,
) -> Corpus:
    """Read a list of names: UTF-8, one name a line. BOM, CRLF and blank lines are accepted, outer white space is cut.

    Args:
        path: a file, plain or compressed by gzip, or "makemore" (the course's names.txt, downloaded once); None: the
            names that come with charlm.
        lowercase: turn all names to lower case.
        max_length: length of the longest accepted name in characters, >= 1.
        alphabet: the accepted characters; None: any.
        column: of a table, the column with the names: its number, from 1 on, or its title; 0: each whole line is a
            name; None: the same, unless the file looks like a table, which is an error.

    Raises:
        OSError: no such file, a directory, a pipe or a device, no permission to read it, or no network.
        ValueError: bytes that are not UTF-8, control or invisible characters, characters outside `alphabet`, a longer
            name, more than 65,536 different characters, or no name at all; the message gives the line. Or a table
            without `column`, the file changed while it was read, or `max_length` < 1.
    """
    if max_length < 1:
        raise ValueError(f"max_length is {max_length}; it must be at least 1 character")
    file = names_file(path)
    pieces: list[bytes] = []
    characters: set[str] = set()
    names = blank = trimmed = composed = 0
    table, chunks = _read_table(file, column)
    for chunk in chunks:
        cleaned = clean(chunk, lowercase, max_length, alphabet)
        pieces.append(cleaned.text.encode())
        characters |= cleaned.characters
        names += cleaned.lines - cleaned.blank
        blank += cleaned.blank
        trimmed += cleaned.trimmed
        composed += cleaned.composed
        _refuse_many(characters, file, chunk.lines_before + cleaned.lines)
    if not characters:
        raise ValueError(f"no names in {file}: it is empty or has blank lines only; give one name a line")
    changes = {
        table.note if table else "": table is not None,
        f"{blank} blank lines dropped": blank,
        f"outer white space cut in {trimmed} lines": trimmed,
        f"letters and accents composed (NFC) in {composed} lines": composed,
    }
    note = ", ".join(change for change, lines_changed in changes.items() if lines_changed)
    return Corpus(b"".join(pieces), "".join(sorted(characters)), names, str(file), note)


def _read_table(file: Path, column: int | str | None) -> tuple[Table | None, Iterator[Chunk]]:
    """Whether the file is a table, and its names, one a line."""
    chunks = _read_lines(file)
    begin, lines = [], 0
    for chunk in chunks:
        begin.append(chunk)
        lines += chunk.text.count("\n")
        if lines >= SAMPLE:
            break
    table = find_table("".join(chunk.text for chunk in begin), file, column)
    chunks = itertools.chain(begin, chunks)
    return table, table.names(chunks) if table else chunks


def _read_lines(file: Path) -> Iterator[Chunk]:
    lines = 0
    for text in text_chunks(file, _CHUNK_BYTES):
        yield Chunk(file, lines, text)
        lines += text.count("\n")


def _refuse_many(characters: set[str], file: Path, lines: int) -> None:
    if len(characters) > _MOST_CHARACTERS:
        raise ValueError(
            f"{file}, up to line {lines}: {len(characters):,} different characters, more than any list of names has;"
            f" at most {_MOST_CHARACTERS:,} are accepted, give another file"
        )
