"""A table at steps spread evenly over a training of unknown length. Dimension key: F frames, V rows, C columns."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

_BYTES = 64_000_000  # the most that the frames of a table take
_STATE_BYTES = 4_000_000  # the most that they take in a checkpoint
_LEAST_ROWS = 200  # rows that are kept even if that leaves fewer frames


class Frames:
    """Keep the table of every n-th step; beyond twice the frames wanted, drop every second one and double n.

    Args:
        wanted: frames to keep at least, once there are as many steps; 0: none.
        rows: number of rows in the table.
        columns: number of columns in the table.
        max_rows: the most rows to keep, a random sample that is the same for every table of that size; fewer if
            that many took more than 64 MB.
        kept_here: whether this process keeps the tables; another one only counts the steps, so that all processes
            agree on the next one.
    """

    def __init__(self, wanted: int, rows: int, columns: int, max_rows: int, kept_here: bool = True) -> None:
        row_bytes = 4 * max(1, columns)
        most_rows = min(max_rows, max(_LEAST_ROWS, _BYTES // (2 * max(1, wanted) * row_bytes)))
        self.rows = torch.randperm(rows, generator=torch.Generator().manual_seed(0))[:most_rows].sort().values
        self.most = max(2, min(2 * wanted, _BYTES // max(1, len(self.rows) * row_bytes))) if wanted else 0
        self.of_rows = rows
        self.columns = columns
        self.kept_here = kept_here
        self.every = 1
        self.steps: list[int] = []
        self.tables: list[Tensor] = []  # float32 (V, C) each, the rows kept

    @property
    def due(self) -> float:
        """The step from which on the next frame is to be added; infinite if none is."""
        if not self.most:
            return float("inf")
        return self.steps[-1] + self.every if self.steps else 0

    def add(self, step: int, table: Tensor, last: bool = False) -> None:
        """Keep a table as the frame of `step`, unless that step has one; the `last` one does not count to the limit.

        Raises:
            ValueError: the table has fewer rows than the first one, or another number of columns.
        """
        if not self.most or (self.steps and step <= self.steps[-1]):
            return
        if len(table) < self.of_rows or table.shape[1:] != (self.columns,):
            raise ValueError(
                f"a table of {tuple(table.shape)} cannot follow one of {self.of_rows} labelled rows and"
                f" {self.columns} columns; the frames end at step {self.steps[-1] if self.steps else 0}"
            )
        kept = table[self.rows.to(table.device)].to("cpu", torch.float32) if self.kept_here else torch.empty(0)
        self.steps.append(step)
        self.tables.append(kept)
        if len(self.steps) > self.most and not last:
            del self.steps[1::2], self.tables[1::2]
            self.every *= 2

    def chosen(self, count: int) -> tuple[list[int], Tensor]:
        """Steps and tables (F, V, C) of at most `count` >= 2 finite frames, the first and the last among them."""
        finite = [frame for frame, table in enumerate(self.tables) if table.isfinite().all()]
        if len(finite) > count:
            finite = [finite[round(i * (len(finite) - 1) / (count - 1))] for i in range(count)]
        tables = [self.tables[frame] for frame in finite]
        return [self.steps[frame] for frame in finite], torch.stack(tables) if tables else torch.empty(0, 0, 0)

    def npz(self, labels: Sequence[str], kinds: Sequence[str]) -> bytes:
        """Return a file for `numpy.load` without pickle: steps, tables, rows, labels and kinds.

        Args:
            labels: a text for each row of the table.
            kinds: a text for each row of the table; [] if there are none.
        """
        kept = self.rows.tolist()
        file = io.BytesIO()
        np.savez(
            file,
            steps=np.array(self.steps, np.int64),
            tables=torch.stack(self.tables).numpy(),
            rows=self.rows.numpy(),
            labels=np.array([labels[row] for row in kept], np.str_),
            kinds=np.array([kinds[row] for row in kept] if kinds else [], np.str_),
        )
        return file.getvalue()

    def state_dict(self) -> dict[str, Any]:
        """Return the frames for a checkpoint; empty if they are too large for one, or are kept by another process."""
        if not self.tables or not self.kept_here or sum(table.nbytes for table in self.tables) > _STATE_BYTES:
            return {}
        return {"every": self.every, "steps": list(self.steps), "tables": torch.stack(self.tables)}

    def load_state_dict(self, state: dict[str, Any], step: int) -> None:
        """Continue from the `state_dict` of a run that was at `step`, unless it held other rows or more frames."""
        tables = state["tables"]
        if len(tables) > self.most + 1 or tables.shape[1:] != (len(self.rows), self.columns):
            return
        self.every = state["every"]
        self.steps = [s for s in state["steps"] if s <= step]
        if len(self.steps) > 1 and self.steps[-1] < self.steps[-2] + self.every:
            del self.steps[-1]  # the last frame of a training that had ended
        kept = tables if self.kept_here else torch.empty(len(tables), 0)
        self.tables = list(kept[: len(self.steps)].unbind())
