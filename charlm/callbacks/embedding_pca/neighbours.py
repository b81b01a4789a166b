"""The nearest neighbours of an embedding's rows, as a table in Markdown. Dimension key: V rows, C columns."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

_CHUNK = 4096  # rows that are compared with at a time


class Neighbours(NamedTuple):
    """The rows nearest to each of Q rows, nearest first: their numbers, int64 (Q, n), and their cosines, float32."""

    rows: Tensor
    cosines: Tensor


def nearest_rows(table: Tensor, queries: Tensor, count: int) -> Neighbours:
    """The `count` other rows with the largest cosine to each row asked for; of equals the first.

    The cosine is that of the rows as they are, not centred, in float32; that of a row of zeros is 0. No more than Q
    times some thousand cosines are held at a time.

    Args:
        table: (V, C).
        queries: int64 (Q,), row numbers.
        count: of neighbours; fewer where the table has fewer other rows.
    """
    asked = torch.nn.functional.normalize(table[queries].float(), dim=1)
    best = torch.empty(len(queries), 0)
    rows = torch.empty(len(queries), 0, dtype=torch.int64)
    for start in range(0, len(table), _CHUNK):
        others = torch.nn.functional.normalize(table[start : start + _CHUNK].float(), dim=1)
        here = torch.arange(start, start + len(others))
        cosines = (asked @ others.T).masked_fill(queries[:, None] == here, -torch.inf)
        best, rows = torch.cat([best, cosines], 1), torch.cat([rows, here.expand_as(cosines)], 1)
        best, order = best.sort(stable=True, dim=1, descending=True)
        best, rows = best[:, : count + 1], rows.gather(1, order[:, : count + 1])
    count = min(count, len(table) - 1)
    return Neighbours(rows[:, :count], best[:, :count].clamp(-1, 1))


def neighbours_text(table: Tensor, labels: Sequence[str], name: str, max_rows: int = 200, count: int = 5) -> str:
    """A line for each row, in Markdown: its label, and those of its nearest rows with their cosines.

    Args:
        table: (V, C), on the CPU.
        labels: V texts; what Markdown or HTML would take for its own is escaped.
        name: of the table.
        max_rows: the most rows to write, the first ones; their neighbours are looked for among all.
        count: of neighbours.
    """
    shown = min(len(table), max_rows)
    found = nearest_rows(table, torch.arange(shown), count)
    text = f"The rows of `{name}` with the largest cosine similarity to each row."
    if shown < len(table):
        text += f" The first {shown} of {len(table)} rows are listed, with their neighbours among all."
    columns = found.rows.shape[1]
    lines = [text, "", f"| row |{' nearest |' if columns else ''}" + "".join(f" {i}. |" for i in range(2, columns + 1))]
    lines.append("| --- |" + " --- |" * columns)
    for row, (others, cosines) in enumerate(zip(found.rows.tolist(), found.cosines.tolist(), strict=True)):
        cells = [f"{cell(labels[other])} {cosine:.2f}" for other, cosine in zip(others, cosines, strict=True)]
        lines.append(f"| {' | '.join([f'**{cell(labels[row])}**', *cells])} |")
    return "\n".join(lines)


def cell(label: str) -> str:
    r"""A label in a cell of a table in Markdown: nothing of it acts, and nothing vanishes.

    Example:
        >>> cell("a|b"), cell(" "), cell("\n")
        ('a&#124;b', '&#39; &#39;', '&#39;&#92;n&#39;')
    """
    plain = label.isprintable() and label == " ".join(label.split()) and label
    return "".join(
        char if char.isalnum() or char == " " or not char.isascii() else f"&#{ord(char)};"
        for char in (label if plain else repr(label))
    )
