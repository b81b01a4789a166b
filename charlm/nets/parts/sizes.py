"""What every net asks of its arguments."""


def check_sizes(**sizes: int) -> None:
    """Refuse a size below 1.

    Raises:
        ValueError: one of them is.
    """
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} is {size}; it must be at least 1")


def check_dropout(dropout: float) -> None:
    """Refuse a share of dropped units outside [0, 1).

    Raises:
        ValueError: it is.
    """
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout is {dropout}; give a share from 0 on, below 1")
