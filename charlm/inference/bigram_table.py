"""The course's picture of a bigram as a table of colours, for counts and for a trained net.

Dimension key: V = number of characters in the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from charlm.callbacks.shared.fonts import legible
from charlm.nets.counts import count_pairs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure
    from torch import Tensor

    from charlm.data.splits import Splits
    from charlm.nets.bigram import Bigram
    from charlm.tokenizer import CharTokenizer

_CELL = 0.55  # inches, for a pair of characters above a number
_SHORT = 2  # characters of a label that fits into a cell
_UNITS = ((10**9, "G"), (10**6, "M"), (10**3, "k"))
_EXTENT = (4.5, 30.0)  # inches of one table: at least enough for its title, at most what fits into memory

MOST_LABELS = 40
"""The largest V for which the cells of a table have room for text."""


def character_labels(alphabet: Iterable[str]) -> list[str]:
    """A dot for the boundary, then the characters; a space becomes an open box, other white space an escape."""
    return [".", *["\N{OPEN BOX}" if ch == " " else repr(ch)[1:-1] if ch.isspace() else ch for ch in alphabet]]


def bigram_heatmap(
    panels: Sequence[tuple[str, Tensor]],
    labels: Sequence[str],
    cell_text: bool,
    cell_numbers: Sequence[Tensor] | None = None,
) -> Figure:
    """Draw bigram tables side by side on one colour scale, with the pair of characters and its number in each cell.

    Args:
        panels: title and table (V, V) of each panel; rows are the character before, columns the one that follows.
        labels: V short texts, one for each character; a character that no font has is shown as its sound or
            its code point.
        cell_text: write into the cells, which have room for up to about `MOST_LABELS` characters. Long labels leave no
            room for the pairs.
        cell_numbers: the numbers in each panel's cells, (V, V) each; None: those of the colours. Whole numbers are
            written as counts, fractions as probabilities with two decimals.

    Source: the picture of the counts in "makemore", part 1, by Andrej Karpathy.
    """
    from matplotlib.colors import PowerNorm

    from charlm.callbacks.shared.shown_figure import ShownFigure

    texts, family = legible(labels)
    extent = min(max((_CELL if cell_text else 0.2) * len(labels), _EXTENT[0]), _EXTENT[1])
    width, height = (extent + 1.0) * len(panels) + 1.0, extent + 1.5
    # Fixed positions, because matplotlib's own layouts would draw every cell twice.
    figure = ShownFigure(figsize=(width, height), dpi=100)
    # The square root, because most pairs are rare: on a linear scale they would all be white.
    norm = PowerNorm(0.5, vmin=0, vmax=max(float(table.max()) for _, table in panels))
    numbers = cell_numbers or [table for _, table in panels]
    for panel, (title, table) in enumerate(panels):
        left = 0.8 + panel * (extent + 1.0)
        ax = figure.add_axes((left / width, 0.5 / height, extent / width, extent / height))
        image = ax.imshow(table.cpu().numpy(), cmap="Blues", norm=norm)
        _label(ax, title, texts, family, fontsize=8 + extent)
        if cell_text:
            _write_cells(ax, table, numbers[panel], texts, family, norm)
    scale = figure.add_axes(((width - 0.9) / width, 0.5 / height, 0.2 / width, extent / height))
    figure.colorbar(image, cax=scale)
    return figure


def learned_bigram(net: Bigram, tokenizer: CharTokenizer, splits: Splits | None) -> Figure:
    """Draw the probabilities of a trained bigram, with the counts of its training names in the cells.

    Args:
        net: the bigram.
        tokenizer: its characters.
        splits: the names it was trained on; None: the cells show the probabilities.
    """
    size = tokenizer.vocab_size
    before = torch.arange(len(net.W), device=net.W.device)[:, None]
    learned = net(before).detach().float().softmax(1)[:size, :size]
    title, numbers = "learned probabilities", None
    if splits is not None and size <= MOST_LABELS:
        counts = count_pairs(splits.train, len(net.W))
        title, numbers = "colour: learned probability, number: count in train", [counts[:size, :size]]
    labels = character_labels(tokenizer.alphabet)
    return bigram_heatmap([(title, learned)], labels, size <= MOST_LABELS, numbers)


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
            ax.text(
                column, row, f"{pair}{_number_text(value)}", color="white" if dark[row, column] else "0.15", **style
            )


def _number_text(number: int | float) -> str:
    """A probability or small weight with two decimals, or a count; from 10,000 on in thousands, millions or more."""
    if isinstance(number, float) and number <= 1:
        return format(number, ".2f").removeprefix("0")
    return next((f"{number / size:.0f}{sign}" for size, sign in _UNITS if number >= 10 * size), f"{number:.0f}")
