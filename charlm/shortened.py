"""Alphabets in messages. Needs no torch."""

_SHOWN = 40  # characters


def shortened(alphabet: str) -> str:
    """An alphabet for a message: its first 40 characters, and how many it has where there are more."""
    return repr(alphabet) if len(alphabet) <= _SHOWN else f"{alphabet[:_SHOWN]!r}... ({len(alphabet)} characters)"
