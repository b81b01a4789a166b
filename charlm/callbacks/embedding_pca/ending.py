"""What is shown when the training of an embedding ends: a film, nine frames, neighbours, and the projector."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from lightning.pytorch import Trainer
from torch import Tensor

from charlm.callbacks.embedding_pca.film import Film, animation, small_multiples
from charlm.callbacks.embedding_pca.frames import Frames
from charlm.callbacks.embedding_pca.neighbours import neighbours_text
from charlm.callbacks.embedding_pca.projector import send_to_projector
from charlm.callbacks.embedding_pca.rows import Rows
from charlm.callbacks.shared.logger_adapters import Failed, attempt, send_text, write_file
from charlm.callbacks.shared.send_figure import publish

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MULTIPLES = 9  # frames side by side


class Destination(NamedTuple):
    """Where results go: a trainer's loggers, under a step, and files in the run directory.

    `suffix` tells the tags of several tables apart ("/net.embedding"), and with "-" for "/" the files.
    """

    trainer: Trainer
    directory: str
    suffix: str
    step: int

    def file(self, ending: str, content: bytes) -> Failed:
        """Write embedding_pca with that ending."""
        name = f"embedding_pca{self.suffix}{ending}".replace("/", "-")
        return write_file(self.trainer, self.directory, name, content)

    def figure(self, tag: str, figure: Figure) -> Failed:
        """Send a figure and write it as a PNG file."""
        return publish(self.trainer, figure, f"{tag}{self.suffix}", self.step, self.directory)

    def gif(self, tag: str, gif: bytes) -> Failed:
        """Send a GIF to TensorBoard, whose pages play it."""
        failed: Failed = {}
        for logger in self.trainer.loggers:
            failed |= attempt(type(logger).__name__, partial(_send_gif, logger, gif, f"{tag}{self.suffix}", self.step))
        return failed


def show_film(
    to: Destination, name: str, rows: Rows, frames: Frames, axes: Tensor, axis_names: list[str], most: int
) -> Failed:
    """Send a film of at most `most` >= 2 frames, and up to nine of them side by side, unless there is only one.

    Args:
        to: where the pictures go.
        name: of the table.
        rows: the labels and kinds of the table's rows.
        frames: the table during the training.
        axes: float64 (C, k), k >= 2, those of the last picture.
        axis_names: what these axes are.
        most: the most frames of the film.
    """
    if len(axes) != frames.columns or len(frames.chosen(2)[0]) < 2:
        return {}
    labels, kinds = rows.of(rows.labels, frames.rows), rows.kinds and rows.of(rows.kinds, frames.rows)
    film, few = (
        Film(*frames.chosen(count), labels, kinds, name, axes[:, :2], axis_names[:2]) for count in (most, _MULTIPLES)
    )
    gif = animation(film)
    failed = to.file(".gif", gif) | to.gif("embedding_pca_film", gif)
    return failed | to.figure("embedding_pca_frames", small_multiples(few))


def show_neighbours(to: Destination, name: str, rows: Rows, table: Tensor, projector_rows: int) -> Failed:
    """Send the nearest rows of each row as a text; `table` (V, C) holds the labelled rows, finite, on the CPU."""
    text = neighbours_text(table, rows.labels, name)
    if 0 < projector_rows < len(table):
        text += f"\n\nThe projector has the first {projector_rows} of {len(table)} rows."
    return send_text(to.trainer, text, f"embedding_neighbours{to.suffix}", to.step)


def show_in_projector(to: Destination, name: str, rows: Rows, table: Tensor, most: int) -> Failed:
    """Write the first `most` rows of `table` (V, C) for TensorBoard's projector."""
    table = table[:most]
    kinds = rows.kinds[: len(table)] if rows.kinds and any(rows.kinds) else None
    return send_to_projector(to.trainer, name, table, rows.labels[: len(table)], kinds) if most else {}


def _send_gif(logger: Any, gif: bytes, tag: str, step: int) -> None:
    """By the event writer's add_summary: every other method of SummaryWriter takes pixels and writes a PNG."""
    writer: Any = getattr(getattr(logger, "experiment", None), "file_writer", None)
    if hasattr(writer, "add_summary"):
        from tensorboard.compat.proto.summary_pb2 import Summary

        width, height = (int.from_bytes(gif[at : at + 2], "little") for at in (6, 8))
        image = Summary.Image(width=width, height=height, colorspace=3, encoded_image_string=gif)
        writer.add_summary(Summary(value=[Summary.Value(tag=tag, image=image)]), step)
