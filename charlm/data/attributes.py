"""The attributes of names: what a table says of each name besides its letters, which is its weight and its label."""

import math
import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from charlm.messages import first_few, shortened
from charlm.tokenizer import LONGEST_NAME, UNPRINTABLE

MOST_LABELS = 1000
"""Different labels that a list may have: a label is something that many names share."""

_WEIGHTS = (1e-30, 1e30)  # float32 holds their sums

_SHOWN = 6  # labels that a note lists
_FORMS = tuple(  # the marks of thousands and of decimals, in English and in most of Europe, and numbers with thousands
    (thousands, point, re.compile(rf"[1-9]\d{{0,2}}([{thousands}'\u2019\s])\d{{3}}(\1\d{{3}})*([{point}]\d*)?"))
    for thousands, point in (",.", ".,")
)


class Attributes(NamedTuple):
    """What a row says of its name.

    Args:
        weight: as if the name stood so many times in the list: the number as an English table has it, 1,000.5, and as
            one with decimal commas has it, 1.000,5; NaN where the cell is no such number.
        label: such as "F"; "" where the list has no labels.
    """

    weight: tuple[float, ...] = (1.0, 1.0)
    label: str = ""


class AttributeColumns(NamedTuple):
    """Where the attributes stand in a table.

    Args:
        weight: index of the column with the weights, from 0 on; None: there is none.
        label: the same for the labels.
        labels: the accepted labels in the order of their numbers; None: any.
        decimal_commas: how weights are read that could be either, such as 1.234.
    """

    weight: int | None = None
    label: int | None = None
    labels: tuple[str, ...] | None = None
    decimal_commas: bool = False

    @property
    def last(self) -> int:
        """The largest index; -1 if there is no column."""
        return max((index for index in (self.weight, self.label) if index is not None), default=-1)

    def read(self, row: list[str]) -> Attributes:
        """Read the attributes of a row.

        Raises:
            ValueError: a weight that is no number from 1e-30 to 1e30, or a label that is empty, long, not printable or
                not accepted.
        """
        weight = (1.0, 1.0) if self.weight is None else _weight(row[self.weight])
        label = "" if self.label is None else _label(row[self.label])
        if label and self.labels is not None and label not in self.labels:
            known = shortened(", ".join(self.labels))
            raise ValueError(f"the label {shortened(label)} is not one of {known}; correct it, or widen `labels`")
        return Attributes(weight, label)


def _weight(cell: str) -> tuple[float, ...]:
    text = cell.strip().removesuffix("%").rstrip()
    weights = tuple(_number(text, *form) for form in _FORMS)
    if all(map(math.isnan, weights)):
        raise ValueError(
            f"the weight is {shortened(cell.strip())}; a weight is a number above 0, from 1e-30 to 1e30; correct the"
            " row or give `bad_lines` skip"
        )
    return weights


def _number(text: str, thousands: str, point: str, grouped_number: re.Pattern[str]) -> float:
    if grouped := grouped_number.fullmatch(text):
        text = text.replace(grouped[1], "")
    try:
        number = math.nan if thousands in text else float(text.replace(point, "."))
    except ValueError:
        number = math.nan
    return number if _WEIGHTS[0] <= number <= _WEIGHTS[1] else math.nan


def _label(cell: str) -> str:
    label = unicodedata.normalize("NFC", cell.strip())
    steering = any(unicodedata.category(ch) in UNPRINTABLE for ch in label)
    if steering or not 0 < len(label) <= LONGEST_NAME:
        raise ValueError(
            f"the label is {shortened(label)}; a label has 1 to {LONGEST_NAME} printable characters, correct the row or"
            " give `bad_lines` skip"
        )
    return label


class AttributeList:
    """The attributes of a whole list, in the order of its names.

    Args:
        columns: the columns with the attributes.
    """

    def __init__(self, columns: AttributeColumns) -> None:
        self.columns = columns
        self._numbers: dict[str, int] = {label: number for number, label in enumerate(columns.labels or ())}
        self._pieces: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, attributes: Sequence[Attributes]) -> None:
        """Add the attributes of the next names.

        Raises:
            ValueError: there are too many different labels.
        """
        weights, labels = zip(*attributes, strict=True) if attributes else ((), ())
        for label in labels:
            self._numbers.setdefault(label, len(self._numbers))
        if len(self._numbers) > MOST_LABELS:
            raise ValueError(
                f"the column `label` has more than {MOST_LABELS:,} different labels; give a column with what many"
                " names share"
            )
        numbers = np.array([self._numbers[label] for label in labels], np.int16)
        self._pieces.append((np.array(weights, "<f8").reshape(-1, len(_FORMS)), numbers))

    @property
    def weights(self) -> np.ndarray | None:
        """float64 (M,), all read in English or all with decimal commas; None for a list without weights.

        Raises:
            ValueError: some have a decimal comma and others a decimal point.
        """
        if self.columns.weight is None:
            return None
        english, commas = self._read_weights
        no_english, no_commas = np.isnan(english), np.isnan(commas)
        if no_english.any() and no_commas.any():
            comma, point = f"{commas[no_english][0]:.15g}".replace(".", ","), f"{english[no_commas][0]:.15g}"
            raise ValueError(
                f"some weights have a decimal comma, as {comma} has, and others a decimal point, as {point} has; write"
                " all of them in the same way"
            )
        undecided = not no_english.any() and not no_commas.any()
        return commas if no_english.any() or (undecided and self.columns.decimal_commas) else english

    @property
    def _read_weights(self) -> np.ndarray:
        """float64 (2, M): in English, and with decimal commas."""
        return np.concatenate([weights for weights, _ in self._pieces]).T

    @property
    def labels(self) -> tuple[str, ...]:
        """The different labels in the order of their numbers; () for a list without labels."""
        if self.columns.label is None:
            return ()
        return self.columns.labels or tuple(sorted(self._numbers))

    @property
    def label_of(self) -> np.ndarray | None:
        """int16 (M,), the number of each name's label; None for a list without labels."""
        if self.columns.label is None:
            return None
        place = {label: number for number, label in enumerate(self.labels)}
        new = np.array([place[label] for label in self._numbers], np.int16)
        return new[np.concatenate([numbers for _, numbers in self._pieces])]

    @property
    def notes(self) -> list[str]:
        """What was read, for the user."""
        weights, label_of, notes = self.weights, self.label_of, []
        if weights is not None:
            english, commas = self._read_weights
            form = ""
            if np.isnan(english).any():
                form = " (with decimal commas)"
            elif not np.isnan(commas).any() and (english != commas).any():
                form = " (read in English: a comma for thousands, a point for decimals)"
                if self.columns.decimal_commas:
                    form = " (read with decimal commas, as in other tables with semicolons)"
            notes = [f"weights from {weights.min():,.10g} to {weights.max():,.10g}{form}"]
        if label_of is not None:
            counts = np.bincount(label_of, minlength=len(self.labels))
            listed = [f"{label} ({count:,})" for label, count in zip(self.labels, counts, strict=True)]
            notes.append(f"labels {first_few(listed, _SHOWN)}")
        return notes
