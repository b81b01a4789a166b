"""The picture of an embedding. Dimension key: V rows, C columns, k components."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from charlm.callbacks.embedding_pca.components import Components
from charlm.callbacks.embedding_pca.scatter import Panel, labelled_scatter

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def embedding_figure(
    table: Tensor, components: Components, labels: Sequence[str], title: str, kinds: Sequence[str] | None = None
) -> Figure:
    """An embedding by its components, the first against each other one, and by its first two columns.

    Args:
        table: (V, C), C >= 2, the rows to draw.
        components: its first k >= 2 ones, or those of a table that it is part of; the points those of the V rows.
        labels: V texts.
        title: above the panels.
        kinds: V texts; None for rows that are all alike.
    """
    shares = zip(components.names, components.explained, strict=True)
    names = [f"{name} ({100 * share:.0f} % of variance)" for name, share in shares]
    panels = [
        Panel("principal components", names[0], names[other], components.points[:, [0, other]])
        for other in range(1, len(names))
    ]
    panels.append(Panel("first two columns", "column 0", "column 1", table[:, :2].detach().cpu().double()))
    return labelled_scatter(panels, labels, title, kinds)
