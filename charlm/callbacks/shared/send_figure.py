"""Send a matplotlib Figure to a Trainer's loggers and to a file in the run directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from charlm.callbacks.internals.lightning import Trainer
from charlm.callbacks.shared.logger_adapters import Failed, send_picture, write_file
from charlm.callbacks.shared.render import png, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def publish(trainer: Trainer, figure: Figure, tag: str, step: int, directory: str) -> Failed:
    """Draw a figure once, write it to `directory`, replacing an earlier one, and send it to each logger of pictures.

    Call it in the process of rank 0 only. A `fast_dev_run` writes nothing.

    Args:
        trainer: its loggers are used.
        figure: made by matplotlib.figure.Figure, not by pyplot, whose window would lose it.
        tag: the name in the logger; the file's name has "-" in place of "/".
        step: the x-axis value, see `charlm.callbacks.shared.progress.logged_step`.
        directory: from `charlm.callbacks.shared.logger_adapters.run_directory`; made if missing.

    Returns:
        What failed, by file or logger; the others get the picture all the same.

    Raises:
        Exception: what matplotlib raises for a figure that cannot be drawn.
    """
    pixels = render(figure)
    file = png(pixels)
    failed = write_file(trainer, directory, tag.replace("/", "-") + ".png", file)
    return failed | send_picture(trainer, figure, pixels, file, tag, step)
