"""A table in TensorBoard's projector. Dimension key: V rows, C columns."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from lightning.fabric.utilities.cloud_io import get_filesystem
from lightning.pytorch import Trainer
from torch import Tensor

from charlm.callbacks.embedding_pca.scatter import Marks
from charlm.callbacks.shared.fonts import quiet_fonts
from charlm.callbacks.shared.logger_adapters import Failed, attempt, write_file

_CONFIG = "projector_config.pbtxt"
_TILE = 48  # pixels of the picture of a point


def send_to_projector(
    trainer: Trainer, name: str, table: Tensor, labels: Sequence[str], kinds: Sequence[str]
) -> Failed:
    """Write a table for the projector of each TensorBoard logger, replacing an earlier one of that name.

    Letters appear as their marks. SummaryWriter.add_embedding would drop the tables that another writer has listed in
    the directory, such as the one of a run that is resumed; here they stay.

    Args:
        trainer: its loggers are used.
        name: of the table.
        table: (V, C), on the CPU.
        labels: V texts.
        kinds: V texts to colour by; []: the row numbers.
    """
    written = {"tensors.tsv": tensors_tsv(table), "metadata.tsv": metadata_tsv(labels, kinds)}
    if sprite := sprite_png(labels, kinds):
        written["sprite.png"] = sprite
    failed: Failed = {}
    for logger in trainer.loggers:
        experiment: Any = getattr(logger, "experiment", None)
        directory = getattr(experiment, "log_dir", None)
        if hasattr(experiment, "add_embedding") and isinstance(directory, str):
            for file, content in written.items():
                failed |= write_file(trainer, f"{directory}/projector/{name}", file, content)
            list_it = partial(_list, trainer, directory, name, bool(sprite))
            failed |= attempt("TensorBoard's projector", list_it)
    return failed


def _list(trainer: Trainer, directory: str, name: str, sprite: bool) -> None:
    """List the table in the config of the projector, among the others that are there."""
    from tensorboard.plugins.projector import ProjectorConfig

    config, folder, files, listed = ProjectorConfig(), f"projector/{name}", get_filesystem(directory), ""
    entry = config.embeddings.add(tensor_name=name, tensor_path=f"{folder}/tensors.tsv")
    entry.metadata_path = f"{folder}/metadata.tsv"
    if sprite:
        entry.sprite.image_path = f"{folder}/sprite.png"
        entry.sprite.single_image_dim.extend([_TILE, _TILE])
    if files.exists(f"{directory}/{_CONFIG}"):
        listed = files.cat_file(f"{directory}/{_CONFIG}").decode()
    earlier = rf'^embeddings {{\n  tensor_name: "{re.escape(name)}"\n.*?^}}\n'  # in protobuf's text format
    listed = re.sub(earlier, "", listed, flags=re.DOTALL | re.MULTILINE)
    for error in write_file(trainer, directory, _CONFIG, f"{listed}{config}".encode()).values():
        raise error


def tensors_tsv(table: Tensor) -> bytes:
    """Write six digits of each value, and columns of zeros if there are fewer than three: the projector needs three."""
    padded = torch.nn.functional.pad(table.float(), (0, max(0, 3 - table.shape[1])))
    line = "\t".join(["%.6g"] * padded.shape[1]) + "\n"
    return "".join(line % tuple(row) for row in padded.tolist()).encode()


def metadata_tsv(labels: Sequence[str], kinds: Sequence[str]) -> bytes:
    """Write a header, which the projector needs for two columns, and a line for each row."""
    seconds = map(_visible, kinds) if kinds else range(len(labels))
    lines = [f"{_visible(label)}\t{second}\n" for label, second in zip(labels, seconds, strict=True)]
    return f"label\t{'kind' if kinds else 'row'}\n{''.join(lines)}".encode()


@quiet_fonts()
def sprite_png(labels: Sequence[str], kinds: Sequence[str]) -> bytes:
    """Draw the marks of points, 48 x 48 pixels each, in a square, row by row; b"" if not all labels fit into marks."""
    from matplotlib.figure import Figure

    columns = math.ceil(math.sqrt(len(labels)))
    figure = Figure(figsize=(columns * 0.25, columns * 0.25), dpi=_TILE * 4, facecolor="none")  # 18 points a mark
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, columns), ylim=(columns, 0))
    axes.set_axis_off()
    marks, cells, file = Marks(axes, labels, kinds, scale=0.8), torch.arange(len(labels)), io.BytesIO()
    if not marks.inside or not marks.written.all():
        return b""
    marks.move((torch.stack([cells % columns, cells // columns], 1) + 0.5).numpy())
    figure.savefig(file, transparent=True)
    return file.getvalue()


def _visible(label: str) -> str:
    return label if label.isprintable() and label and label == label.strip() else repr(label)
