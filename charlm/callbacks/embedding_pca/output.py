"""What EmbeddingPCA sends to the loggers and writes into the run directory. Dimension key: F frames, V rows."""

import io
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from charlm.callbacks.embedding_pca.film import animation, draw_frames, side_by_side
from charlm.callbacks.embedding_pca.frames import Frames
from charlm.callbacks.embedding_pca.neighbours import neighbours_text
from charlm.callbacks.embedding_pca.probe import told_apart
from charlm.callbacks.embedding_pca.projector import send_to_projector
from charlm.callbacks.embedding_pca.table import Rows
from charlm.callbacks.internals.lightning import Trainer
from charlm.callbacks.shared.logger_adapters import Failed, send_film, send_text, write_file
from charlm.callbacks.shared.progress import logged_step
from charlm.callbacks.shared.send_figure import publish


class Output(NamedTuple):
    """Where the results for the table `name` go; `suffix` tells the tags and files of several tables apart."""

    trainer: Trainer
    directory: str
    name: str
    suffix: str
    rows: Rows

    def figure(self, figure: Any, tag: str) -> Failed:
        """Send a figure and write it as a PNG file."""
        return publish(self.trainer, figure, tag + self.suffix, logged_step(self.trainer), self.directory)

    def film(self, frames: Frames, most: int, axes: Tensor | None) -> Failed:
        """Send a film of at most `most` frames, and up to nine of them side by side, unless there is only one."""
        steps, tables = frames.chosen(most)
        if axes is None or len(axes) != frames.shape[1] or len(steps) < 2:
            return {}
        labels, kinds, probed = (of(texts, frames.rows) for texts in self.rows[:3])
        probes = [told_apart(table, probed, shuffles=0) for table in tables]
        notes = [
            f"step {step:,}" + (f"  AUC {probe.auc:.2f}" if probe else "")
            for step, probe in zip(steps, probes, strict=True)
        ]
        points = (tables.double() - tables.double().mean(1, keepdim=True)) @ axes
        drawn = draw_frames(points, notes, self.name, labels, kinds)
        gif = animation(drawn)
        failed = send_film(self.trainer, gif, f"embedding_pca_film{self.suffix}", logged_step(self.trainer))
        about = f"AUC of a linear probe, {probes[-1].what}: 0.5 by chance" if probes[-1] else ""
        beside = side_by_side(drawn, self.name, about, kinds)
        return failed | self._file(".gif", gif) | self.figure(beside, "embedding_pca_frames")

    def frames(self, frames: Frames) -> Failed:
        """Write the frames as numbers, if there are any."""
        if not frames.steps:
            return {}
        labels, kinds = (np.array(of(texts, frames.rows), np.str_) for texts in self.rows[:2])
        arrays: dict[str, Any] = {"labels": labels, "kinds": kinds, "rows": frames.rows.numpy()}
        file = io.BytesIO()
        np.savez(file, steps=np.array(frames.steps), tables=torch.stack(frames.tables).numpy(), **arrays)
        return self._file(".npz", file.getvalue())

    def neighbours(self, table: Tensor, in_projector: int) -> Failed:
        """Send the nearest rows of each row of a table (V, C) as a text; the projector has the first rows."""
        text, tag = neighbours_text(table, self.rows.labels, self.name), f"embedding_neighbours{self.suffix}"
        if 0 < in_projector < len(table):
            text += f"\n\nThe projector has the first {in_projector} of {len(table)} rows."
        return send_text(self.trainer, text, tag, logged_step(self.trainer))

    def projector(self, table: Tensor, most: int) -> Failed:
        """Write the first `most` rows of a table (V, C) for TensorBoard's projector."""
        labels, kinds, name = self.rows.labels[:most], self.rows.kinds[:most], self.suffix.strip("/") or self.name
        step = logged_step(self.trainer)
        return send_to_projector(self.trainer, name, table[:most], labels, kinds, step) if most else {}

    def _file(self, ending: str, content: bytes) -> Failed:
        name = f"embedding_pca{self.suffix}{ending}".replace("/", "-")
        return write_file(self.trainer, self.directory, name, content)


def of(texts: list[str], rows: Tensor) -> list[str]:
    """The texts of some rows, given by their numbers; [] if there are no texts."""
    return [texts[row] for row in rows.tolist()] if texts else []
