"""Tables of names: their column with the names becomes a list with one name a line."""

import csv
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from charlm.data.bad_lines import BadLines
from charlm.data.cleaning import Chunk
from charlm.messages import shortened

SAMPLE = 100
"""Lines from which a table is recognized."""

_DELIMITERS = ("\t", ";", "|", ",")
_BLANKS = (" {2,}", " +")  # a name may have a blank where columns are two blanks apart
_MOST = 0.9  # of a table's lines are rows; the others may be a title or a source
_HALF = 0.5  # the same, where the user says that it is a table
_NUMBER = re.compile(r"[-+]?[\d.,' ]*\d[\d.,' ]*%?")
_TITLE = re.compile(r"(?i)^names?\b|name[s\d]?$")
_CHUNK_ROWS = 4096

Rows = list[list[str]]


class Table(NamedTuple):
    """Where the names stand in a table.

    Args:
        file: the file, for messages.
        delimiter: what separates two cells: a character, or a regular expression for columns of blanks.
        least: the smallest number of cells in a row.
        most: the largest one.
        column: index of the column with the names, from 0 on.
        header: the first row if it has the titles of the columns, else [].
    """

    file: Path
    delimiter: str
    least: int
    most: float
    column: int
    header: list[str]

    @property
    def note(self) -> str:
        """Which column was read, for the user."""
        title = f", {self.header[self.column]!r}; the line of titles is left out" if self.header else ""
        return f"the names are column {self.column + 1}{title}"

    def names(self, chunks: Iterable[Chunk], bad: BadLines) -> Iterator[Chunk]:
        """The cells of the column, one a line, in chunks that know the number of their first line in the file.

        Raises:
            ValueError: a row with more or fewer cells than the table has, a quote that is not closed, or a name of two
                lines, and bad lines are errors; the message gives the line.
        """
        cells: list[str] = []
        begin = 0
        waiting = bool(self.header)
        for lines_before, row in self._rows(chunks, bad):
            if waiting and row == self.header:
                waiting = False
                continue
            if fault := self._fault(row):
                bad.refuse(Chunk(self.file, lines_before, ""), fault)
                continue
            if lines_before != begin + len(cells) or len(cells) == _CHUNK_ROWS:  # rows may have several lines
                yield from _chunk(self.file, begin, cells)
                begin, cells = lines_before, []
            cells.append(row[self.column] if len(row) > self.column else "")
        yield from _chunk(self.file, begin, cells)

    def _fault(self, row: list[str]) -> str:
        """What is wrong with a row; "" of a blank one."""
        if self.least <= len(row) <= self.most:
            return "a row with a name of two lines; correct the row" if "\n" in row[self.column] else ""
        return f"a row of {len(row)} cells, where the table has {self.least} columns" if "".join(row).strip() else ""

    def _rows(self, chunks: Iterable[Chunk], bad: BadLines) -> Iterator[tuple[int, list[str]]]:
        """Every row, with the number of lines before it."""
        lines = (f"{line}\n" for chunk in chunks for line in chunk.text.removesuffix("\n").split("\n"))
        if len(self.delimiter) > 1:
            yield from ((before, re.split(self.delimiter, line.strip())) for before, line in enumerate(lines))
            return
        reader = csv.reader(lines, delimiter=self.delimiter, skipinitialspace=True, strict=True)
        before = 0
        while True:
            try:
                row = next(reader, None)
            except csv.Error as error:
                fault = f"a cell is not quoted as in a table ({error})"
                bad.refuse(Chunk(self.file, before, ""), fault, reader.line_num - before)
            else:
                if row is None:
                    return
                yield before, row
            before = reader.line_num


