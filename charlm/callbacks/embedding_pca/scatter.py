"""A labelled scatter plot in several panels, as a matplotlib Figure of its own, never through pyplot."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from charlm.callbacks.shared.fonts import SIGNS, legible, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor


class Look(NamedTuple):
    """How points of a kind are drawn: colour, marker, and the colour of a label inside of the marker."""

    color: str
    marker: str
    ink: str = "white"


# colours that stay apart for colour-blind readers: Okabe and Ito 2008, Color Universal Design
_BLACK = Look("#000000", "D")
_LOOKS = [
    Look("#0072B2", "s"),
    Look("#D55E00", "o"),
    Look("#009E73", "h"),
    Look("#CC79A7", "p", "black"),
    Look("#E69F00", "^", "black"),
    Look("#56B4E9", "v", "black"),
    _BLACK,
    Look("#F0E442", "8", "black"),
]
_OF_LETTERS = {"vowel": _LOOKS[1], "consonant": _LOOKS[0], "boundary": _BLACK, "other": _LOOKS[2]}
_PLAIN = Look("#0072B2", "o")
_REST = Look("#999999", "X", "black")
_VOWELS = set("aeiouæøœə\N{LATIN SMALL LETTER DOTLESS I}")
_WRITTEN = 200  # most points whose labels are written
_INSIDE = 100  # most points whose short labels are written into the markers


class Panel(NamedTuple):
    """One panel: its title, what its axes mean, and the points (N, 2)."""

    title: str
    x_label: str
    y_label: str
    points: Tensor


def kind_of(label: str) -> str:
    """What a label stands for: "vowel", "consonant", "boundary" (".", "·" or "<>") or "other"; accents do not count."""
    if label in {".", "·", "<>"}:
        return "boundary"
    if len(label) != 1 or not label.isalpha() or not unicodedata.name(label, "").startswith("LATIN"):
        return "other"
    base = unicodedata.normalize("NFD", label.lower())[0]
    return "vowel" if base in _VOWELS else "consonant"


def looks_of(kinds: Sequence[str]) -> tuple[list[str], dict[str, Look]]:
    """Kinds as they are drawn: those of letters as ever, others by their frequency; beyond eight, the rest as one.

    Args:
        kinds: for each point; "" throughout for none.

    Returns:
        The kinds, the rest by the name "5 more kinds", and how each of them is drawn.

    Example:
        >>> looks_of(["even", "odd", "odd"])[1]["odd"].color
        '#0072B2'
    """
    counts = Counter(kinds)
    if len(counts) < 2 and "" in counts:
        return list(kinds), {"": _PLAIN}
    if set(counts) <= set(_OF_LETTERS):
        return list(kinds), {kind: look for kind, look in _OF_LETTERS.items() if kind in counts}
    own = [kind for kind, _ in counts.most_common(len(_LOOKS))]
    looks = dict(zip(own, _LOOKS, strict=False))
    if len(counts) == len(own):
        return list(kinds), looks
    rest = f"{len(counts) - len(own)} more kinds"
    return [kind if kind in looks else rest for kind in kinds], {**looks, rest: _REST}


def labelled_scatter(
    panels: Sequence[Panel], labels: Sequence[str], title: str, kinds: Sequence[str] | None = None
) -> Figure:
    """Points with their labels, in panels one above the other, their kinds told apart by colour and by marker.

    Upright, since TensorBoard shows pictures in narrow cards.

    Args:
        panels: at least one, all of the same N >= 1 points.
        labels: N texts; up to 200 are written, those of one or two characters into the markers.
        title: above all panels.
        kinds: N texts, see `looks_of`; None for points that are all alike.
    """
    from matplotlib.figure import Figure

    drawn, looks = looks_of(kinds or [""] * len(labels))
    width, side, between = 4.8, 3.9, 0.95  # inches; `side` of a panel, which is square
    legend = legend_height(looks, width)
    bottom, top = 0.56 + legend, 0.7
    height = bottom + side * len(panels) + between * (len(panels) - 1) + top
    figure = Figure(figsize=(width, height), dpi=110)
    # margins by hand: a layout engine doubles the time that drawing takes
    figure.subplots_adjust(0.75 / width, bottom / height, 1 - 0.15 / width, 1 - top / height, hspace=between / side)
    figure.suptitle(title, fontsize=15, y=1 - 0.1 / height, va="top", parse_math=False)
    all_axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axes, panel in zip(all_axes, panels, strict=True):
        _frame(axes, panel)
        scatter(axes, panel.points, labels, drawn, looks)
    add_legend(figure, all_axes[0], looks)
    return figure


def _legend_columns(looks: dict[str, Look], width: float) -> int:
    """How many kinds stand side by side: as many as surely fit, in lines of about one length; 0 without kinds."""
    if set(looks) <= {""}:
        return 0
    longest = max(map(len, _legend_names(looks)[0]))
    most = max(1, int(width / (0.5 + 0.12 * longest)))  # inches: a marker with its gaps, and 13 points a letter
    return math.ceil(len(looks) / math.ceil(len(looks) / most))


def legend_height(looks: dict[str, Look], width: float) -> float:
    """The inches that `add_legend` needs below a figure of that width; 0 without kinds."""
    columns = _legend_columns(looks, width)
    return 0.25 + 0.28 * math.ceil(len(looks) / columns) if columns else 0.0


def add_legend(figure: Figure, axes: Axes, looks: dict[str, Look]) -> None:
    """The kinds, if there are any, below all panels; `axes` has a scatter plot for each, made by `scatter`."""
    columns = _legend_columns(looks, figure.get_figwidth())
    if not columns:
        return
    groups: Any = axes.collections[: len(looks)]
    names, family = _legend_names(looks)
    style: dict[str, Any] = {"loc": "lower center", "fontsize": 13, "frameon": False, "borderaxespad": 0.1}
    style |= {"handletextpad": 0.2, "columnspacing": 1.2, "labelspacing": 0.3}
    larger = max(1.0, (80 / float(groups[0].get_sizes()[0])) ** 0.5)
    legend = figure.legend(groups, names, ncols=columns, markerscale=larger, **style)
    for text in legend.get_texts():
        text.set_parse_math(False)
        text.set_fontfamily(family)


def _legend_names(looks: dict[str, Look]) -> tuple[list[str], list[str]]:
    """The kinds as they are written, and the fonts for it."""
    names, family = legible([printable(kind) for kind in looks])
    # matplotlib leaves out names that begin with "_"
    return [f" {name}" if name.startswith("_") else name for name in names], family


def square(points: Tensor) -> tuple[tuple[float, float], tuple[float, float]]:
    """Limits for x and y, of one length, that hold points (N, 2) and change only where these have moved far.

    The length is one of a geometric series, 1.2 apart, and the middle a multiple of an eighth of it: in a series of
    pictures points are seen to move, which limits that move along with them would hide.
    """
    lowest, highest = points.amin(0), points.amax(0)
    extent = float((highest - lowest).max())
    half = 1.2 ** math.ceil(math.log(0.59 * extent, 1.2)) if extent > 0 else 1.0
    x, y = (4 * (lowest + highest) / 2 / half).round().div(4).mul(half).tolist()
    return (x - half, x + half), (y - half, y + half)


def _frame(axes: Axes, panel: Panel) -> None:
    axes.set_title(panel.title, fontsize=13)
    axes.set_xlabel(panel.x_label, fontsize=13)
    axes.set_ylabel(panel.y_label, fontsize=13, labelpad=2)
    axes.tick_params(labelsize=11)
    axes.locator_params(nbins=6)
    x_limits, y_limits = square(panel.points)
    axes.set(xlim=x_limits, ylim=y_limits, aspect="equal")  # distances are what it shows
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)


def scatter(
    axes: Axes,
    points: Tensor,
    labels: Sequence[str],
    kinds: Sequence[str],
    looks: dict[str, Look],
    scale: float = 1,
) -> None:
    """Draw points (N, 2), N >= 1, with their labels: a scatter plot for each kind, a text for each label.

    Labels beside the points are written as far as they do not run into each other, the first ones first. A text's gid
    is the number of its point.

    Args:
        axes: to draw in, with its limits.
        points: where.
        labels: N texts.
        kinds: N texts.
        looks: of each kind, see `looks_of`.
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
        weight = "bold" if family == rcParams["font.family"] else "normal"  # of other fonts there may be no bold ones
        style |= {"xytext": (0, 0), "ha": "center", "va": "center", "weight": weight}
        style["fontsize"] = scale * (14 if longest == 1 else 10)
    rows = range(len(texts)) if inside else _apart(axes, points, texts, style["fontsize"])
    for row in rows:
        if inside:
            style["color"] = looks[kinds[row]].ink
            style["xytext"] = (0, 4.5 * scale if texts[row] == SIGNS[" "] else 0)  # which hangs below the line
        place = tuple(points[row].tolist())
        axes.annotate(texts[row], place, gid=str(row), textcoords="offset points", parse_math=False, **style)


def _apart(axes: Axes, points: Tensor, texts: Sequence[str], size: float) -> list[int]:
    """The rows whose texts of that font size, in points, can be written without running into one written before."""
    wide, high = (72 / axes.figure.dpi * pixels for pixels in (axes.bbox.width, axes.bbox.height))
    x, y = points.T.tolist()
    (left, right), (low, top) = axes.get_xlim(), axes.get_ylim()
    written: list[tuple[float, float, float]] = []  # left, right and bottom
    rows = []
    for row, text in enumerate(texts):
        start = (x[row] - left) / (right - left) * wide
        base = (y[row] - low) / (top - low) * high
        end = start + 0.62 * size * len(text)
        if all(end < a or b < start or abs(base - c) > size for a, b, c in written):
            written.append((start, end, base))
            rows.append(row)
    return rows
