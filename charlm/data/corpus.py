"""From a file to clean names, chunk by chunk: ten million names take seconds, and little more memory than the file."""

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from charlm.data.attributes import AttributeColumns, AttributeList
from charlm.data.bad_lines import BadLines
from charlm.data.cleaning import Chunk
from charlm.data.download import MAKEMORE, download_makemore, refuse_address
from charlm.data.find_table import SAMPLE, find_table
from charlm.data.lowercase import LANGUAGES, Language
from charlm.data.table import Table
from charlm.data.text_chunks import text_chunks
from charlm.tokenizer import LONGEST_NAME

BUNDLED = Path(__file__).with_name("us_census_1990.csv")
"""The names that come with charlm: a table of first names with their gender and its share of people, in percent."""
BUNDLED_COLUMN = "name"

_CHUNK_BYTES = 1 << 16  # small enough for the processor's cache, with everything that is computed from a chunk


@dataclass(frozen=True)
class Corpus:
    r"""A clean list of names.

    Args:
        data: the names in the order of the file, each ended by "\n"; UTF-8, NFC, no blank lines, no outer white space.
        alphabet: the characters that occur, sorted.
        lines: the number of names.
        source: the file they came from.
        note: what was dropped or changed while reading, in one sentence; "" if nothing was.
        weights: float64 (M,), how often each name counts; None: each line counts once.
        labels: the different labels, such as ("F", "M"); () if the names have none.
        label_of: int16 (M,), the number of each name's label; None if they have none.
    """

    data: bytes
    alphabet: str
    lines: int
    source: str
    note: str = ""
    weights: np.ndarray | None = field(default=None, repr=False, compare=False)
    labels: tuple[str, ...] = ()
    label_of: np.ndarray | None = field(default=None, repr=False, compare=False)

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
        """A fingerprint of the clean names, weights and labels: the same for CRLF and LF, with a BOM or without."""
        digest = hashlib.sha256(self.data)
        if self.weights is not None:
            digest.update(self.weights.tobytes())
        if self.label_of is not None:
            digest.update("\n".join(self.labels[number] for number in self.label_of).encode())
        return digest.hexdigest()


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
    lowercase: bool | Language = False,
    max_length: int = LONGEST_NAME,
    alphabet: str | None = None,
    column: int | str | None = None,
    encoding: str = "utf-8",
    bad_lines: Literal["refuse", "skip"] = "refuse",
    weight: int | str | None = None,
    label: int | str | None = None,
    labels: Sequence[str] | None = None,
) -> Corpus:
    """Read a list of names, one name a line. BOM, CRLF and blank lines are accepted, outer white space is cut.

    Args:
        path: a file, plain or compressed by gzip, or "makemore" (the course's names.txt, downloaded once); None: the
            first names that come with charlm, with a row for each gender that has the name.
        lowercase: turn all names to lower case: true, or "tr", "az" or "lt" by the rules of Turkish, Azerbaijani or
            Lithuanian.
        max_length: length of the longest accepted name in characters, >= 1.
        alphabet: the accepted characters; None: any.
        column: of a table, the column with the names: its number, from 1 on, or its title; 0: each whole line is a
            name; None: the same, unless the file looks like a table, which is an error.
        encoding: how the file's letters are coded: a name that Python knows, such as "cp1252" or "utf-16".
        bad_lines: "refuse" raises an error for the first line that is not accepted; "skip" leaves such lines out.
        weight: of a table, the column with the names' weights: numbers above 0, as if a name stood so many times in the
            list.
        label: of a table, the column with the names' labels, such as F and M.
        labels: the accepted labels in the order of their numbers; None: those that occur, sorted.

    Raises:
        OSError: no such file, a directory, a pipe or a device, no permission to read it, or no network.
        ValueError: bytes that are not text in `encoding`, control or invisible characters, characters outside
            `alphabet`, a longer name, or no name at all; the message gives the line. Or a table without `column`, a bad
            weight or label, the file changed while it was read, or an argument outside its range.
    """
    if max_length < 1:
        raise ValueError(f"max_length is {max_length}; it must be at least 1 character")
    if lowercase not in (True, False, *LANGUAGES):
        raise ValueError(f"lowercase is {lowercase!r}; give true, false, {', '.join(LANGUAGES)}")
    if bad_lines not in ("refuse", "skip"):
        raise ValueError(f"bad_lines is {bad_lines!r}; give 'refuse' or 'skip'")
    file = names_file(path)
    column = BUNDLED_COLUMN if path is None and column is None else column
    pieces: list[bytes] = []
    characters: set[str] = set()
    names = 0
    changes: Counter[str] = Counter()
    bad = BadLines(bad_lines == "skip")
    table, chunks = _read_table(file, {"column": column, "weight": weight, "label": label}, labels, encoding, bad)
    attributes = AttributeList(table.attributes if table else AttributeColumns())
    for chunk in chunks:
        for cleaned in bad.clean(chunk, lowercase=lowercase, max_length=max_length, alphabet=alphabet):
            pieces.append(cleaned.text.encode())
            characters |= cleaned.characters
            names += cleaned.names
            changes.update(cleaned.changes)
            attributes.add(cleaned.attributes)
    if not characters:
        cause = bad.note or ("it has titles only" if table and table.header else "it is empty or has blank lines only")
        raise ValueError(f"no names in {file}: {cause}; give one name a line")
    changed = [change.format(n) for change, n in changes.items() if n]
    where = table.note if table and path is not None else ""
    note = ", ".join(filter(None, [where, *attributes.notes, *changed, bad.note]))
    alphabet = "".join(sorted(characters))
    of_names = (attributes.weights, attributes.labels, attributes.label_of)
    return Corpus(b"".join(pieces), alphabet, names, str(file), note, *of_names)


def _read_table(
    file: Path, columns: dict[str, int | str | None], labels: Sequence[str] | None, encoding: str, bad: BadLines
) -> tuple[Table | None, Iterator[Chunk]]:
    """Whether the file is a table, and its names, one a line."""
    chunks = text_chunks(file, _CHUNK_BYTES, encoding, replace=bad.skip)
    begin, lines = [], 0
    for chunk in chunks:
        begin.append(chunk)
        lines += chunk.text.count("\n")
        if lines >= SAMPLE:
            break
    table = find_table("".join(chunk.text for chunk in begin), file, **columns)
    if table and labels is not None:
        table = table._replace(attributes=table.attributes._replace(labels=tuple(dict.fromkeys(labels))))
    chunks = itertools.chain(begin, chunks)
    return table, table.names(chunks, bad) if table else chunks
