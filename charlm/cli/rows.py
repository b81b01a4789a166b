"""Rows that are written as soon as they are known: to the terminal or to a file, as text, JSON or CSV."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from charlm.cli.out_file import out_stream
from charlm.cli.table import Cell, Table, render

RowFormat = Literal["text", "json", "csv"]


def encoded(header: Sequence[str], rows: Sequence[Sequence[Cell]], format: RowFormat, *, first: bool) -> str:
    r"""The lines of some rows.

    Args:
        header: name of each column.
        rows: a cell for each column, None where the value is not known.
        format: "text": cells between tabs, without the header; "json": an object a line; "csv".
        first: whether these are the first rows.

    Example:
        >>> encoded(("name", "nats"), [("emma", 9.5)], "json", first=True)
        '{"name": "emma", "nats": 9.5}\n'
    """
    if format == "json":
        objects = [dict(zip(header, row, strict=True)) for row in rows]
        return "".join(f"{json.dumps(row, ensure_ascii=False, allow_nan=False)}\n" for row in objects)
    if format == "csv":
        lines = render(Table(header, rows), "csv") + "\n"
        return lines if first else lines.partition("\n")[2]
    return "".join("\t".join(map(_text, row)) + "\n" for row in rows)


def _text(cell: Cell) -> str:
    return "-" if cell is None else f"{cell:z.2f}" if isinstance(cell, float) else str(cell)


@contextmanager
def written(out: str | None) -> Iterator[Callable[[str], object]]:
    """Give a function that writes text to standard output at once, or to a file that is put in place at the end.

    Raises:
        OSError: the file cannot be written.
    """
    if out is None:
        yield lambda text: print(text, end="", flush=True)
        return
    with out_stream(out) as stream:
        yield lambda text: stream.write(text.encode())
    print(f"Written to {out}", file=sys.stderr)
