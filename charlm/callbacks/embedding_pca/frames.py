"""A table at some steps of a training of unknown length. Dimension key: F frames, V rows, C columns."""

from typing import Any

import torch
from torch import Tensor

_RATIO, _MOST = 1.25, 80  # of successive steps, as a table learns most at first; frames of ten million steps
_BYTES, _STATE_BYTES = 64_000_000, 4_000_000  # the most that these take, and in a checkpoint


class Frames:
    """Keep a table at the steps 0 to 6, then at steps that grow by a quarter: 8, 10, 13, ..., and the last.

    Args:
        rows: numbers of the rows to keep, int64; of many columns fewer, so that 80 frames take at most 64 MB.
        shape: least number of rows, and number of columns, of the table.
    """

    def __init__(self, rows: Tensor, shape: tuple[int, int]) -> None:
        self.rows = rows[: max(2, _BYTES // (_MOST * 4 * max(1, shape[1])))].sort().values
        self.shape = shape
        self.steps: list[int] = []
        self.tables: list[Tensor] = []  # float32 (V, C) each

    @property
    def due(self) -> int:
        """The step from which on the next frame is to be added."""
        return max(self.steps[-1] + 1, int(_RATIO * self.steps[-1] + 0.5)) if self.steps else 0

    def add(self, step: int, table: Tensor) -> None:
        """Keep a table as the frame of `step`, unless that step has one.

        Raises:
            ValueError: the table has fewer rows than labels, or another number of columns.
        """
        if len(table) < self.shape[0] or table.shape[1:] != self.shape[1:]:
            raise ValueError(
                f"a table of {tuple(table.shape)} cannot follow one of {self.shape[0]} labelled rows and"
                f" {self.shape[1]} columns; the frames end at step {self.steps[-1] if self.steps else 0}"
            )
        if not self.steps or step > self.steps[-1]:
            self.steps.append(step)
            self.tables.append(table[self.rows.to(table.device)].to("cpu", torch.float32))

    def chosen(self, count: int) -> tuple[list[int], Tensor]:
        """Steps and tables (F, V, C) of at most `count` >= 2 finite frames.

        These are the first one, the last one, and between them those at which the table has moved equally far from
        the first one, so that a film of them shows the movement.
        """
        finite = [frame for frame, table in enumerate(self.tables) if table.isfinite().all()]
        tables = torch.stack([self.tables[frame] for frame in finite]) if finite else torch.empty(0, 0, 0)
        if len(finite) > count:
            moved = (tables - tables[0]).flatten(1).norm(dim=1).cummax(0).values
            goals = moved[-1] * torch.linspace(0, 1, count)[1:-1, None]
            places = sorted({0, len(finite) - 1, *(moved - goals).abs().argmin(1).tolist()})
            finite, tables = [finite[place] for place in places], tables[places]
        return [self.steps[frame] for frame in finite], tables

    def state_dict(self) -> dict[str, Any]:
        """Return the frames for a checkpoint; empty if they are too large for one."""
        if not self.tables or sum(table.nbytes for table in self.tables) > _STATE_BYTES:
            return {}
        return {"steps": list(self.steps), "tables": torch.stack(self.tables)}

    def load_state_dict(self, state: dict[str, Any], step: int) -> None:
        """Continue from the `state_dict` of a run that was at `step`, unless it held other rows."""
        if state and state["tables"].shape[1:] == (len(self.rows), self.shape[1]):
            self.steps = [kept for kept in state["steps"] if kept <= step]
            self.tables = list(state["tables"][: len(self.steps)].unbind())
