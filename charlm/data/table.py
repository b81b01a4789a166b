"""Tables of names: their column with the names becomes a list with one name a line."""

import csv
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from charlm.data.attributes import AttributeColumns, Attributes
from charlm.data.bad_lines import BadLines
from charlm.data.cleaning import Chunk

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
        attributes: the columns with the weights and the labels of the names.
    """

    file: Path
    delimiter: str
    least: int
    most: float
    column: int
    header: list[str]
    attributes: AttributeColumns = AttributeColumns()

    @property
    def note(self) -> str:
        """Which column was read, for the user."""
        title = f", {self.header[self.column]!r}; the line of titles is left out" if self.header else ""
        return f"the names are column {self.column + 1}{title}"

    def names(self, chunks: Iterable[Chunk], bad: BadLines) -> Iterator[Chunk]:
        """The cells of the column, one a line, in chunks that know the number of their first line in the file.

        Raises:
            ValueError: a row with more or fewer cells than the table has, a quote that is not closed, a name of two
                lines, or a bad weight or label, and bad lines are errors; the message gives the line.
        """
        cells: list[str] = []
        attributes: list[Attributes] = []
        begin = 0
        waiting = bool(self.header)
        for lines_before, row in self._rows(chunks, bad):
            if waiting and row == self.header:
                waiting = False
                continue
            name = row[self.column] if len(row) > self.column else ""
            try:
                if fault := self._fault(row):
                    raise ValueError(fault)
                of_name = self.attributes.read(row) if name.strip() else Attributes()
            except ValueError as error:
                bad.refuse(Chunk(self.file, lines_before, ""), str(error))
                continue
            if lines_before != begin + len(cells) or len(cells) == _CHUNK_ROWS:  # rows may have several lines
                yield from self._chunk(begin, cells, attributes)
                begin, cells, attributes = lines_before, [], []
            cells.append(name)
            attributes.append(of_name)
        yield from self._chunk(begin, cells, attributes)

    def _chunk(self, lines_before: int, cells: list[str], attributes: list[Attributes]) -> Iterator[Chunk]:
        if cells:
            kept = tuple(attributes) if self.attributes.last >= 0 else ()
            yield Chunk(self.file, lines_before, "".join(f"{cell}\n" for cell in cells), kept)

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