def find_table(text: str, file: Path, column: int | str | None) -> Table | None:
    """Find the column of a table by the first lines of the file; None if each whole line is a name.

    Args:
        text: the first `SAMPLE` lines of the file, or a few more.
        file: the file, for messages.
        column: number of the column with the names, from 1 on, or its title; 0: each whole line is a name; None: the
            file must be no table.

    Raises:
        ValueError: the file looks like a table and `column` is None, or it has no such column.
    """
    lines = [line for line in text.split("\n") if line.strip()][:SAMPLE]
    if column == 0 or not lines:
        return None
    if column is None:
        if found := _find_rows([line.strip() for line in lines], asked=False):
            if len(lines) == 1:
                raise ValueError(f"{file} has a single line, {shortened(lines[0])}; give one name a line")
            raise ValueError(
                f"{file} looks like a table: its first line is {shortened(lines[0].strip())}. Give the column with the"
                f" names, as in --data.column {_likely(found[1])}, or --data.column 0 if the whole line is a name"
            )
        return None
    found = _find_rows(lines, asked=True)
    if not found and isinstance(column, int):
        raise ValueError(
            f"data.column is {column}, and {file} does not look like a table: its first line is {shortened(lines[0])};"
            " leave the option out"
        )
    delimiter, rows = found or ("\t", _split("\t", lines))
    first = [cell.strip() for cell in rows[0]]
    if isinstance(column, str):
        titles = [title.casefold() for title in first]
        if column.casefold() not in titles:
            raise ValueError(
                f"{file} has no column {column!r}: its first row is {shortened(', '.join(first))}; give one of these"
                " titles in data.column, or the number of the column"
            )
        index, header = titles.index(column.casefold()), rows[0]
    else:
        index, header = column - 1, rows[0] if _is_header(rows) else []
    widths = Counter(map(len, rows))
    width, often = widths.most_common(1)[0]
    least, most = (width, float(width)) if often >= _MOST * len(rows) else (max(2, index + 1), math.inf)
    if not 0 <= index < max(widths):
        raise ValueError(f"data.column is {column}; {file} has columns 1 to {max(widths)}, or 0 for the whole line")
    return Table(file, delimiter, least, most, index, header)


def _find_rows(lines: list[str], asked: bool) -> tuple[str, Rows] | None:
    """The delimiter of a table, and those of its lines that are rows; None if the lines do not look like a table."""
    share = _HALF if asked else _MOST
    enough = share * len(lines)
    for delimiter in _DELIMITERS:
        found = _split(delimiter, lines)  # a row may have several lines
        rows = [row for row in found if len(row) > 1]
        if len(rows) >= share * len(found):
            return delimiter, rows
    delimiter, rows = max(
        ((blanks, _even(_split(blanks, lines))) for blanks in _BLANKS), key=lambda found: len(found[1])
    )
    # names of two words are no table, but a name and a number are
    if len(rows) >= enough and (asked or delimiter == _BLANKS[0] or any(_numeric(rows))):
        return delimiter, rows
    quoted = [line for line in lines if len(line) > 2 and line[0] == line[-1] == '"']
    return (",", _split(",", quoted)) if len(quoted) >= enough else None


def _even(rows: Rows) -> Rows:
    """The rows of the most common length above 1."""
    widths = Counter(len(row) for row in rows if len(row) > 1)
    return [row for row in rows if len(row) == widths.most_common(1)[0][0]] if widths else []


def _split(delimiter: str, lines: list[str]) -> Rows:
    if len(delimiter) > 1:
        return [re.split(delimiter, line.strip()) for line in lines]
    try:
        return list(csv.reader([f"{line}\n" for line in lines], delimiter=delimiter, skipinitialspace=True))
    except csv.Error:  # a cell of more than 131,072 characters
        return [[line] for line in lines]


def _numeric(rows: Rows) -> list[bool]:
    """For each column, whether it has numbers, at least from the second row on."""
    body = rows[1:] or rows
    return [
        sum(bool(_NUMBER.fullmatch(cell.strip())) for cell in column) >= _MOST * len(column)
        for column in zip(*body, strict=False)
    ]


def _is_header(rows: Rows) -> bool:
    """Whether the first row has titles: "name", or words over numbers or over labels that repeat, such as F and M."""
    first, body = rows[0], rows[1:]
    if any(_TITLE.search(cell.strip()) for cell in first):
        return True
    if body and any(n and not _NUMBER.fullmatch(cell.strip()) for n, cell in zip(_numeric(rows), first, strict=False)):
        return True
    columns = zip(first, zip(*body, strict=False), strict=False)
    return len(body) >= 10 and any(
        title not in cells and len(set(cells)) * 5 <= len(cells) and min(Counter(cells).values()) > 1
        for title, cells in columns
    )


def _likely(rows: Rows) -> str:
    """The column that holds the names, as a user would give it."""
    header = rows[0] if _is_header(rows) else []
    named = [title.strip() for title in header if _TITLE.search(title.strip())]
    if named and named[0].isidentifier():
        return named[0]
    columns = zip(_numeric(rows), zip(*rows, strict=False), strict=False)
    distinct = [0 if numeric else len(set(cells)) for numeric, cells in columns]
    return str(distinct.index(max(distinct)) + 1)


def _chunk(file: Path, lines_before: int, cells: list[str]) -> Iterator[Chunk]:
    if cells:
        yield Chunk(file, lines_before, "".join(f"{cell}\n" for cell in cells))
