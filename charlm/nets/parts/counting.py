"""Tables of sorted keys, which the n-grams are counted in. V = vocab_size."""

import torch
from torch import Tensor

_MOST_KEYS = 1 << 62
_FALLBACK = 0.75  # the discount where too few n-grams are there to estimate it


def find(table: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """The place of each key in a sorted table, and whether it is there."""
    place = torch.searchsorted(table, keys).clamp_(max=len(table) - 1)
    return place, table[place] == keys


def between(first: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    """All whole numbers from each of `first` on, below its `end`; before them, the rows that they belong to."""
    lengths = end - first
    row = torch.repeat_interleave(lengths)
    return row, torch.arange(len(row), device=row.device) + (first - lengths.cumsum(0) + lengths)[row]


def merged(rows: Tensor, numbers: list[Tensor], vocab_size: int) -> tuple[Tensor, list[Tensor]]:
    """The different rows of ids, in order, and for each the sums of its numbers, such as counts."""
    key, size = torch.zeros_like(numbers[0]), 1
    for column in rows.unbind(1):
        if size > _MOST_KEYS // vocab_size:  # number the beginnings of the rows, so that a key fits into 64 bits
            beginnings, key = key.unique(return_inverse=True)
            size = len(beginnings)
        key, size = key * vocab_size + column, size * vocab_size
    different, place = key.unique(return_inverse=True)
    one_of = torch.empty_like(different).scatter_(0, place, torch.arange(len(rows), device=place.device))
    return rows[one_of], [each.new_zeros(len(different)).index_add_(0, place, each) for each in numbers]


def discounts(counts: Tensor) -> Tensor:
    """D for each n-gram of one length, float64 (S,), from their counts, int64 (S,)."""
    n = [int((counts == j).sum()) for j in range(5)]
    D = [0.0]
    for j in (1, 2, 3):
        estimate = j - (j + 1) * n[1] / (n[1] + 2 * n[2]) * n[j + 1] / n[j] if n[1] and n[j] else 0
        D.append(estimate if 0 < estimate < j else _FALLBACK)
    return torch.tensor(D, dtype=torch.float64, device=counts.device)[counts.clamp(max=3)]
