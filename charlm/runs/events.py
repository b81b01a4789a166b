"""Read scalars from TensorBoard's event files, of charlm's runs and of others. Needs no torch.

tensorboard is imported when a file is read. Dimension key: N points of a curve.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from charlm.runs.directory import find_files

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event

Curve = tuple[np.ndarray, np.ndarray]
"""Steps, int64 (N,), rising strictly, and as many values, float64 (N,)."""

Drop = tuple[int, float, float]
"""The first step with a new rate, the rate before and the new one."""

_FRAME = struct.Struct("<8s4s")  # before a record: its length, and the checksum of the length
_MOST_DROPS = 10  # more are a schedule that goes on falling, epoch by epoch


@dataclass(frozen=True)
class Scalars:
    """The scalars in the event files of a run.

    Args:
        curves: a curve for each tag that was asked for.
        tags: all scalar tags in the files.
        notes: sentences about files that could not be read to the end, or whose scalars are not numbers.
    """

    curves: dict[str, Curve]
    tags: list[str]
    notes: list[str]


def find_event_runs(place: Path) -> list[Path]:
    """The directories at or below `place` with event files, version_2 before version_10."""
    return find_folders(place, lambda name: "tfevents" in name)


def find_folders(place: Path, has: Callable[[str], bool]) -> list[Path]:
    """The directories at or below `place` that have a file with such a name, version_2 before version_10."""
    runs = {file.parent for file in find_files(place, has)}
    # the split gives text and numbers in turn
    return sorted(runs, key=lambda run: [int(p) if i % 2 else p for i, p in enumerate(re.split(r"(\d+)", str(run)))])


def read_scalars(run: Path, wanted: Callable[[str], bool]) -> Scalars:
    """Read a run's scalars from all its event files.

    A resumed training writes some steps a second time, in the same file or in another one. Between the first and the
    last step of the later points, only the later points count.

    Args:
        run: a directory with event files.
        wanted: tells for a tag whether its curve is needed.
    """
    read = [_read(file, wanted) for file in event_files(run)]
    read.sort(key=lambda content: content.began)
    parts: dict[str, list[list[tuple[int, float]]]] = {}
    for content in read:
        for tag, points in content.points.items():
            parts.setdefault(tag, []).append(points)
    return Scalars(
        {tag: curve_of(of_tag) for tag, of_tag in parts.items()},
        sorted({tag for content in read for tag in content.tags}),
        [note for content in read for note in content.notes],
    )


def event_files(run: Path) -> list[Path]:
    """The event files of a run, sorted by name, which begins with the time."""
    return sorted(file for file in run.glob("*tfevents*") if file.is_file())


def read_events(file: Path) -> Iterator[tuple[Event, int]]:
    """Yield the events of a file, each with the byte at which it ends; stop silently at a damaged record."""
    from google.protobuf.message import DecodeError
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    size = file.stat().st_size
    with file.open("rb") as stream:
        while len(frame := stream.read(_FRAME.size)) == _FRAME.size:
            length, checksum = (int.from_bytes(part, "little") for part in _FRAME.unpack(frame))
            # the length may have the right checksum and still be absurd
            if masked_crc32c(frame[:8]) != checksum or length > size - stream.tell() - 4:
                return
            record = stream.read(length)
            if masked_crc32c(record) != int.from_bytes(stream.read(4), "little"):
                return
            try:
                event = Event.FromString(record)
            except DecodeError:
                return
            yield event, stream.tell()


def is_rate(tag: str) -> bool:
    """Whether a tag is a learning rate: StepDecay's `lr`, Lightning's `lr-SGD`, and those of parameter groups."""
    beside = tag.endswith(("-momentum", "-weight_decay"))  # LearningRateMonitor logs these too
    return not beside and re.search(r"(^|/)(lr|learning_rate)($|[-/])", tag) is not None


def rate_drops(rates: Mapping[str, Curve]) -> dict[int, list[Drop]]:
    """The steps where a learning rate drops from one constant to another; {} for schedules that fall all the time.

    Args:
        rates: the learning-rate curve of each parameter group.
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
        # a run may begin or end one point from a drop
        known = any(constant) and (constant[0] or at == 0) and (constant[1] or at + 1 == last)
        if known and 0 <= values[after] < values[before]:
            yield int(steps[after]), float(values[before]), float(values[after])


@dataclass
class _Content:
    """What one file holds: the time of its first event, points by tag, all tags, and what is wrong with it."""

    began: float
    points: dict[str, list[tuple[int, float]]]
    tags: set[str]
    notes: list[str]


def _read(file: Path, wanted: Callable[[str], bool]) -> _Content:
    content, size, done = _Content(math.inf, {}, set(), []), file.stat().st_size, 0
    odd: set[str] = set()
    for event, end in read_events(file):
        done = end
        content.began = min(content.began, event.wall_time)
        for tag, value in _scalars(event.summary.value):
            if value is None:
                odd.add(tag)
                continue
            content.tags.add(tag)
            if wanted(tag):
                content.points.setdefault(tag, []).append((event.step, value))
    if done < size:
        content.notes.append(
            f"{file} can be read up to byte {done:,} of {size:,}: it is damaged there, or still being written;"
            " everything before it is used"
        )
    if odd:
        content.notes.append(f"{file} has scalars that are not single numbers, such as {min(odd)!r:.100}; left out")
    return content


def _scalars(values: Iterable[Any]) -> Iterator[tuple[str, float | None]]:
    """Yield (tag, value); torch and Lightning write plain numbers, TensorFlow 2 and JAX 0-dimensional tensors."""
    for value in values:
        kind = value.WhichOneof("value")
        if kind == "simple_value":
            yield value.tag, value.simple_value
        elif kind == "tensor" and value.metadata.plugin_data.plugin_name == "scalars":
            yield value.tag, _number(value.tensor)


def _number(tensor: Any) -> float | None:
    """The number in a tensor with one element; a short tensor may claim any shape, which would take memory."""
    from tensorboard.util.tensor_util import make_ndarray

    if all(dim.size == 1 for dim in tensor.tensor_shape.dim):
        with suppress(TypeError, ValueError):  # text, an unknown dtype, or too few bytes
            return float(make_ndarray(tensor).item())
    return None


def curve_of(parts: Sequence[Sequence[tuple[int, float]]]) -> Curve:
    """Merge the points of several files, given from the earliest to the latest."""
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
