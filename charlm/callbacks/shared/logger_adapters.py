"""Logger adapters: send pictures, texts, scalars and histograms to each logger that accepts them, and write files."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charlm.callbacks.internals.lightning import Trainer, get_filesystem, rank_zero_warn
from charlm.callbacks.internals.trainer_attributes import is_trial
from charlm.callbacks.shared.render import add_picture_file
from charlm.callbacks.shared.whole_file import replacing

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from torch import Tensor

Failed = dict[str, Exception]
"""Exceptions by the file or logger that failed."""

Layout = Mapping[str, Mapping[str, list[Any]]]
"""The charts of TensorBoard's Custom Scalars by section and title, as `SummaryWriter.add_custom_scalars` takes them."""

_BINS = 64  # of equal width; the 1,500 bins of TensorBoard's default take five times as long, and it shows 30


def run_directory(trainer: Trainer) -> str:
    """The folder or URL of the files of a run, and of no other run.

    The loggers of W&B, MLflow and Comet have one folder for all runs, and below it, where ModelCheckpoint writes too,
    one for each run. In a distributed run every process must call it, since the processes agree on one value.
    """
    logger = trainer.logger
    shared = logger is not None and logger.log_dir is None
    own = folder_below_shared(trainer) if shared else (trainer.log_dir or trainer.default_root_dir)
    return str(trainer.strategy.broadcast(str(own)))


def folder_below_shared(trainer: Trainer) -> str:
    """The folder of the first logger's run, where ModelCheckpoint has it; without loggers `default_root_dir`."""
    root: str = trainer.default_root_dir
    if trainer.logger is None:
        return root
    logger = trainer.logger
    version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
    return os.path.join(*filter(None, (logger.save_dir or root, str(logger.name), version)))  # some have no name


def write_file(trainer: Trainer, directory: str, name: str, content: bytes) -> Failed:
    """Write a file into the run directory, replacing an earlier one; a `fast_dev_run` writes nothing.

    Args:
        trainer: the trainer of the run.
        directory: from `run_directory`, local or in cloud storage; created if missing.
        name: the name of the file.
        content: the content of the file.
    """
    if is_trial(trainer):
        return {}
    return attempt(f"writing to {directory}", lambda: _write(directory, name, content))


def send_picture(trainer: Trainer, figure: Figure, pixels: np.ndarray, png: bytes, tag: str, step: int) -> Failed:
    """Send a picture to every logger that accepts one: TensorBoard, W&B, MLflow, Comet and similar loggers.

    Args:
        trainer: its loggers are used.
        figure: for loggers that accept only figures.
        pixels: the same picture, uint8 (height, width, 3).
        png: the same picture as a PNG file.
        tag: the name in the logger.
        step: the x-axis value, see `charlm.callbacks.shared.progress.logged_step`.
    """
    return _to_loggers(trainer, lambda logger: _send_picture(logger, figure, pixels, png, tag, step))


def send_film(trainer: Trainer, gif: bytes, tag: str, step: int) -> Failed:
    """Send a GIF to every logger that plays it: TensorBoard, W&B, and similar loggers."""
    return _to_loggers(trainer, lambda logger: _send_film(logger, gif, tag, step))


def send_text(trainer: Trainer, text: str, tag: str, step: int) -> Failed:
    """Send a Markdown text to every logger that accepts one: TensorBoard, W&B, MLflow, Comet, and similar loggers."""
    return _to_loggers(trainer, lambda logger: _send_text(logger, text, tag, step))


def send_scalars(trainer: Trainer, scalars: Mapping[str, float], step: int) -> Failed:
    """Send scalars to every logger."""
    return _to_loggers(trainer, lambda logger: logger.log_metrics(dict(scalars), step))


def send_name(trainer: Trainer, name: str) -> Failed:
    """Call the run by this name in W&B, MLflow and Comet."""
    return _to_loggers(trainer, lambda logger: _send_name(logger, name))


def send_histogram(trainer: Trainer, values: Tensor, tag: str, step: int) -> Failed:
    """Send a histogram of numbers to every logger that accepts one: TensorBoard, Comet and similar loggers."""
    return _to_loggers(trainer, lambda logger: _send_histogram(logger, values, tag, step))


def send_layout(trainer: Trainer, layout: Layout) -> Failed:
    """Send the charts of the Custom Scalars tab to every TensorBoard logger."""
    return _to_loggers(trainer, lambda logger: _send_layout(logger, layout))


