"""What is left of an embedding when its training is over: film, frames, neighbours, and the table for the projector."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from charlm.callbacks.embedding_pca.film import Film, animation, small_multiples
from charlm.callbacks.embedding_pca.frames import Frames
from charlm.callbacks.embedding_pca.neighbours import neighbours_text
from charlm.callbacks.embedding_pca.projector import send_to_projector
from charlm.callbacks.embedding_pca.rows import Rows
from charlm.callbacks.shared.loggers import Failed, attempt, send_text, write_file
from charlm.callbacks.shared.publish import publish

_MULTIPLES = 9  # frames side by side


class Ending(NamedTuple):
    """All that the end of a training is shown from.

    name: of the table.
    suffix: of tags and, with "-" for "/", of files, where several tables are watched.
    table: (V, C), its labelled rows as they are in the end, on the CPU.
    rows: their labels and kinds.
    frames: the table through the training.
    axes: float64 (C, k), of the last picture; None where there was none.
    axis_names: what they are.
    step: the x-axis value.
    directory: for files.
    """

    name: str
    suffix: str
    table: Tensor
    rows: Rows
    frames: Frames
    axes: Tensor | None
    axis_names: list[str]
    step: int
    directory: str

    def file(self, ending: str) -> str:
        """The name of a file."""
        return f"embedding_pca{self.suffix}{ending}".replace("/", "-")


def show_ending(trainer: Trainer, ending: Ending, frames: int, projector_rows: int) -> Failed:
    """Write and log all there is, each thing whether or not the others can be.

    Args:
        trainer: its loggers are used.
        ending: of the training.
        frames: the most of the animation.
        projector_rows: the most rows for the projector; 0 for none.

    Returns:
        What failed.
    """
    failed = trying("keeping its frames", partial(write_frames, trainer, ending))
    failed |= trying("drawing its film", partial(_film, trainer, ending, frames))
    # a sixtieth of the time that isfinite takes for all values
    if len(ending.table) > 1 and torch.stack(ending.table.aminmax()).isfinite().all():
        failed |= trying("listing its neighbours", partial(_neighbours, trainer, ending, projector_rows))
        failed |= trying("giving it to the projector", partial(_project, trainer, ending, projector_rows))
    return failed


def trying(what: str, do: Callable[[], Failed]) -> Failed:
    """What failed inside of something, or that it failed as a whole."""
    failed: Failed = {}
    whole = attempt(what, lambda: failed.update(do()))
    return failed | whole


def write_frames(trainer: Trainer, ending: Ending) -> Failed:
    """Write the frames that there are as an .npz file."""
    if not ending.frames.steps:
        return {}
    content = ending.frames.npz(ending.rows.labels, ending.rows.kinds or [])
    return write_file(trainer, ending.directory, ending.file(".npz"), content)


def _film(trainer: Trainer, ending: Ending, count: int) -> Failed:
    labels, kinds = ending.rows.labels, ending.rows.kinds
    kept = ending.frames.rows.tolist()
    steps, tables = ending.frames.chosen(count) if count else ([], ending.table)
    if len(steps) < 2 or ending.axes is None or len(ending.axes) != ending.frames.columns:
        return {}
    named = [labels[row] for row in kept], kinds and [kinds[row] for row in kept], ending.name
    seen_from = ending.axes[:, :2], ending.axis_names[:2]
    gif = animation(Film(steps, tables, *named, *seen_from))
    failed = write_file(trainer, ending.directory, ending.file(".gif"), gif)
    tag = f"embedding_pca_film{ending.suffix}"
    for logger in trainer.loggers:
        failed |= attempt(type(logger).__name__, partial(_send_gif, logger, gif, tag, ending.step))
    steps, tables = ending.frames.chosen(_MULTIPLES)
    few = small_multiples(Film(steps, tables, *named, *seen_from))
    return failed | publish(trainer, few, f"embedding_pca_frames{ending.suffix}", ending.step, ending.directory)


def _send_gif(logger: Any, gif: bytes, tag: str, step: int) -> None:
    """TensorBoard's pages play a GIF; its writer takes it as it is, but by add_summary only."""
    writer: Any = getattr(getattr(logger, "experiment", None), "file_writer", None)
    if hasattr(writer, "add_summary"):
        from tensorboard.compat.proto.summary_pb2 import Summary

        width, height = (int.from_bytes(gif[at : at + 2], "little") for at in (6, 8))
        image = Summary.Image(width=width, height=height, colorspace=3, encoded_image_string=gif)
        writer.add_summary(Summary(value=[Summary.Value(tag=tag, image=image)]), step)


def _neighbours(trainer: Trainer, ending: Ending, projector_rows: int) -> Failed:
    text = neighbours_text(ending.table, ending.rows.labels, ending.name)
    if 0 < projector_rows < len(ending.table):
        text += f"\n\nThe projector has the first {projector_rows} of {len(ending.table)} rows."
    return send_text(trainer, text, f"embedding_neighbours{ending.suffix}", ending.step)


def _project(trainer: Trainer, ending: Ending, most: int) -> Failed:
    table = ending.table[:most]
    labels, kinds = ending.rows.labels[: len(table)], ending.rows.kinds
    kinds = kinds[: len(table)] if kinds and any(kinds) else None
    return send_to_projector(trainer, ending.name, table, labels, kinds) if most else {}
