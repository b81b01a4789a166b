"""Labelled scatter plots of an embedding, as matplotlib Figures without pyplot.

Dimension key: V rows, C columns, k components, N points.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from charlm.callbacks.embedding_pca.character_kinds import Look, looks_of
from charlm.callbacks.embedding_pca.components import Components
from charlm.callbacks.shared.fonts import SIGNS, legible, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor

_WRITTEN = 200  # up to this many points, labels are written
_INSIDE = 100  # up to this many points, short labels are written inside the markers


class Panel(NamedTuple):
    """One panel: its title, what its axes mean, and the points (N, 2)."""

    title: str
    x_label: str
    y_label: str
    points: Tensor


class Legend(NamedTuple):
    """The kinds below all panels: their names, the font families for them, the number of columns, height in inches."""

    names: list[str]
    family: list[str]
    columns: int
    height: float


def embedding_figure(
    table: Tensor, components: Components, labels: Sequence[str], title: str, kinds: Sequence[str] | None = None
) -> Figure:
    """Draw the rows of an embedding by its first component against each other one, and by its first two columns.

    Args:
        table: (V, C), C >= 2.
        components: k >= 2 components with the points of these V rows.
        labels: V texts; up to 200 are written, those of one or two characters inside the markers.
        title: above the panels.
        kinds: V texts, see `charlm.callbacks.embedding_pca.character_kinds.looks_of`; None: all rows look alike.
    """
    shares = zip(components.names, components.explained, strict=True)
    names = [f"{name} ({100 * share:.0f} % of variance)" for name, share in shares]
    panels = [
        Panel("principal components", names[0], names[other], components.points[:, [0, other]])
        for other in range(1, len(names))
    ]
    panels.append(Panel("first two columns", "column 0", "column 1", table[:, :2].detach().cpu().double()))
    return labelled_scatter(panels, labels, title, kinds)


def labelled_scatter(
    panels: Sequence[Panel], labels: Sequence[str], title: str, kinds: Sequence[str] | None = None
) -> Figure:
    """Draw the same N >= 1 labelled points in panels one above the other, as TensorBoard's narrow cards need it.

    Args:
        panels: at least one.
        labels: N texts.
        title: above all panels.
        kinds: N texts; None: all points look alike.
    """
    from matplotlib.figure import Figure

    drawn, looks = looks_of(kinds or [""] * len(labels))
    width, side, between = 4.8, 3.9, 0.95  # inches; `side` of a panel, which is square
    legend = legend_for(looks, width)
    bottom, top = 0.56 + legend.height, 0.7
    height = bottom + side * len(panels) + between * (len(panels) - 1) + top
    figure = Figure(figsize=(width, height), dpi=110)
    # fixed margins: a layout engine doubles the time that drawing takes
    figure.subplots_adjust(0.75 / width, bottom / height, 1 - 0.15 / width, 1 - top / height, hspace=between / side)
    figure.suptitle(title, fontsize=15, y=1 - 0.1 / height, va="top", parse_math=False)
    all_axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axes, panel in zip(all_axes, panels, strict=True):
        axes.set_title(panel.title, fontsize=13)
        axes.set_xlabel(panel.x_label, fontsize=13)
        axes.set_ylabel(panel.y_label, fontsize=13, labelpad=2)
        axes.tick_params(labelsize=11)
        axes.locator_params(nbins=6)
        x_limits, y_limits = square(panel.points)
        axes.set(xlim=x_limits, ylim=y_limits, aspect="equal", axisbelow=True)  # equal: the plot shows distances
        axes.grid(alpha=0.25)
        scatter(axes, panel.points, labels, drawn, looks)
    add_legend(figure, all_axes[0], legend)
    return figure


def legend_for(looks: dict[str, Look], width: float) -> Legend:
    """Lay out a legend in lines of about equal length for a figure of `width` inches; empty without kinds."""
    if set(looks) <= {""}:
        return Legend([], [], 0, 0.0)
    names, family = legible([printable(kind) for kind in looks])
    names = [f" {name}" if name.startswith("_") else name for name in names]  # matplotlib hides names that begin with _
    most = max(1, int(width / (0.5 + 0.12 * max(map(len, names)))))  # inches: marker and gaps, 13 points a letter
    columns = math.ceil(len(names) / math.ceil(len(names) / most))
    return Legend(names, family, columns, 0.25 + 0.28 * math.ceil(len(names) / columns))


def add_legend(figure: Figure, axes: Axes, legend: Legend) -> None:
    """Add the legend of `axes`, whose first collections are those of `scatter`, at the bottom of the figure."""
    if not legend.names:
        return
    groups: Any = axes.collections[: len(legend.names)]
    style: dict[str, Any] = {"loc": "lower center", "fontsize": 13, "frameon": False, "borderaxespad": 0.1}
    style |= {"handletextpad": 0.2, "columnspacing": 1.2, "labelspacing": 0.3}
    larger = max(1.0, (80 / float(groups[0].get_sizes()[0])) ** 0.5)
    for text in figure.legend(groups, legend.names, ncols=legend.columns, markerscale=larger, **style).get_texts():
        text.set_parse_math(False)
        text.set_fontfamily(legend.family)


def square(points: Tensor) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return limits for x and y, of equal length, that hold points (N, 2).

    In a series of pictures the limits change only when the points have moved far, so that one sees the points move:
    the length is one of a geometric series with ratio 1.2, and the centre is a multiple of an eighth of the length.
    """
    lowest, highest = points.amin(0), points.amax(0)
    extent = float((highest - lowest).max())
    half = 1.2 ** math.ceil(math.log(0.59 * extent, 1.2)) if extent > 0 else 1.0
    x, y = (4 * (lowest + highest) / 2 / half).round().div(4).mul(half).tolist()
    return (x - half, x + half), (y - half, y + half)


