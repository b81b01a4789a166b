"""What a progress bar can be drawn on."""

import os
from io import TextIOBase
from typing import Any


def can_redraw(stream: Any) -> bool:
    """Whether a line of a stream can be written over, as on a terminal and in a notebook; not in a file or a pipe."""
    if stream is None:  # in a windowed program
        return False
    is_terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
    return is_terminal or type(stream).__module__.startswith("ipykernel")


class Nowhere(TextIOBase):
    """A stream for a bar that only counts."""

    def write(self, text: str) -> int:
        return len(text)
