"""Small tables as text, Markdown or CSV."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from charlm.cli.terminal_text import cut, display_width, is_combining, padded
from charlm.messages import visible

Cell = str | int | float | None
Format = Literal["text", "markdown", "csv"]
_LARGE = 1e6  # from where a number with four decimals takes the room of other columns
_BEGINS_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Table:
    """Columns with names.

    Args:
        header: name of each column.
        rows: a cell for each column, None where the value is not known.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]


def render(table: Table, format: Format = "text", width: int | None = None, widths: list[int] | None = None) -> str:
    """Write a table with four decimals, commas between thousands, numbers to the right and "-" for unknown values.

    Text is aligned for a terminal, which shows wide characters in two cells and combining marks in none. CSV has plain
    numbers, and empty cells for unknown values.

    Args:
        table: what to write.
        format: "text", "markdown" or "csv".
        width: for text, the columns of the terminal. A wider table gets narrower gaps, then shorter first cells.
        widths: for text, the least width of each column; takes up the widths of this table, for the next part of a long
            one.

    Returns:
        The lines, without a line break at the end.
    """
    if format == "csv":
        lines = io.StringIO()
        cells = [[no_formula(c) if isinstance(c, str) else _text(c, "", "") for c in row] for row in table.rows]
        csv.writer(lines, lineterminator="\n").writerows([table.header, *cells])
        return lines.getvalue().rstrip("\n")
    rows = [list(table.header), *[[_text(cell, "-") for cell in row] for row in table.rows]]
    columns = list(zip(*table.rows, strict=True)) or [()] * len(table.header)
    numeric = [all(not isinstance(cell, str) for cell in column) for column in columns]
    if format == "markdown":
        rows = [[cell.replace("|", "\\|") for cell in row] for row in rows]
        rows.insert(1, ["---:" if right else "---" for right in numeric])
        return "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return _aligned(rows, numeric, width, widths if widths is not None else [])


def no_formula(cell: str) -> str:
    """A text for CSV; one that a spreadsheet would run as a formula gets an apostrophe before it.

    Example:
        >>> no_formula("=1+2"), no_formula("-")
        ("'=1+2", '-')
    """
    return f"'{cell}" if len(cell) > 1 and cell.startswith(_BEGINS_FORMULA) else cell


def _aligned(rows: list[list[str]], numeric: list[bool], width: int | None, widths: list[int]) -> str:
    needed = [max(map(display_width, column)) for column in zip(*rows, strict=True)]
    widths[:] = map(max, needed, widths or needed)
    gap = "  "
    if width is not None and sum(widths) + 2 * (len(widths) - 1) > width:
        gap = " "
        widths[0] = max(min(widths[0], width - sum(widths[1:]) - len(widths) + 1), 4)
        rows = [[_shortened(row[0], widths[0]), *row[1:]] for row in rows]
    lines = (
        gap.join(padded(cell, w, right=right) for cell, w, right in zip(row, widths, numeric, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def _shortened(text: str, width: int) -> str:
    """The end of a path, since runs differ there; of a long name that begins with its number, the beginning."""
    if display_width(text) <= width:
        return text
    name = text.rstrip("/").rpartition("/")[2]
    if name[:1].isdigit() and display_width(name) > width - 2:
        return cut(name, width)
    while display_width(text) > width - 2 or is_combining(text[0]):
        text = text[1:]
    return f"..{text}"


def _text(cell: Cell, unknown: str, thousands: str = ",") -> str:
    if isinstance(cell, int | float):
        return f"{cell:{'.4f' if abs(cell) < _LARGE else '.4e'}}" if isinstance(cell, float) else f"{cell:{thousands}}"
    return unknown if cell is None else visible(cell).replace("\n", r"\n").replace("\t", r"\t")
