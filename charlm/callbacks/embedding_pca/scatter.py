"""Labelled scatter plots of an embedding, as matplotlib Figures without pyplot. Dimension key: V points."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from charlm.callbacks.embedding_pca.components import Components
from charlm.callbacks.embedding_pca.kinds import LETTERS
from charlm.callbacks.shared.fonts import legible, missing_fonts, outlines, printable
from charlm.callbacks.shared.labels import place_labels
from charlm.callbacks.shared.palette import Look, looks_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.path import Path
    from torch import Tensor

_WRITTEN = 120  # up to this many points, labels are written
_INSIDE = 2  # characters of labels that are written inside their markers, if all are that short
_MARKER, _DOT, _SPECK, _WORD = 16.0, 5.0, 2.8, 9.0  # widths of markers and size of words, in typographic points
WIDTH, SIDE, LEFT, TOP = 5.3, 4.5, 0.7, 0.75  # inches: of a picture and its panel, and the margins of the panel
Limits = tuple[tuple[float, float], tuple[float, float]]


def embedding_figure(
    found: Components, labels: Sequence[str], title: str, kinds: Sequence[str] = (), note: str = ""
) -> Figure:
    """Draw the rows of an embedding on two axes.

    Args:
        found: two axes and the points of V rows on them.
        labels: V texts; up to 120 are written, those of one or two characters inside markers, and none over another.
        title: above the panel.
        kinds: V texts, the eight most frequent ones with a colour and a marker each; (): all rows look alike.
        note: a line below the title.
    """
    names = [f"{100 * share:.0f} % of the variance" for share in found.explained]
    figure, markers = panel(labels, kinds, square(found.points), names, title, note)
    markers.move(found.points.numpy())
    return figure


def panel(
    labels: Sequence[str], kinds: Sequence[str], limits: Limits, names: Sequence[str], title: str, note: str
) -> tuple[Figure, Markers]:
    """Prepare a figure of one square panel, and the markers of V points, which are yet to be moved to their places."""
    from matplotlib.figure import Figure

    advice = textwrap.wrap(missing_fonts(labels), 72)
    below = 0.16 * len(advice)
    bottom = below + 0.55 + 0.25 * _legend_lines(_looks(kinds))
    height = bottom + SIDE + TOP - 0.25 * (not note)
    figure = Figure(figsize=(WIDTH, height), dpi=110)
    # fixed margins: a layout engine doubles the time that drawing takes
    place = (LEFT / WIDTH, bottom / height, SIDE / WIDTH, SIDE / height)
    axes = figure.add_axes(place, xlim=limits[0], ylim=limits[1])
    figure.suptitle(title, fontsize=15, y=1 - 0.1 / height, va="top", parse_math=False)
    style: dict[str, Any] = {"va": "top", "ha": "center", "parse_math": False}
    figure.text(0.5, 1 - 0.45 / height, note, fontsize=10.5, **style)
    figure.text(0.5, below / height, "\n".join(advice), fontsize=9, color="#a00000", **style)
    axes.set_xlabel(names[0], fontsize=12)
    axes.set_ylabel(names[1], fontsize=12)
    axes.tick_params(labelsize=10)
    axes.locator_params(nbins=6)
    axes.set_axisbelow(True)
    axes.grid(alpha=0.25)
    add_legend(figure, kinds, below)
    return figure, Markers(axes, labels, kinds)


def square(points: Tensor) -> Limits:
    """Return limits for x and y, of equal length so that the plot shows distances, that hold points (V, 2).

    In a series of pictures they change only when the points have moved far, so that one sees the points move.
    """
    lowest, highest = points.amin(0), points.amax(0)
    extent = float((highest - lowest).max())
    half = 1.1 ** math.ceil(math.log(0.58 * extent, 1.1)) if extent > 0 else 1.0
    x, y = (4 * (lowest + highest) / half).round().div(8).mul(half).tolist()
    return (x - half, x + half), (y - half, y + half)


class Markers:
    """The markers of V points in an Axes, with their labels inside or beside, which move together.

    A marker or label that would cover another one stands aside, with a line to a dot at its point. A label without
    room, one of more than 120, and one that no font can write, leaves the dot alone.
    """

    def __init__(self, axes: Axes, labels: Sequence[str], kinds: Sequence[str]) -> None:
        from matplotlib.collections import LineCollection

        shown = [printable(label) for label in labels]
        texts, family = legible(shown)
        coded = ["U+" in text and text != label for text, label in zip(texts, shown, strict=True)]
        hidden = [len(labels) > _WRITTEN or code for code in coded]
        texts = ["" if hide else text for text, hide in zip(texts, hidden, strict=True)]
        self.axes = axes
        self.inside = max(map(len, texts)) <= _INSIDE
        self.written = np.array([bool(text) for text in texts])
        width = _MARKER * min(1.0, max(0.7, (45 / len(labels)) ** 0.5))  # smaller where there are many
        if self.inside:
            shapes, self.sizes = outlines(texts, family, 0.84 * width, 0.78 * width)
            self.sizes[:] = width
        else:
            shapes, self.sizes = outlines(texts, family, _WORD)
            self.sizes += 1.5
        self.dot = _DOT if any(texts) else _SPECK
        looks = _looks(kinds)
        of_point = [looks[kind] for kind in kinds or [""] * len(labels)]
        markers, colors = [_marker(look) for look in of_point], [look.color for look in of_point]
        inks: Any = [look.ink for look in of_point] if self.inside else "#222222"
        self.leaders = LineCollection([], colors="#777777", linewidths=0.8, zorder=2)
        axes.add_collection(self.leaders, autolim=False)
        self.dots = _add(axes, markers, colors, self.dot, linewidth=0, zorder=2)
        self.signs = []  # what stands aside
        if self.inside:
            self.signs.append(_add(axes, markers, colors, width, edgecolors="white", linewidth=0.7, zorder=3))
        self.signs.append(_add(axes, shapes, inks, 1.0, linewidth=0, zorder=4))
        self.artists = [self.leaders, self.dots, *self.signs]

    def move(self, points: np.ndarray) -> None:
        """Show the points at new places, (V, 2)."""
        to_page = 72 / self.axes.figure.dpi  # from pixels to typographic points
        at = self.axes.transData.transform(points) * to_page
        rows, asides = self.written.nonzero()[0], np.full(at.shape, np.nan)
        gap, clear = (None, 0.0) if self.inside else (self.dot / 2 + 1, self.dot)
        asides[rows] = place_labels(at[rows], self.sizes[rows], self.axes.bbox.get_points() * to_page, gap, clear)
        near = 0 if self.inside else self.sizes / 2 + 2 * self.dot
        moved = (np.abs(asides) > near).any(1)
        places = self.axes.transData.inverted().transform((at + asides) / to_page)
        dotted = moved | np.isnan(asides[:, 0]) | (not self.inside)
        self.dots.set_offsets(np.where(dotted[:, None], points, np.nan))
        for sign in self.signs:
            sign.set_offsets(places)
        self.leaders.set_segments(list(np.stack([points, places], 1)[moved]))


def add_legend(figure: Figure, kinds: Sequence[str], above: float = 0.0) -> None:
    """Name the kinds, if there are any, at the bottom of a figure, `above` inches from it."""
    from matplotlib.lines import Line2D

    looks = _looks(kinds)
    if not (lines := _legend_lines(looks)):
        return
    of_look: dict[Look, list[str]] = {}
    for kind, look in looks.items():
        of_look.setdefault(look, []).append(kind)
    alike = [f"{len(same)} more kinds" if len(same) > 1 else printable(same[0]) for same in of_look.values()]
    names, family = legible(alike)
    names = [f" {name}" if name.startswith("_") else name for name in names]  # matplotlib hides "_name"
    signs = [Line2D([], [], color=look.color, marker=look.marker, ls="", markersize=9) for look in of_look]
    style: dict[str, Any] = {"loc": "lower center", "fontsize": 12, "frameon": False, "borderaxespad": 0.1}
    style |= {"handletextpad": 0.2, "columnspacing": 1.2, "labelspacing": 0.3, "ncols": math.ceil(len(names) / lines)}
    box = (0.5, above / figure.get_figheight())
    for text in figure.legend(signs, names, bbox_to_anchor=box, **style).get_texts():
        text.set_parse_math(False)
        text.set_fontfamily(family)


def _legend_lines(looks: dict[str, Look]) -> int:
    """Lines of a legend that is at most about five inches wide."""
    longest = max(map(len, map(printable, looks)))
    return 0 if set(looks) <= {""} else math.ceil(min(9, len(looks)) / max(1, int(5.2 / (0.5 + 0.11 * longest))))


def _looks(kinds: Sequence[str]) -> dict[str, Look]:
    """How each kind looks: letters always the same."""
    return {k: v for k, v in LETTERS.items() if k in kinds} if kinds and set(kinds) <= set(LETTERS) else looks_of(kinds)


def _add(axes: Axes, paths: Sequence[Path], colors: Any, size: float, **style: Any) -> Any:
    """Add a path for each point, enlarged `size` times, in typographic points."""
    from matplotlib.collections import PathCollection
    from matplotlib.transforms import IdentityTransform

    drawn = PathCollection(paths, sizes=[size**2], facecolors=colors, offset_transform=axes.transData)
    drawn.set(transform=IdentityTransform(), **style)
    axes.add_collection(drawn, autolim=False)
    return drawn


def _marker(look: Look) -> Path:
    from matplotlib.markers import MarkerStyle

    style = MarkerStyle(look.marker)
    return style.get_path().transformed(style.get_transform())
