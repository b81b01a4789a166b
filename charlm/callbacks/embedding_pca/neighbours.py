"""The nearest neighbours of an embedding's rows, as a Markdown table. Dimension key: V rows, C columns, Q queries."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from charlm.callbacks.shared.markdown import cell


def nearest_rows(table: Tensor, queries: int, count: int) -> tuple[Tensor, Tensor]:
    """Find the `count` other rows of `table` (V, C) with the largest cosine similarity to each of its first Q rows.

    The rows are not centred, and a row of zeros has cosine 0 to every other one. Returns row numbers int64 (Q, count),
    nearest first and the first ones of equals, and cosines float32; fewer columns if there are fewer other rows.
    """
    directions = normalize(table.float(), dim=1)
    cosines = (directions[:queries] @ directions.T).clamp(-1, 1).fill_diagonal_(-torch.inf)
    best, rows = cosines.sort(dim=1, descending=True, stable=True)
    return rows[:, : min(count, len(table) - 1)], best[:, : min(count, len(table) - 1)]


def neighbours_text(table: Tensor, labels: Sequence[str], name: str, max_rows: int = 200, count: int = 5) -> str:
    """List the nearest rows of the first rows of a table (V, C) with their cosines, as a Markdown table."""
    shown = min(len(table), max_rows)
    rows, cosines = nearest_rows(table, shown, count)
    text = f"The rows of `{name}` with the largest cosine similarity to each row."
    if shown < len(table):
        text += f" The first {shown} of {len(table)} rows are listed, with their neighbours among all rows."
    head = ["row", "nearest", *(f"{i}." for i in range(2, rows.shape[1] + 1))]
    lines = [text, "", f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]
    for row, (others, similar) in enumerate(zip(rows.tolist(), cosines.tolist(), strict=True)):
        cells = [f"{cell(labels[other])} {cosine:.2f}" for other, cosine in zip(others, similar, strict=True)]
        lines.append(f"| {' | '.join([f'**{cell(labels[row])}**', *cells])} |")
    return "\n".join(lines)
