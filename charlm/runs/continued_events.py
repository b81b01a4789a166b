"""Continue the event files of a resumed run, so that TensorBoard shows each point of the whole training once.

A resumed training logs some points again. What the killed process logged after its last checkpoint is cut out of its
files: an event that tells TensorBoard to drop it would not do, as EventAccumulator ignores it for texts. What a
training logs at its start and at its end, such as the config, is not written if the run has it already.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from torch.utils.tensorboard import SummaryWriter

from charlm.callbacks.shared.whole_file import replacing
from charlm.runs.events import event_files, read_events

_Key = tuple[int, str, bytes, float]


def continue_events(writer: SummaryWriter, older: Sequence[Path], step: int, saved: float) -> None:
    """Let a new event file continue the older ones of its run, from its first event on; without one, none changes.

    Events of `step` that were logged before the checkpoint, as by a validation amid gradient accumulation, move to the
    new file. It begins with a session start, at which an open TensorBoard drops what it has read from `step` on.

    Args:
        writer: of the new file.
        older: the other files.
        step: optimizer steps of the checkpoint.
        saved: when the checkpoint was written, in seconds since 1970; 0.0: unknown.
    """
    files: Any = writer.file_writer
    files.event_writer = _Once(files.event_writer, Path(writer.log_dir), older, step, saved)


def _continue(writer: Any, run: Path, older: Sequence[Path], step: int, saved: float) -> set[_Key]:
    """Do so; return the keys of earlier events, and the exact ones of what the training logged at its start."""
    older = _named_before(older, next(file for file in event_files(run) if file not in older))
    later: dict[Path, list[tuple[int, int]]] = {}  # the bytes of events from `step` on
    before: dict[bytes, Event] = {}  # by content, as a process that was killed in here has left some twice
    known: set[_Key] = set()
    for file in older:
        begin = 0
        for event, end in read_events(file):
            if event.step < step:
                known.update(_keys(event))
            elif event.summary.value:
                later.setdefault(file, []).append((begin, end))
                if event.wall_time <= saved:
                    before[event.SerializeToString()] = event
                    known.update(_keys(event, exact=True) if step == 0 else ())  # the start is logged at step 0
            begin = end
    start = SessionLog(status=SessionLog.START)
    for event in (Event(wall_time=time.time(), step=step, session_log=start), *before.values()):
        writer.add_event(event)  # with the time at which it was logged
    writer.flush()
    for file, places in later.items():
        _cut_out(file, places)
    return known


def _named_before(older: Sequence[Path], new: Path) -> Sequence[Path]:
    """Rename older files whose names, which begin with the time, follow the new one's, as after a clock was set back.

    TensorBoard reads files in the order of their names.
    """
    if all(file.name < new.name for file in older):
        return older
    first = int(new.name.split(".")[3]) - len(older)
    names = [re.sub(r"(?<=tfevents\.)\d+", f"{first + at:010d}", file.name) for at, file in enumerate(older)]
    return [file.rename(file.with_name(name)) for file, name in zip(older, names, strict=True)]


class _Once:
    """An event writer that leaves out known events, such as those that every training logs at its start.

    Args:
        writer: writes all other events.
        run: the directory of the event files.
        older, step, saved: as in `continue_events`.
    """

    def __init__(self, writer: Any, run: Path, older: Sequence[Path], step: int, saved: float) -> None:
        self._writer, self._step = writer, step
        self._begin = partial(_continue, writer, run, older, step, saved)
        self._known: set[_Key] | None = None

    def add_event(self, event: Event) -> None:
        """Write the event, unless all its values are known."""
        if self._known is None:
            self._known = self._begin()
        keys = _keys(event, exact=event.step == self._step)
        if event.step > self._step or not keys or not self._known.issuperset(keys):
            self._writer.add_event(event)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)


def _keys(event: Event, exact: bool = False) -> list[_Key]:
    """The key of a text holds the text; a scalar is known by its step and tag alone, or exactly by its value too."""
    return [
        (event.step, value.tag, value.tensor.SerializeToString(), value.simple_value if exact else 0.0)
        for value in event.summary.value
    ]


def _cut_out(file: Path, places: Sequence[tuple[int, int]]) -> None:
    """Rewrite the file without the bytes at some places, which are in order."""
    content, begin = file.read_bytes(), 0
    with replacing(file) as stream:
        for start, end in places:
            stream.write(content[begin:start])
            begin = end
        stream.write(content[begin:])
