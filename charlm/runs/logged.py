"""The scalars that a run has logged, in event files of TensorBoard or in metrics.csv of CSVLogger. Needs no torch."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

from charlm.runs.events import Scalars, curve_of, event_files, find_folders, read_scalars

_CSV = "metrics.csv"


def find_logged_runs(place: Path) -> list[Path]:
    """The directories at or below `place` in which a run has logged, version_2 before version_10."""
    return find_folders(place, lambda name: "tfevents" in name or name == _CSV)


def last_logged(run: Path) -> float:
    """When a run that has logged has done so last, in seconds since 1970."""
    return max(file.stat().st_mtime for file in [*event_files(run), *run.glob(_CSV)])


def read_logged(run: Path, wanted: Callable[[str], bool]) -> Scalars:
    """Read a run's scalars from its event files; without any, from its metrics.csv.

    Args:
        run: a directory with event files or a metrics.csv.
        wanted: tells for a tag whether its curve is needed.
    """
    return read_scalars(run, wanted) if event_files(run) else _read_csv(run / _CSV, wanted)


def _read_csv(file: Path, wanted: Callable[[str], bool]) -> Scalars:
    """Read the columns of CSVLogger, whose cells are empty at the steps at which a value was not logged."""
    points: dict[str, list[tuple[int, float]]] = {}
    odd = 0
    with file.open(encoding="utf-8", errors="replace", newline="") as lines:
        for row in csv.DictReader(lines):
            try:
                step = int(row["step"])
                values = {tag: float(cell) for tag, cell in row.items() if cell and tag != "step"}
            except (KeyError, TypeError, ValueError):
                odd += 1
                continue
            for tag, value in values.items():
                points.setdefault(tag, []).append((step, value))
    notes = [f"{file} has {odd} rows without a step, or with other cells than numbers; left out"] if odd else []
    return Scalars({tag: curve_of([of_tag]) for tag, of_tag in points.items() if wanted(tag)}, sorted(points), notes)
