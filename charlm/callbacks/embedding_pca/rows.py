"""Which rows of an embedding are looked at, and what they are called. Dimension key: V rows."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from charlm.callbacks.embedding_pca.scatter import kind_of

_VALUES = 1_600_000  # most that the components are computed from, but where that is less than what is drawn


class Rows(NamedTuple):
    """The labelled rows of a table, the first ones, and the samples of them that are computed with and drawn.

    labels: a text for each row.
    kinds: what kind of thing each row is; None where there are none.
    sample: int64, rising: rows that the components are computed from.
    drawn: int64, rising: places in `sample` of the rows to draw.
    """

    labels: list[str]
    kinds: list[str] | None
    sample: Tensor
    drawn: Tensor

    def of_drawn(self, texts: Sequence[str]) -> list[str]:
        """The texts, one for each row, of the rows to draw."""
        return [texts[row] for row in self.sample[self.drawn].tolist()]


def choose_rows(labels: list[str], kinds: list[str] | None, columns: int, max_rows: int) -> Rows:
    """Sample rows, the same for every table of that size, without the global random numbers.

    Args:
        labels: for each row.
        kinds: for each row; None for those of letters, see `charlm.callbacks.embedding_pca.scatter.kind_of`, or none.
        columns: of the table.
        max_rows: the most rows to draw, part of those that the components are computed from.
    """
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    drawn = shuffled[:max_rows]
    sample = shuffled[: max(max_rows, _VALUES // max(1, columns))].sort().values
    return Rows(labels, kinds or _kinds_of_letters(labels), sample, torch.searchsorted(sample, drawn.sort().values))


def labels_of(given: list[str] | None, module: Any, rows: int, name: str) -> list[str]:
    """The labels of the rows to look at; rows without one come last and are left out.

    Args:
        given: the user's own, [] for the row numbers, None for the `embedding_labels` of the module.
        module: a model that may have these.
        rows: of the table.
        name: of the table, for messages.

    Raises:
        ValueError: not as many labels as the table has rows, or more labels of the module's than that.
    """
    labels = given
    if labels is None:
        labels = list(getattr(module, "embedding_labels", None) or [])
        if len(labels) > rows:
            raise ValueError(
                f"{type(module).__name__}.embedding_labels has {len(labels)} labels for the {rows} rows of"
                f" {name}; pass EmbeddingPCA labels of that table's own, or [] for the row numbers"
            )
    elif labels and len(labels) != rows:
        raise ValueError(f"EmbeddingPCA has {len(labels)} labels for the {rows} rows of {name}; give one a row")
    return [str(label) for label in labels or range(rows)]


def kinds_of(given: list[str] | None, module: Any, labels: list[str], own_labels: bool, name: str) -> list[str] | None:
    """The kinds of the labelled rows; None where neither the user nor the module tells them.

    Args:
        given: the user's own, [] for none, None for the `embedding_kinds` of the module.
        module: a model that may have these.
        labels: of the rows to look at.
        own_labels: whether the labels are the module's; if not, its kinds are not theirs.
        name: of the table, for messages.

    Raises:
        ValueError: not as many kinds as labels.
    """
    theirs = getattr(module, "embedding_kinds", None) if given is None and own_labels else None
    kinds = [str(kind) for kind in (given if theirs is None else theirs) or []]
    if given == []:
        return [""] * len(labels)
    if kinds and len(kinds) != len(labels):
        owner = "EmbeddingPCA" if theirs is None else f"{type(module).__name__}.embedding_kinds"
        raise ValueError(
            f"{owner} has {len(kinds)} kinds for the {len(labels)} labelled rows of {name}; give one a row"
        )
    return kinds or None


def _kinds_of_letters(labels: list[str]) -> list[str] | None:
    """Those of letters, if there are vowels and consonants among the labels."""
    kinds = [kind_of(label) for label in labels]
    return kinds if {"vowel", "consonant"} <= set(kinds) else None
