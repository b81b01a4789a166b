"""Scalars out of the events files that TensorBoard reads, of charlm's runs and of others. Needs no torch.

tensorboard itself is imported where a file is read. Dimension key: N points of a curve.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np

Curve = tuple[np.ndarray, np.ndarray]
"""Steps, int64 (N,), rising strictly, and as many values, float64 (N,)."""

Drop = tuple[int, float, float]
"""The first step with a new rate, the rate before and the new one."""

_FRAME_BYTES = 16  # a record's length and two checksums
_MOST_DROPS = 10  # more are a schedule that goes on falling, epoch by epoch


@dataclass(frozen=True)
class Scalars:
    """What the events files of a run hold.

    Args:
        curves: by tag, of the tags that were wanted.
        tags: all scalar tags that there are.
        notes: a sentence for each file that could not be read to its end.
    """

    curves: dict[str, Curve]
    tags: list[str]
    notes: list[str]


def find_event_runs(place: Path) -> list[Path]:
    """The directories at or below `place` that hold events files, version_2 before version_10."""
    runs, seen = set(), set()
    for folder, below, files in os.walk(place, followlinks=True):
        if (real := os.path.realpath(folder)) in seen:  # a link that leads back up
            below.clear()
        elif any("tfevents" in name for name in files):
            runs.add(Path(folder))
        seen.add(real)
    # text and numbers take turns
    return sorted(runs, key=lambda run: [int(p) if i % 2 else p for i, p in enumerate(re.split(r"(\d+)", str(run)))])


def last_written(run: Path) -> float:
    """When the newest events file of a run changed, in seconds since 1970."""
    return max(file.stat().st_mtime for file in _files(run))


def read_scalars(run: Path, wanted: Callable[[str], bool]) -> Scalars:
    """Read a run's scalars from all its events files.

    A training that went on from a checkpoint writes some steps again, in the same file or in another one: between the
    first and the last step of what was written later, that alone counts.

    Args:
        run: a directory with events files.
        wanted: whether a tag is.
    """
    read = [_read(file, wanted) for file in _files(run)]
    read.sort(key=lambda content: content.began)
    parts: dict[str, list[list[tuple[int, float]]]] = {}
    for content in read:
        for tag, points in content.points.items():
            parts.setdefault(tag, []).append(points)
    return Scalars(
        {tag: _curve(of_tag) for tag, of_tag in parts.items()},
        sorted({tag for content in read for tag in content.tags}),
        [content.note for content in read if content.note],
    )


def is_rate(tag: str) -> bool:
    """Whether a tag is a learning rate's: StepDecay's `lr`, Lightning's `lr-SGD` and the like, and their groups'."""
    beside = tag.endswith(("-momentum", "-weight_decay"))  # what Lightning's monitor logs as well
    return not beside and re.search(r"(^|/)(lr|learning_rate)($|[-/])", tag) is not None


def rate_drops(rates: Mapping[str, Curve]) -> dict[int, list[Drop]]:
    """Where learning rates fall from one constant to another, by step; nothing of schedules that fall all the time.

    Args:
        rates: the curve of each group's rate.
    """
    drops: dict[int, list[Drop]] = {}
    for _, curve in sorted(rates.items()):
        for drop in _drops(curve):
            drops.setdefault(drop[0], []).append(drop)
    return dict(sorted(drops.items())) if len(drops) <= _MOST_DROPS else {}


def _drops(curve: Curve) -> Iterator[Drop]:
    steps, values = curve
    starts = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist()]
    lengths = np.diff([*starts, len(values)]).tolist()
    last = len(starts) - 1
    for at, (before, after) in enumerate(pairwise(starts)):
        constant = lengths[at] > 1, lengths[at + 1] > 1
        # a run may begin or end right beside a drop
        known = any(constant) and (constant[0] or at == 0) and (constant[1] or at + 1 == last)
        if known and values[after] < values[before]:
            yield int(steps[after]), float(values[before]), float(values[after])


@dataclass
class _Content:
    """Of one file: when it began, its points by tag, all its tags, and what is wrong with it."""

    began: float
    points: dict[str, list[tuple[int, float]]]
    tags: set[str]
    note: str


def _files(run: Path) -> list[Path]:
    return sorted(file for file in run.glob("*tfevents*") if file.is_file())


def _read(file: Path, wanted: Callable[[str], bool]) -> _Content:
    from google.protobuf.message import DecodeError
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event

    content, size, done = _Content(math.inf, {}, set(), ""), file.stat().st_size, 0
    # the loader stops without a word at a record that is cut or damaged; tensorboard's others take 2 to 6 times as long
    for record in RawEventFileLoader(str(file)).Load():
        try:
            event = Event.FromString(record)
        except DecodeError:
            break
        content.began = min(content.began, event.wall_time)
        for tag, value in _scalars(event.summary.value):
            content.tags.add(tag)
            if wanted(tag):
                content.points.setdefault(tag, []).append((event.step, value))
        done += len(record) + _FRAME_BYTES
    if done < size:
        content.note = (
            f"{file} can be read up to byte {done:,} of {size:,}: it is damaged there, or still being written;"
            " what stands before is used"
        )
    return content


def _scalars(values: Iterable[Any]) -> Iterator[tuple[str, float]]:
    """(tag, value): torch and Lightning write plain numbers, TensorFlow 2 and JAX tensors without dimensions."""
    for value in values:
        kind = value.WhichOneof("value")
        if kind == "simple_value":
            yield value.tag, value.simple_value
        elif kind == "tensor" and value.metadata.plugin_data.plugin_name == "scalars":
            from tensorboard.util.tensor_util import make_ndarray

            yield value.tag, float(make_ndarray(value.tensor))


def _curve(parts: Sequence[Sequence[tuple[int, float]]]) -> Curve:
    """Merge the points of files, the earlier ones first."""
    points = [point for part in parts for point in part]
    steps, values = np.array([step for step, _ in points]), np.array([value for _, value in points])
    begins = {*accumulate(map(len, parts[:-1])), *(np.flatnonzero(np.diff(steps) <= 0) + 1).tolist()}
    known, place = np.unique(steps, return_inverse=True)
    merged = np.full(len(known), np.nan)
    covered, taken = np.zeros(len(known), bool), np.zeros(len(known), bool)
    for rising in reversed(np.split(np.arange(len(steps)), sorted(begins))):
        new = rising[~covered[place[rising]]]
        merged[place[new]], taken[place[new]] = values[new], True
        covered[place[rising[0]] : place[rising[-1]] + 1] = True
    return known[taken], merged[taken]
