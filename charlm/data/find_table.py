"""Tell a table by its first lines, and find its columns."""

import csv
import math
import re
from collections import Counter
from pathlib import Path

from charlm.data.attributes import AttributeColumns
from charlm.data.table import Rows, Table
from charlm.messages import shortened

SAMPLE = 100
"""Lines from which a table is recognized."""

_DELIMITERS = ("\t", ";", "|", ",")
_BLANKS = (" {2,}", " +")  # a name may have a blank where columns are two blanks apart
_MOST = 0.9  # of a table's lines are rows; the others may be a title or a source
_HALF = 0.5  # the same, where the user says that it is a table
_NUMBER = re.compile(r"[-+]?[\d.,' ]*\d[\d.,' ]*%?")
_QUOTED = re.compile(r'"([^"]|"")+"')  # one cell, as in a table of one column
_TITLE = re.compile(r"(?i)^names?\b|name[s\d]?$")


def find_table(
    text: str,
    file: Path,
    column: int | str | None,
    weight: int | str | None = None,
    label: int | str | None = None,
) -> Table | None:
    """Find the column of a table by the first lines of the file; None if each whole line is a name.

    Args:
        text: the first `SAMPLE` lines of the file, or a few more.
        file: the file, for messages.
        column: number of the column with the names, from 1 on, or its title; 0: each whole line is a name; None: the
            file must be no table.
        weight: the column with the weights, likewise from 1 on; None: there are none.
        label: the column with the labels.

    Raises:
        ValueError: the file looks like a table and `column` is None, or it has no such column.
    """
    given = {name: asked for name, asked in (("weight", weight), ("label", label)) if asked is not None}
    lines = [line for line in text.split("\n") if line.strip()][:SAMPLE]
    if given and column == 0:
        raise ValueError(f"`{min(given)}` is a column of a table; give the column with the names in `column`")
    if column == 0 or not lines:
        return None
    if column is None:
        if found := _find_rows([line.strip() for line in lines], asked=False):
            if len(lines) == 1:
                raise ValueError(f"{file} has a single line, {shortened(lines[0])}; give one name a line")
            raise ValueError(
                f"{file} looks like a table: its first line is {shortened(lines[0].strip())}. Give the column with the"
                f" names, as in `column` {_likely(found[1])}, or `column` 0 if the whole line is a name"
            )
        if given:
            raise ValueError(f"`{min(given)}` is a column of a table, but {file} is no table; leave it out")
        return None
    found = _find_rows(lines, asked=True)
    if not found and isinstance(column, int):
        raise ValueError(
            f"`column` is {column}, and {file} does not look like a table: its first line is"
            f" {shortened(lines[0])}; leave the option out"
        )
    delimiter, rows = found or ("\t", _split("\t", lines))
    asked = {"column": column, **given}
    is_titled = any(isinstance(title, str) for title in asked.values()) or _is_header(rows)
    at = {name: _index(rows, file, name, given) for name, given in asked.items()}
    spreadsheet = delimiter == ";"  # which writes semicolons where the comma is the decimal mark
    attributes = AttributeColumns(at.get("weight"), at.get("label"), decimal_commas=spreadsheet)
    widths = Counter(map(len, rows))
    width, often = widths.most_common(1)[0]
    needed = max(at["column"], attributes.last) + 1
    is_even = often >= _MOST * len(rows) and width >= needed
    least, most = (width, float(width)) if is_even else (max(2, needed), math.inf)
    return Table(file, delimiter, least, most, at["column"], rows[0] if is_titled else [], attributes)


def _index(rows: Rows, file: Path, option: str, given: int | str) -> int:
    """The index of a column that is given by its number, from 1 on, or by its title."""
    if isinstance(given, str):
        first = [cell.strip() for cell in rows[0]]
        titles = [title.casefold() for title in first]
        if given.casefold() not in titles:
            raise ValueError(
                f"{file} has no column {given!r}: its first row is {shortened(', '.join(first))}; give one of these"
                f" titles in `{option}`, or the number of the column"
            )
        return titles.index(given.casefold())
    most = max(map(len, rows))
    if not 1 <= given <= most:
        whole = ", or 0 for the whole line" if option == "column" else ""
        raise ValueError(f"`{option}` is {given}; {file} has columns 1 to {most}{whole}")
    return given - 1


def _find_rows(lines: list[str], asked: bool) -> tuple[str, Rows] | None:
    """The delimiter of a table, and those of its lines that are rows; None if the lines do not look like a table."""
    share = _HALF if asked else _MOST
    enough = share * len(lines)
    tables = [(delimiter, _split(delimiter, lines)) for delimiter in _DELIMITERS]  # a row may have several lines
    tables = [(delimiter, rows) for delimiter, rows in tables if sum(len(row) > 1 for row in rows) >= share * len(rows)]
    if tables:  # cells may hold the other delimiters, as in "Paris; France", but the line of titles seldom does
        delimiter, rows = max(tables, key=lambda table: len(_even(_whole(table[1]))) / len(table[1]))
        return delimiter, [row for row in rows if len(row) > 1]
    quoted = [line for line in lines if _QUOTED.fullmatch(line.strip())]
    if len(quoted) >= enough:
        return ",", _split(",", quoted)
    delimiter, rows = max(
        ((blanks, _even(_split(blanks, lines))) for blanks in _BLANKS), key=lambda found: len(found[1])
    )
    # names of two words are no table, but a name and a number are
    if len(rows) >= enough and (asked or delimiter == _BLANKS[0] or any(_numeric(rows))):
        return delimiter, rows
    return None


def _even(rows: Rows) -> Rows:
    """The rows of the most common length above 1."""
    widths = Counter(len(row) for row in rows if len(row) > 1)
    return [row for row in rows if len(row) == widths.most_common(1)[0][0]] if widths else []


def _whole(rows: Rows) -> Rows:
    """The rows that were not cut within quotes."""
    return [row for row in rows if not any(cell.count('"') % 2 for cell in row)]


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
