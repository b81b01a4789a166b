"""A matplotlib Figure as a file in the run directory, and in whatever loggers a Trainer has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning.pytorch import Trainer

from charlm.callbacks.shared.loggers import Failed, send_picture, write_file
from charlm.callbacks.shared.render import png, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def publish(trainer: Trainer, figure: Figure, tag: str, step: int, directory: str) -> Failed:
    """Draw a figure once, write it to `directory` (over the one before) and send it to each logger that takes pictures.

    Call it in the process of rank 0 only. Nothing is written in a `fast_dev_run`.

    Args:
        trainer: its loggers are used.
        figure: made by matplotlib.figure.Figure, not by pyplot, whose window would be cut off from it.
        tag: the name in the logger; also the file's, with "-" for "/".
        step: the x-axis value, see `charlm.callbacks.shared.progress.logged_step`.
        directory: from `charlm.callbacks.shared.loggers.run_directory`; made if missing.

    Returns:
        What failed, by file or logger; a failure at one does not keep the picture from the others.

    Raises:
        Exception: what matplotlib raises for a figure that cannot be drawn.
    """
    pixels = render(figure)
    failed = write_file(trainer, directory, tag.replace("/", "-") + ".png", png(pixels))
    return failed | send_picture(trainer, figure, pixels, tag, step)
