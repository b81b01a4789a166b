"""What happens to lines that hold no name: the first one is an error, or all of them are skipped and counted."""

from collections.abc import Iterator
from typing import Any

from charlm.data.cleaning import Chunk, Cleaned, clean


class BadLines:
    """The lines of a file that hold no name.

    Args:
        skip: go on without them; else the first one is an error.
    """

    def __init__(self, skip: bool) -> None:
        self.skip = skip
        self._count = 0
        self._first: tuple[int, str] | None = None

    @property
    def note(self) -> str:
        """How many lines were skipped, and why the first one; "" if none was."""
        if self._first is None:
            return ""
        lines = "1 bad line" if self._count == 1 else f"{self._count:,} bad lines"
        return f"{lines} skipped, the first one: line {self._first[0]}: {self._first[1]}"

    def refuse(self, chunk: Chunk, fault: str, lines: int = 1) -> None:
        """Skip the first `lines` lines of a chunk.

        Raises:
            ValueError: bad lines are errors; the message gives the line.
        """
        if not self.skip:
            raise ValueError(f"{chunk.where(0)}: {fault}")
        self._count += lines
        found = (chunk.lines_before + 1, fault.rpartition(";")[0] or fault)  # without what to do about it
        self._first = min(self._first or found, found)  # the rows of a table are refused ahead of the letters

    def clean(self, chunk: Chunk, **options: Any) -> Iterator[Cleaned]:
        """Clean a chunk, in pieces if it has bad lines; the options are those of `clean`.

        Raises:
            ValueError: a line is bad, and bad lines are errors.
        """
        try:
            cleaned = clean(chunk, **options)
        except ValueError as error:
            if not self.skip:
                raise
            lines = chunk.text.split("\n")[:-1]
            if len(lines) == 1:
                self.refuse(chunk, str(error).removeprefix(f"{chunk.where(0)}: "))
                return
            at = len(lines) // 2
            half = "".join(f"{line}\n" for line in lines[:at])
            yield from self.clean(chunk._replace(text=half, attributes=chunk.attributes[:at]), **options)
            rest = Chunk(chunk.file, chunk.lines_before + at, chunk.text[len(half) :], chunk.attributes[at:])
            yield from self.clean(rest, **options)
        else:
            yield cleaned
