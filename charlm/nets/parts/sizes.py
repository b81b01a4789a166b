"""Checks of a net's arguments."""


def check_sizes(**sizes: int) -> None:
    """Refuse sizes below 1.

    Raises:
        ValueError: a size is below 1.
    """
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} is {size}; it must be at least 1")


def check_dropout(dropout: float) -> None:
    """Refuse a dropout outside [0, 1).

    Raises:
        ValueError: `dropout` is outside [0, 1).
    """
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout is {dropout}; give a share of 0 or more, below 1")


def check_choice(allowed: tuple[str, ...], **choices: str) -> None:
    """Refuse an argument that is none of the allowed words.

    Raises:
        ValueError: an argument is not in `allowed`.
    """
    for name, choice in choices.items():
        if choice not in allowed:
            words = " or ".join(map(repr, allowed)) if len(allowed) < 3 else f"one of {', '.join(allowed)}"
            raise ValueError(f"{name} is {choice!r}; give {words}")
