"""What a net owes, and what it says of itself. Dimension key: B rows, L positions, T = block_size, V = vocab_size."""

from collections.abc import Mapping
from typing import Any, Literal, Protocol, cast

from torch import Tensor, nn

from charlm.messages import parameters_of


class WindowNet(Protocol):
    """A net that reads windows of T characters; it is an `nn.Module` whose first argument is `vocab_size`."""

    takes: Literal["windows"]
    block_size: int
    """T, characters of context."""

    def forward(self, context: Tensor) -> Tensor:
        """Logits float32 (B, V) for the character after `context`, int64 (B, T), oldest character first."""
        ...


class NameNet(Protocol):
    """A net that reads whole names; it is an `nn.Module` whose first argument is `vocab_size`."""

    takes: Literal["names"]
    block_size: int | None
    """Positions, one more than the characters of the longest name; None: no limit."""

    def forward(self, names: Tensor) -> Tensor:
        """Logits float32 (B, L, V) for the character after each of `names`, int64 (B, L), which begin with token 0."""
        ...

    def step(self, ids: Tensor, state: tuple[Tensor, ...] | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Read one more character of every name, for incremental decoding.

        Args:
            ids: int64 (B,); token 0 in the first call.
            state: as the last call returned it; None in the first call.

        Returns:
            logits: float32 (B, V).
            state: tensors whose dimension 1 is the name, so that names can be selected from it.
        """
        ...


def takes_names(net: nn.Module) -> bool:
    """Whether a net is a `NameNet`; a net that does not say what it takes is a `WindowNet`."""
    return getattr(net, "takes", "windows") == "names"


def block_size_of(net: nn.Module) -> int:
    """T of a `WindowNet`."""
    return cast("WindowNet", net).block_size


def positions_of(net: nn.Module) -> int | None:
    """The positions of a `NameNet`; None for no limit, and for a `WindowNet`."""
    return getattr(net, "block_size", None) if takes_names(net) else None


def net_arguments(kind: type[nn.Module], given: Mapping[str, Any], sizes: dict[str, int]) -> dict[str, Any]:
    """Choose the arguments of a net from those of its model.

    Args:
        kind: the class of the net.
        given: the arguments of the model.
        sizes: "vocab_size" and "n_labels"; the latter is left out if it is 0.

    Raises:
        ValueError: names have labels, and the net takes none.
    """
    known = parameters_of(kind)
    if sizes["n_labels"] and "n_labels" not in known:
        raise ValueError(f"{kind.__name__} takes no labels, as it has no argument n_labels; leave `label` out")
    return {**{name: given[name] for name in known if name in given}, **{key: n for key, n in sizes.items() if n}}


def learns_by_counting(net: nn.Module | None) -> bool:
    """Whether a net is not trained, but learns by its method `count`, which takes batches of examples."""
    return hasattr(net, "count")


def parameter_count(net: nn.Module) -> int:
    """The numbers that a net has learned: weights, and how often each of the longest n-grams occurs."""
    counts = [net.get_buffer(name) for name in getattr(net, "grows", ()) if name.endswith("counts")]
    return sum(weights.numel() for weights in net.parameters()) + sum(map(len, counts))


def check_longest(net: nn.Module, longest: int, what: str) -> None:
    """Refuse a name that is longer than a net has positions for.

    Args:
        net: any net.
        longest: characters of the longest name.
        what: the name, or where it stands, for the message.

    Raises:
        ValueError: the name is too long.
    """
    positions = positions_of(net)
    if positions is not None and longest >= positions:
        raise ValueError(
            f"{what} has {longest} characters, and this {type(net).__name__} takes names of at most {positions - 1}"
            f" (block_size {positions}, less one); leave it out, or train with `block_size` {longest + 1}"
        )
