"""The nearest neighbours of an embedding's rows, as a Markdown table. Dimension key: V rows, C columns, Q queries."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from charlm.callbacks.shared.markdown import cell

_CHUNK = 32  # queries at a time, which bounds the memory for their cosines to all rows


class Neighbours(NamedTuple):
    """The rows nearest to each of Q rows, nearest first: row numbers int64 (Q, n), cosines float32 (Q, n)."""

    rows: Tensor
    cosines: Tensor


def nearest_rows(table: Tensor, queries: Tensor, count: int) -> Neighbours:
    """Find the `count` other rows with the largest cosine similarity to each query; the first ones of equals.

    The rows are not centred, and a row of zeros has cosine 0 to every other one. Computed in float32.

    Args:
        table: (V, C), any floating type.
        queries: int64 (Q,), row numbers.
        count: of neighbours; a table with fewer other rows gives fewer.
    """
    table, count = table.float(), min(count, len(table) - 1)
    lengths = table.norm(dim=1).clamp(min=1e-12)
    found = []
    for rows in queries.split(_CHUNK):
        cosines = (table[rows] / lengths[rows, None]) @ table.T / lengths
        cosines[torch.arange(len(rows)), rows] = -torch.inf
        best, others = cosines.sort(dim=1, descending=True, stable=True)
        found.append((others[:, :count], best[:, :count].clamp(-1, 1)))
    rows, cosines = (torch.cat(parts) for parts in zip(*found, strict=True))
    return Neighbours(rows, cosines)


def neighbours_text(table: Tensor, labels: Sequence[str], name: str, max_rows: int = 200, count: int = 5) -> str:
    """List the nearest rows of each row with their cosines, as a Markdown table.

    Args:
        table: (V, C), on the CPU.
        labels: V texts, escaped where Markdown or HTML would interpret them.
        name: of the table.
        max_rows: the most rows to list, the first ones; neighbours are searched among all rows.
        count: of neighbours.
    """
    shown = min(len(table), max_rows)
    found = nearest_rows(table, torch.arange(shown), count)
    text = f"The rows of `{name}` with the largest cosine similarity to each row."
    if shown < len(table):
        text += f" The first {shown} of {len(table)} rows are listed, with their neighbours among all rows."
    columns = found.rows.shape[1]
    lines = [text, "", f"| row |{' nearest |' if columns else ''}" + "".join(f" {i}. |" for i in range(2, columns + 1))]
    lines.append("| --- |" + " --- |" * columns)
    for row, (others, cosines) in enumerate(zip(found.rows.tolist(), found.cosines.tolist(), strict=True)):
        cells = [f"{cell(labels[other])} {cosine:.2f}" for other, cosine in zip(others, cosines, strict=True)]
        lines.append(f"| {' | '.join([f'**{cell(labels[row])}**', *cells])} |")
    return "\n".join(lines)
