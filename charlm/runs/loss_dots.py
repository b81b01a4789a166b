"""A picture of the losses of several models, with a line for each. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from charlm.callbacks.shared.fonts import quiet_fonts
from charlm.callbacks.shared.palette import BLUE, VERMILION

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDTH, _HEIGHT, _LINE = 7.0, 1.1, 0.36  # inches: of the figure, and its height without and for each model


@quiet_fonts()
def loss_dots(losses: Mapping[str, float], counted: Collection[str], label: str) -> Figure:
    """Draw a dot and a number for the loss of each model, from top to bottom.

    Args:
        losses: by the name of the model, in nats per character; an infinite one stands at the edge.
        counted: the names of the models that learn by counting.
        label: of the axis.
    """
    from matplotlib.lines import Line2D

    from charlm.callbacks.shared.shown_figure import ShownFigure

    figure = ShownFigure(figsize=(_WIDTH, _HEIGHT + _LINE * len(losses)), dpi=140, layout="constrained")
    axes = figure.subplots()
    finite = [loss for loss in losses.values() if loss < float("inf")]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    span = (high - low) or 0.1
    begin, end = low - 0.25 * span, high + 0.25 * span
    for row, (name, loss) in enumerate(losses.items()):
        color = VERMILION if name in counted else BLUE
        axes.plot([begin, min(loss, high)], [row, row], color="0.85", linewidth=1, zorder=0)
        axes.plot(min(loss, high), row, "o", color=color, markersize=8)
        axes.annotate(f"{loss:.4f}", (min(loss, high), row), xytext=(9, 0), textcoords="offset points", va="center")
    axes.set_xlim(begin, end)
    axes.set_ylim(len(losses) - 0.4, -0.6)
    axes.set_yticks(range(len(losses)), [name.replace("$", r"\$") for name in losses])
    axes.set_xlabel(label)
    axes.grid(axis="x", alpha=0.25)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right"]].set_visible(False)
    kinds = {"by counting": VERMILION, "by gradient descent": BLUE}
    handles = [Line2D([], [], color=color, linewidth=0, marker="o", markersize=8) for color in kinds.values()]
    figure.legend(handles, list(kinds), loc="outside upper center", ncols=2, frameon=False)
    return figure
