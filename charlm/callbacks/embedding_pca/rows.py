"""Which rows of an embedding are drawn, and their labels and kinds. Dimension key: V rows."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from charlm.callbacks.embedding_pca.character_kinds import kind_of

_VALUES = 1_600_000  # sample size for the components, in values, unless more rows are drawn


class Rows(NamedTuple):
    """The labelled rows of a table, which are its first ones, and the samples that are computed with and drawn.

    labels: V texts.
    kinds: V texts; None if there are no kinds.
    sample: int64, rising row numbers that the components are computed from.
    drawn: int64, rising positions in `sample` of the rows to draw.
    """

    labels: list[str]
    kinds: list[str] | None
    sample: Tensor
    drawn: Tensor

    def of(self, texts: Sequence[str], rows: Tensor) -> list[str]:
        """The texts of some rows, given by their numbers."""
        return [texts[row] for row in rows.tolist()]


def choose_rows(labels: list[str], kinds: list[str] | None, columns: int, max_rows: int) -> Rows:
    """Sample rows, the same ones for every table of that size, without the global random state.

    Args:
        labels: V texts.
        kinds: V texts; None: vowel, consonant and so on if the labels are letters, else no kinds.
        columns: of the table.
        max_rows: the most rows to draw, which are part of the rows that the components are computed from.
    """
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    drawn = shuffled[:max_rows]
    sample = shuffled[: max(max_rows, _VALUES // max(1, columns))].sort().values
    return Rows(labels, kinds or _kinds_of_letters(labels), sample, torch.searchsorted(sample, drawn.sort().values))


def labels_of(given: list[str] | None, module: Any, rows: int, name: str) -> list[str]:
    """Return the labels of the rows to draw; rows beyond the labels of the module are left out.

    Args:
        given: the user's labels, [] for the row numbers, None for the `embedding_labels` of the module.
        module: a model.
        rows: number of rows in the table.
        name: of the table, for messages.

    Raises:
        ValueError: the number of the user's labels is not `rows`, or the module has more labels than that.
    """
    labels = given
    if labels is None:
        labels = list(getattr(module, "embedding_labels", None) or [])
        if len(labels) > rows:
            raise ValueError(
                f"{type(module).__name__}.embedding_labels has {len(labels)} labels for the {rows} rows of {name};"
                " pass labels for that table to EmbeddingPCA, or [] for the row numbers"
            )
    elif labels and len(labels) != rows:
        raise ValueError(f"EmbeddingPCA has {len(labels)} labels for the {rows} rows of {name}; pass one for each row")
    return [str(label) for label in labels or range(rows)]


def kinds_of(given: list[str] | None, module: Any, labels: list[str], own_labels: bool, name: str) -> list[str] | None:
    """Return the kinds of the labelled rows; None if neither the user nor the module names any.

    Args:
        given: the user's kinds, [] for no kinds, None for the `embedding_kinds` of the module.
        module: a model.
        labels: of the rows to draw.
        own_labels: whether these are the labels of the module; its kinds do not fit other labels.
        name: of the table, for messages.

    Raises:
        ValueError: the number of kinds is not that of the labels.
    """
    if given == []:
        return [""] * len(labels)
    theirs = getattr(module, "embedding_kinds", None) if given is None and own_labels else None
    kinds = [str(kind) for kind in (given if theirs is None else theirs) or []]
    if kinds and len(kinds) != len(labels):
        owner = "EmbeddingPCA" if theirs is None else f"{type(module).__name__}.embedding_kinds"
        raise ValueError(
            f"{owner} has {len(kinds)} kinds for the {len(labels)} labelled rows of {name}; pass one for each row"
        )
    return kinds or None


def _kinds_of_letters(labels: list[str]) -> list[str] | None:
    kinds = [kind_of(label) for label in labels]
    return kinds if {"vowel", "consonant"} <= set(kinds) else None
