"""The picture of an embedding. Dimension key: V rows, C columns, k components."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from charlm.callbacks.pca import Components
from charlm.callbacks.scatter import Panel, labelled_scatter

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def embedding_figure(
    table: Tensor, components: Components, labels: Sequence[str], title: str, max_rows: int = 2000
) -> Figure:
    """An embedding by its principal components, the first against each other one, and by its first two columns.

    Args:
        table: (V, C), C >= 2.
        components: its first k >= 2 principal components.
        labels: V texts.
        title: above the panels; how many rows are drawn is added where it is not all of them.
        max_rows: the most rows to draw: a random choice, the same for every table of V rows.
    """
    table = table.detach().to("cpu", torch.float64)
    rows = torch.arange(len(table))
    if len(table) > max_rows:
        rows = torch.randperm(len(table), generator=torch.Generator().manual_seed(0))[:max_rows]
        title += f" ({max_rows} of {len(table)} rows)"
    names = [f"PC{i} ({100 * share:.0f} % of variance)" for i, share in enumerate(components.explained, start=1)]
    panels = [
        Panel("principal components", names[0], names[other], components.points[rows][:, [0, other]])
        for other in range(1, len(names))
    ]
    panels.append(Panel("first two columns", "column 0", "column 1", table[rows, :2]))
    return labelled_scatter(panels, [labels[row] for row in rows.tolist()], title)