def scatter(
    axes: Axes,
    points: Tensor,
    labels: Sequence[str],
    kinds: Sequence[str],
    looks: dict[str, Look],
    scale: float = 1,
) -> None:
    """Draw points (N, 2), N >= 1, a scatter plot for each kind, and a text for each label.

    A label beside its point is left out if it would run into an earlier one. The gid of a text is the number of its
    point.

    Args:
        axes: to draw in, with limits.
        points: float (N, 2).
        labels: N texts.
        kinds: N texts.
        looks: of each kind.
        scale: of markers and letters.
    """
    from matplotlib import rcParams

    texts, family = legible([printable(label) for label in labels])
    longest = max(map(len, texts))
    inside = len(labels) <= _INSIDE and longest <= 2
    size = 230 if inside else 30 if len(labels) <= _WRITTEN else 8  # square points
    edges: dict[str, Any] = {"edgecolors": "white", "linewidths": 0.8 * inside}
    for kind, look in looks.items():
        x, y = points[[row for row, k in enumerate(kinds) if k == kind]].T.tolist()
        axes.scatter(x, y, s=size * scale**2, c=look.color, marker=look.marker, alpha=0.85, label=kind, **edges)
    if len(labels) > _WRITTEN:
        return
    style: dict[str, Any] = {"family": family, "xytext": (3, 3), "fontsize": scale * (10 if len(labels) <= 60 else 7)}
    if inside:
        weight = "bold" if family == rcParams["font.family"] else "normal"  # other fonts may lack a bold face
        style |= {"ha": "center", "va": "center", "weight": weight, "fontsize": scale * (14 if longest == 1 else 10)}
    for row in range(len(texts)) if inside else _apart(axes, points, texts, style["fontsize"]):
        if inside:
            style["color"] = looks[kinds[row]].ink
            style["xytext"] = (0, 4.5 * scale if texts[row] == SIGNS[" "] else 0)  # this sign hangs below the line
        place = tuple(points[row].tolist())
        axes.annotate(texts[row], place, gid=str(row), textcoords="offset points", parse_math=False, **style)


def _apart(axes: Axes, points: Tensor, texts: Sequence[str], size: float) -> list[int]:
    """Choose rows, the first ones first, whose texts in a font of `size` points do not run into each other."""
    wide, high = (72 / axes.figure.dpi * pixels for pixels in (axes.bbox.width, axes.bbox.height))
    x, y = points.T.tolist()
    (left, right), (low, top) = axes.get_xlim(), axes.get_ylim()
    written: list[tuple[float, float, float]] = []  # start, end and base of each text
    rows = []
    for row, text in enumerate(texts):
        start, base = (x[row] - left) / (right - left) * wide, (y[row] - low) / (top - low) * high
        end = start + 0.62 * size * len(text)
        if all(end < a or b < start or abs(base - c) > size for a, b, c in written):
            written.append((start, end, base))
            rows.append(row)
    return rows
