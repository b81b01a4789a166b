"""What a net owes, and what it says of itself. Dimension key: B rows, L positions, T = block_size, V = vocab_size.

A net of windows takes a context int64 (B, T), with T as `block_size`, and gives logits (B, V) for the next character.
A net of whole names says `takes = "names"`, takes int64 (B, L), gives logits (B, L, V), and has
`step(ids, state) -> (logits, state)`, which reads one more character of every name. If it has a `block_size`, that is
the number of its positions.
"""

from torch import nn


def takes_names(net: nn.Module) -> bool:
    """Whether a net takes whole names and gives logits (B, L, V), or windows and gives (B, V)."""
    return getattr(net, "takes", "windows") == "names"


def block_size_of(net: nn.Module) -> int:
    """T, the characters of a window."""
    return int(net.block_size)  # type: ignore[arg-type]  # nn.Module types every attribute as Tensor | Module


def positions_of(net: nn.Module) -> int | None:
    """The characters that a net of whole names has positions for, the boundary before them being one; None: any."""
    return getattr(net, "block_size", None) if takes_names(net) else None


def check_longest(net: nn.Module, longest: int, what: str) -> None:
    """Refuse a name that a net has no positions for.

    Args:
        net: any.
        longest: characters of the longest name.
        what: the name, or where it is, for the message.

    Raises:
        ValueError: it is too long.
    """
    positions = positions_of(net)
    if positions is not None and longest >= positions:
        raise ValueError(
            f"{what} has {longest} characters, and this {type(net).__name__} takes names of at most {positions - 1}"
            f" (block_size {positions}, less one); leave it out, or train with --data.block_size {longest + 1}"
        )
