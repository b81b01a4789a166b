"""Where what a callback makes goes to: every logger that takes it, and files in the run directory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from lightning.fabric.utilities.cloud_io import get_filesystem
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from torch import Tensor

Failed = dict[str, Exception]
"""What went wrong, by file or logger."""

Layout = Mapping[str, Mapping[str, list[Any]]]
"""The charts of TensorBoard's Custom Scalars: by section and title, as `SummaryWriter.add_custom_scalars` has it."""

_BINS = 64  # of one width; TensorBoard's own 1,500 of growing width take five times as long, and it shows 30


def run_directory(trainer: Trainer) -> str:
    """The folder or address of this run's files; in a distributed run every process must ask, as they agree on it."""
    return str(trainer.log_dir or trainer.default_root_dir)


def write_file(trainer: Trainer, directory: str, name: str, content: bytes) -> Failed:
    """Write a file into the run directory, over the one before; nothing in a `fast_dev_run`.

    Args:
        trainer: of the run.
        directory: from `run_directory`, local or in a cloud as Lightning takes them; made if missing.
        name: the file's.
        content: of the file.
    """
    if trainer.fast_dev_run:  # type: ignore[attr-defined]  # set from outside the class
        return {}
    return attempt(f"writing to {directory}", lambda: _write(directory, name, content))


def send_picture(trainer: Trainer, figure: Figure, pixels: np.ndarray, tag: str, step: int) -> Failed:
    """Give a picture to every logger that takes one: TensorBoard, W&B, MLflow, Comet, and others with their methods.

    Args:
        trainer: its loggers are used.
        figure: for loggers that take figures only.
        pixels: uint8 (height, width, 3), the same as an image.
        tag: the name in the logger.
        step: the x-axis value, see `charlm.callbacks.shared.progress.logged_step`.
    """
    return _to_loggers(trainer, lambda logger: _send_picture(logger, figure, pixels, tag, step))


def send_text(trainer: Trainer, text: str, tag: str, step: int) -> Failed:
    """Give a text in Markdown to every logger that takes one: TensorBoard, W&B, MLflow, Comet, and others like them."""
    return _to_loggers(trainer, lambda logger: _send_text(logger, text, tag, step))


def send_scalars(trainer: Trainer, scalars: Mapping[str, float], step: int) -> Failed:
    """Give scalars to every logger."""
    return _to_loggers(trainer, lambda logger: logger.log_metrics(dict(scalars), step))


def send_histogram(trainer: Trainer, values: Tensor, tag: str, step: int) -> Failed:
    """Give the distribution of some numbers to every logger that takes one: TensorBoard, Comet and others like them."""
    return _to_loggers(trainer, lambda logger: _send_histogram(logger, values, tag, step))


def send_layout(trainer: Trainer, layout: Layout) -> Failed:
    """Give the charts of the Custom Scalars tab to every logger that takes them: TensorBoard."""
    return _to_loggers(trainer, lambda logger: _send_layout(logger, layout))


def attempt(what: str, do: Callable[[], None]) -> Failed:
    """Do something that is not worth a training: its failure comes back under the name `what`."""
    try:
        do()
    except Exception as error:  # what loggers, file systems and matplotlib raise differs
        return {what: error}
    return {}


def tell(owner: str, failed: Mapping[str, Exception], said: set[str]) -> None:
    """Warn of what failed, each thing once.

    Args:
        owner: the callback, and what it is at.
        failed: by what it was.
        said: what has been warned of already; grows.
    """
    for what, problem in failed.items():
        if what not in said:
            said.add(what)
            rank_zero_warn(
                f"{owner}: {what} failed with {type(problem).__name__}: {problem}."
                " Training goes on, and this is said once"
            )


def _to_loggers(trainer: Trainer, send: Callable[[Any], None]) -> Failed:
    failed: Failed = {}
    for logger in trainer.loggers:
        failed |= attempt(type(logger).__name__, partial(send, logger))
    return failed


def _write(directory: str, name: str, content: bytes) -> None:
    files = get_filesystem(directory)  # for Lightning, a run directory may be in a cloud
    files.makedirs(directory, exist_ok=True)
    with files.open(f"{directory}/{name}", "wb") as file:
        file.write(content)


def _send_picture(logger: Any, figure: Figure, pixels: np.ndarray, tag: str, step: int) -> None:
    """By the first method that the logger has; one that has none, such as CSVLogger, gets nothing."""
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
