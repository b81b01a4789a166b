"""What this package draws, as matplotlib Figures, never through pyplot. Dimension key: V = characters shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from charlm.callbacks.shared.fonts import legible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure
    from torch import Tensor

_CELL = 0.55  # inches, room for a pair of characters over a number
_SHORT = 2  # characters of a label that has room in a cell, and above it
_LARGE = ((10**9, "G"), (10**6, "M"), (10**3, "k"))
_EXTENT = (4.5, 30.0)  # inches of one table: room for its title; a large alphabet within memory


MOST_LABELS = 40
"""Characters up to which a cell of a bigram table has room for its text."""


def character_labels(alphabet: Iterable[str]) -> list[str]:
    """A dot for the boundary, then the characters; a space is an open box, others that would not show are escapes."""
    return [".", *["\N{OPEN BOX}" if ch == " " else repr(ch)[1:-1] if ch.isspace() else ch for ch in alphabet]]


def bigram_heatmap(
    panels: Sequence[tuple[str, Tensor]],
    labels: Sequence[str],
    cell_text: bool,
    written: Sequence[Tensor] | None = None,
) -> Figure:
    """Bigram tables side by side on one colour scale; in each cell the pair of characters and its number.

    Args:
        panels: title and table (V, V) of each panel; row: the character before, column: the one that follows.
        labels: V short texts, one for each character; without a font for it, it is shown by its code point.
        cell_text: write into the cells; for up to about `MOST_LABELS` characters. The pairs are left out where labels
            are long.
        written: the numbers in each panel's cells, (V, V) each, where they are not those of the colours. Whole numbers
            are written as counts, fractions as probabilities with two decimals.

    Source: the picture of the counts in "makemore", part 1, by Andrej Karpathy.
    """
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    texts, family = legible(labels)
    extent = min(max((_CELL if cell_text else 0.2) * len(labels), _EXTENT[0]), _EXTENT[1])
    width, height = (extent + 1.0) * len(panels) + 1.0, extent + 1.5
    # Placed by hand: matplotlib's own layouts would draw every cell twice.
    figure = Figure(figsize=(width, height), dpi=100)
    # The root of the number, since most pairs are rare: on a plain scale they would all be white.
    norm = PowerNorm(0.5, vmin=0, vmax=max(float(table.max()) for _, table in panels))
    numbers = written or [table for _, table in panels]
    for place, (title, table) in enumerate(panels):
        left = 0.8 + place * (extent + 1.0)
        ax = figure.add_axes((left / width, 0.5 / height, extent / width, extent / height))
        image = ax.imshow(table.cpu().numpy(), cmap="Blues", norm=norm)
        _label(ax, title, texts, family, fontsize=8 + extent)
        if cell_text:
            _write_cells(ax, table, numbers[place], texts, family, norm)
    beside = figure.add_axes(((width - 0.9) / width, 0.5 / height, 0.2 / width, extent / height))
    figure.colorbar(image, cax=beside)
    return figure


def _label(ax: Axes, title: str, labels: Sequence[str], family: list[str], fontsize: float) -> None:
    long = max(map(len, labels)) > _SHORT
    ax.set_title(title, fontsize=fontsize, pad=10)
    ax.set_xlabel("the character that follows", fontsize=0.75 * fontsize)
    ax.set_ylabel("the character before", fontsize=0.75 * fontsize)
    ax.set_xticks(range(len(labels)), labels, parse_math=False, family=family, rotation=90 * long)
    ax.set_yticks(range(len(labels)), labels, parse_math=False, family=family)
    size = 7 if long else 12
    ax.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0, labelsize=size)


def _write_cells(
    ax: Axes, table: Tensor, numbers: Tensor, labels: Sequence[str], family: list[str], norm: PowerNorm
) -> None:
    style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 10.5, "family": family, "parse_math": False}
    long = max(map(len, labels)) > _SHORT
    dark = norm(table.cpu().numpy()) > 0.6
    for row, values in enumerate(numbers.tolist()):
        for column, value in enumerate(values):
            pair = "" if long else f"{labels[row]}{labels[column]}\n"
            ax.text(column, row, f"{pair}{_spell(value)}", color="white" if dark[row, column] else "0.15", **style)


def _spell(number: int | float) -> str:
    """A probability with two decimals, or a count, from 10,000 on in thousands or more."""
    if isinstance(number, float):
        return format(number, ".2f").removeprefix("0")
    return next((f"{number / size:.0f}{sign}" for size, sign in _LARGE if number >= 10 * size), str(number))
