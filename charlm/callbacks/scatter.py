"""A labelled scatter plot in several panels, as a matplotlib Figure of its own, never through pyplot."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor

# colours that stay apart for colour-blind readers: Okabe and Ito 2008, Color Universal Design
_LOOKS = {
    "vowel": ("#D55E00", "o"),
    "consonant": ("#0072B2", "s"),
    "boundary": ("#000000", "D"),
    "other": ("#009E73", "h"),
    "": ("#0072B2", "o"),
}
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


def labelled_scatter(panels: Sequence[Panel], labels: Sequence[str], title: str) -> Figure:
    """Points with their labels, in panels side by side; among letters, vowels and consonants are told apart.

    Args:
        panels: at least one, all of the same N >= 1 points.
        labels: N texts; up to 200 are written, those of one or two characters into the markers.
        title: above all panels.
    """
    from matplotlib.figure import Figure

    kinds = [kind_of(label) for label in labels]
    letters = {"vowel", "consonant"} <= set(kinds)
    width, height = 4.4 * len(panels), 4.9 if letters else 4.3  # inches
    figure = Figure(figsize=(width, height), dpi=110)
    # margins by hand: a layout engine doubles the time that drawing takes
    figure.subplots_adjust(0.75 / width, 1.1 / height if letters else 0.13, 1 - 0.15 / width, 1 - 0.7 / height, 0.24)
    figure.suptitle(title, fontsize=15, y=1 - 0.1 / height, va="top", parse_math=False)
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, panel in zip(all_axes, panels, strict=True):
        _frame(axes, panel)
        _draw(axes, panel.points, labels, kinds if letters else [""] * len(labels))
    if letters:
        handles, names = all_axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="lower center", ncols=len(names), fontsize=13, frameon=False)
    return figure


def _frame(axes: Axes, panel: Panel) -> None:
    axes.set_title(panel.title, fontsize=13)
    axes.set_xlabel(panel.x_label, fontsize=13)
    axes.set_ylabel(panel.y_label, fontsize=13, labelpad=2)
    axes.tick_params(labelsize=11)
    axes.locator_params(nbins=6)
    lowest, highest = panel.points.amin(0), panel.points.amax(0)
    half = 0.56 * float((highest - lowest).max()) or 1.0
    x, y = ((lowest + highest) / 2).tolist()
    axes.set(xlim=(x - half, x + half), ylim=(y - half, y + half), aspect="equal")  # distances are what it shows
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)


def _draw(axes: Axes, points: Tensor, labels: Sequence[str], kinds: Sequence[str]) -> None:
    longest = max(map(len, labels))
    inside = len(labels) <= _INSIDE and longest <= 2
    size = 230 if inside else 30 if len(labels) <= _WRITTEN else 8  # square points
    edges: dict[str, Any] = {"edgecolors": "white", "linewidths": 0.8 * inside}
    for kind, (color, marker) in _LOOKS.items():
        rows = [row for row, k in enumerate(kinds) if k == kind]
        if rows:
            x, y = points[rows].T.tolist()
            axes.scatter(x, y, s=size, c=color, marker=marker, alpha=0.85, label=kind, **edges)
    if len(labels) > _WRITTEN:
        return
    style: dict[str, Any] = {"xytext": (3, 3), "fontsize": 10 if len(labels) <= 60 else 7}
    if inside:
        style = {"xytext": (0, 0), "ha": "center", "va": "center", "color": "white", "weight": "bold"}
        style["fontsize"] = 14 if longest == 1 else 10
    for label, point in zip(labels, points.tolist(), strict=True):
        axes.annotate(_printable(label), point, textcoords="offset points", parse_math=False, **style)


def _printable(label: str) -> str:
    visible = label if label.isprintable() and label.strip() else repr(label)
    return visible if len(visible) <= 16 else visible[:15] + "…"