def attempt(what: str, do: Callable[[], None]) -> Failed:
    """Call `do`, and return its exception under the name `what`, so that a failure does not stop the training."""
    try:
        do()
    except Exception as error:  # loggers, file systems and matplotlib raise different types
        return {what: error}
    return {}


def tell(owner: str, failed: Mapping[str, Exception], said: set[str]) -> None:
    """Warn about each failure once.

    Args:
        owner: the callback, for the message.
        failed: exceptions by the file or logger that failed.
        said: the names that were already warned about; new ones are added.
    """
    for what, problem in failed.items():
        if what not in said:
            said.add(what)
            rank_zero_warn(
                f"{owner}: {what} failed with {type(problem).__name__}: {problem}."
                " Training continues, and this warning is given once"
            )


def _to_loggers(trainer: Trainer, send: Callable[[Any], None]) -> Failed:
    failed: Failed = {}
    for logger in trainer.loggers:
        failed |= attempt(type(logger).__name__, partial(send, logger))
    return failed


def _write(directory: str, name: str, content: bytes) -> None:
    if "://" not in directory:
        with replacing(Path(directory, name)) as stream:
            stream.write(content)
        return
    files = get_filesystem(directory)  # cloud storage
    files.makedirs(directory, exist_ok=True)
    with files.open(f"{directory}/{name}", "wb") as file:
        file.write(content)


def _send_picture(logger: Any, figure: Figure, pixels: np.ndarray, png: bytes, tag: str, step: int) -> None:
    """Use the first method that the logger has; a logger without any, such as CSVLogger, gets nothing."""
    experiment: Any = getattr(logger, "experiment", None)
    if hasattr(logger, "log_image"):  # W&B
        logger.log_image(key=tag, images=[pixels], step=step)
    elif hasattr(getattr(experiment, "file_writer", None), "add_summary"):  # TensorBoard
        add_picture_file(experiment.file_writer, png, tag, step)
    elif hasattr(experiment, "add_image"):
        experiment.add_image(tag, pixels, step, dataformats="HWC")
    elif hasattr(experiment, "add_figure"):
        experiment.add_figure(tag, figure, step)
    elif hasattr(experiment, "log_image") and hasattr(logger, "run_id"):  # MLflow
        experiment.log_image(logger.run_id, pixels, key=tag, step=step)
    elif hasattr(experiment, "log_image"):  # Comet
        experiment.log_image(pixels, name=tag, step=step)


def _send_film(logger: Any, gif: bytes, tag: str, step: int) -> None:
    writer: Any = getattr(getattr(logger, "experiment", None), "file_writer", None)
    if hasattr(logger, "log_video"):  # W&B
        logger.log_video(key=tag, videos=[io.BytesIO(gif)], step=step, format=["gif"])
    elif hasattr(writer, "add_summary"):  # TensorBoard
        add_picture_file(writer, gif, tag, step)


def _send_text(logger: Any, text: str, tag: str, step: int) -> None:
    experiment: Any = getattr(logger, "experiment", None)
    if hasattr(logger, "log_text"):  # W&B
        logger.log_text(key=tag, columns=["text"], data=[[text]], step=step)
    elif hasattr(experiment, "add_text"):  # TensorBoard
        experiment.add_text(tag, text, step)
    elif hasattr(experiment, "log_text") and hasattr(logger, "run_id"):  # MLflow
        experiment.log_text(logger.run_id, text, f"{tag}/step{step:06d}.md")
    elif hasattr(experiment, "log_text"):  # Comet
        experiment.log_text(text, step=step, metadata={"tag": tag})


def _send_name(logger: Any, name: str) -> None:
    experiment: Any = getattr(logger, "experiment", None)
    if hasattr(logger, "log_image"):  # W&B
        experiment.name = name
    elif hasattr(experiment, "set_tag") and hasattr(logger, "run_id"):  # MLflow
        experiment.set_tag(logger.run_id, "mlflow.runName", name)
    elif hasattr(experiment, "set_name"):  # Comet
        experiment.set_name(name)


def _send_histogram(logger: Any, values: Tensor, tag: str, step: int) -> None:
    experiment: Any = getattr(logger, "experiment", None)
    if hasattr(experiment, "add_histogram"):  # TensorBoard
        experiment.add_histogram(tag, values, step, bins=_BINS)
    elif hasattr(experiment, "log_histogram_3d"):  # Comet
        experiment.log_histogram_3d(values.tolist(), name=tag, step=step)


def _send_layout(logger: Any, layout: Layout) -> None:
    experiment: Any = getattr(logger, "experiment", None)
    if hasattr(experiment, "add_custom_scalars"):
        experiment.add_custom_scalars(layout)
