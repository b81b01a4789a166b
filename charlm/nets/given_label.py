"""A net of names with labels as a net for one label. Dimension key: B rows, L positions, T, V = vocab_size."""

from typing import Any

import torch
from torch import Tensor, nn

from charlm.nets.interface import block_size_of, takes_names
from charlm.tokenizer import BOUNDARY, CharTokenizer


class GivenLabel(nn.Module):
    """A net of names with labels, given one label: names begin with the boundary, as for a net without labels.

    So it is sampled from like any other net, and scores names like any other.

    Args:
        net: a net with `n_labels`.
        label: the id of the label, as `CharTokenizer.start` gives it.
    """

    def __init__(self, net: nn.Module, label: int) -> None:
        super().__init__()
        self.net, self.label = net, label
        self.takes = "names" if takes_names(net) else "windows"
        self.block_size = net.block_size if takes_names(net) else max(1, block_size_of(net) - 1)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits for context int64 (B, T) or names int64 (B, L), both without the place of the label."""
        return self.net(self.labelled(ids))

    def labelled(self, ids: Tensor) -> Tensor:
        """`ids` with the label in its places, int64, as the net with labels reads them."""
        if self.takes == "names":
            return torch.cat([torch.full_like(ids[:, :1], self.label), ids[:, 1:]], dim=1)
        ids = ids.masked_fill(ids == BOUNDARY, self.label)
        if block_size_of(self.net) > 1:
            ids = torch.cat([torch.full_like(ids[:, :1], self.label), ids], dim=1)
        return ids

    def step(self, ids: Tensor, state: tuple[Tensor, ...] | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """As that of a net of names; the first call reads the label in place of token 0."""
        net: Any = self.net
        return net.step(torch.full_like(ids, self.label) if state is None else ids, state)


def check_label_given(net: nn.Module, tokenizer: CharTokenizer) -> None:
    """Refuse a net of names with labels as it is, because it has never seen a name without one.

    Raises:
        ValueError: names have labels, and the net is given none.
    """
    if tokenizer.labels and not isinstance(net, GivenLabel):
        label = tokenizer.labels[0]
        raise ValueError(
            f"names have labels; give the net one of them, as in GivenLabel(net, tokenizer.start({label!r}))"
        )
