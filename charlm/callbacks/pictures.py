"""Send a matplotlib Figure to whatever loggers a Trainer has, and keep it as a file in the run directory."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from lightning.fabric.utilities.cloud_io import get_filesystem
from lightning.pytorch import Trainer

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure


def run_directory(trainer: Trainer) -> str:
    """The folder or address of this run's files; in a distributed run every process must ask, as they agree on it."""
    return str(trainer.log_dir or trainer.default_root_dir)


def publish(trainer: Trainer, figure: Figure, tag: str, step: int, directory: str) -> dict[str, Exception]:
    """Draw a figure once, write it to `directory` (over the one before) and send it to each logger that takes pictures.

    Call it in the process of rank 0 only. Nothing is written in a `fast_dev_run`.

    Args:
        trainer: its loggers are used: TensorBoard, W&B, MLflow, Comet, and others with methods like theirs.
        figure: made by matplotlib.figure.Figure, not by pyplot, whose window would be cut off from it.
        tag: the name in the logger; also the file's, with "-" for "/".
        step: the x-axis value, see `charlm.callbacks.progress.logged_step`.
        directory: from `run_directory`; made if missing.

    Returns:
        What failed, by file or logger; a failure at one does not keep the picture from the others.

    Raises:
        Exception: what matplotlib raises for a figure that cannot be drawn.
    """
    pixels = render(figure)
    failed: dict[str, Exception] = {}
    if not trainer.fast_dev_run:  # type: ignore[attr-defined]  # set from outside the class
        try:
            _write(pixels, directory, tag.replace("/", "-") + ".png")
        except Exception as error:  # what a file system raises differs, and nothing of it is worth a training
            failed[f"writing to {directory}"] = error
    for logger in trainer.loggers:
        try:
            _send(logger, figure, pixels, tag, step)
        except Exception as error:
            failed[type(logger).__name__] = error
    return failed


def render(figure: Figure) -> np.ndarray:
    """The pixels of a figure: uint8 (height, width, 3), red, green and blue."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a letter that no font has is drawn as a box, which says as much
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _write(pixels: np.ndarray, directory: str, name: str) -> None:
    from matplotlib.image import imsave

    files = get_filesystem(directory)  # for Lightning, a run directory may be in a cloud
    files.makedirs(directory, exist_ok=True)
    with files.open(f"{directory}/{name}", "wb") as file:
        imsave(file, pixels, format="png", pil_kwargs={"compress_level": 1})  # half the time of the default


def _send(logger: Any, figure: Figure, pixels: np.ndarray, tag: str, step: int) -> None:
    """Give a picture to one logger by the first method it has; one that has none, such as CSVLogger, gets nothing."""
    experiment: Any = getattr(logger, "experiment", None)
    if hasattr(logger, "log_image"):  # W&B
        logger.log_image(key=tag, images=[pixels], step=step)
    elif hasattr(experiment, "add_image"):  # TensorBoard
        experiment.add_image(tag, pixels, step, dataformats="HWC")
    elif hasattr(experiment, "add_figure"):
        experiment.add_figure(tag, figure, step)
    elif hasattr(experiment, "log_image") and hasattr(logger, "run_id"):  # MLflow
        experiment.log_image(logger.run_id, pixels, key=tag, step=step)
    elif hasattr(experiment, "log_image"):  # Comet
        experiment.log_image(pixels, name=tag, step=step)
