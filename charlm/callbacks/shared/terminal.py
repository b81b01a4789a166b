"""What a progress bar can be drawn on."""

import os
from io import TextIOBase
from typing import Any


def can_write(stream: Any) -> bool:
    """Whether a stream is there, which a windowed program has not, and is not closed."""
    return stream is not None and not getattr(stream, "closed", False)


def can_redraw(stream: Any) -> bool:
    """Whether a line of a stream can be written over, as on a terminal and in a notebook; not in a file or a pipe."""
    if not can_write(stream):
        return False
    # a stream that a program has made itself may have `write` alone
    is_terminal = getattr(stream, "isatty", bool)() and os.environ.get("TERM") != "dumb"
    return is_terminal or type(stream).__module__.startswith("ipykernel")


class Nowhere(TextIOBase):
    """A stream for a bar that only counts."""

    def write(self, text: str) -> int:
        return len(text)
