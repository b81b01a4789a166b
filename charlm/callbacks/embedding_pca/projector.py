"""A table in TensorBoard's projector. Dimension key: V rows, C columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from charlm.callbacks.embedding_pca.scatter import Markers
from charlm.callbacks.internals.lightning import Trainer
from charlm.callbacks.shared.fonts import quiet_fonts
from charlm.callbacks.shared.logger_adapters import Failed, attempt
from charlm.callbacks.shared.render import render

_TILE, _POINTS = 48, 20  # width of the picture of a point in pixels, and in typographic points


def send_to_projector(
    trainer: Trainer, name: str, table: Tensor, labels: Sequence[str], kinds: Sequence[str], step: int
) -> Failed:
    """Add a table to the projector of each TensorBoard logger; letters appear as their markers.

    Args:
        trainer: its loggers are used.
        name: of the table.
        table: (V, C), on the CPU; with fewer than three columns it gets columns of zeros, as the projector needs three.
        labels: V texts.
        kinds: V texts to colour by; []: the row numbers.
        step: at which the table is as it is.
    """
    table = torch.nn.functional.pad(table.float(), (0, max(0, 3 - table.shape[1])))
    header = ["label", "kind" if kinds else "row"]
    seconds = list(map(_visible, kinds)) or range(len(labels))
    metadata = [[_visible(label), second] for label, second in zip(labels, seconds, strict=True)]
    failed: Failed = {}
    for logger in trainer.loggers:
        if hasattr(getattr(logger, "experiment", None), "add_embedding"):
            send = partial(_add, logger, table, metadata, markers_of(labels, kinds), step, name, header)
            failed |= attempt("TensorBoard's projector", send)
    return failed


def _add(logger: Any, table: Tensor, metadata: Any, markers: Tensor | None, step: int, *named: Any) -> None:
    for file in (Path(logger.log_dir or "", name) for name in ("projector_config.pbtxt", f"{step:05}")):
        if file.is_symlink():  # TensorBoard would write through it, to a place outside of the run
            raise FileExistsError(f"{file} is a link, through which nothing is written; remove it")
    logger.experiment.add_embedding(table, metadata, markers, step, *named)


@quiet_fonts()
def markers_of(labels: Sequence[str], kinds: Sequence[str]) -> Tensor | None:
    """Draw the marker of each point, (V, 3, 48, 48) from 0 to 1; None if not all labels fit into markers."""
    from matplotlib.figure import Figure

    columns = math.ceil(math.sqrt(len(labels)))
    figure = Figure(figsize=(columns * _POINTS / 72,) * 2, dpi=_TILE * 72 / _POINTS)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, columns), ylim=(columns, 0))
    axes.set_axis_off()
    markers, cells = Markers(axes, labels, kinds), torch.arange(len(labels))
    if not markers.inside or not markers.written.all():
        return None
    markers.move((torch.stack([cells % columns, cells // columns], 1) + 0.5).numpy())
    pixels = torch.from_numpy(render(figure)).unflatten(0, (columns, _TILE)).unflatten(2, (columns, _TILE))
    return pixels.permute(0, 2, 4, 1, 3).flatten(0, 1)[: len(labels)] / 255


def _visible(label: str) -> str:
    return label if label.isprintable() and label and label == label.strip() else repr(label)
