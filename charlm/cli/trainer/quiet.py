"""What the terminal shows of Lightning's messages."""

import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities.rank_zero import rank_zero_only
from tqdm import tqdm

from charlm.messages import visible

_NOISE = (
    "Tip:",
    "Detected KeyboardInterrupt",
    "`Trainer.fit` stopped: `max_",
    "Restoring states from",
    "Restored all states from",
    "Loaded model weights from",
    "to estimate number",
    "EarlyStopping had ended",  # `fit` says so itself
    "GPU available:",
    "TPU available:",
)


@contextmanager
def quiet() -> Iterator[None]:
    """Hide Lightning's advertisements and the warnings that do not help a user; show charlm's own messages."""
    lightning, own = logging.getLogger("lightning.pytorch.utilities.rank_zero"), logging.getLogger("charlm")
    notes, level = logging.StreamHandler(), own.level
    notes.setFormatter(_Visible())
    lightning.addFilter(_is_no_noise)
    own.setLevel(logging.INFO)
    of_threads, threading.excepthook = threading.excepthook, _hide_writers_end
    if getattr(rank_zero_only, "rank", 0) == 0:  # only one of several processes
        own.addHandler(notes)
    try:
        with warnings.catch_warnings():
            for text in (
                r"isinstance\(treespec, LeafSpec\)",  # Lightning PR 21326
                "number of training batches .* smaller than the logging interval",
                "callbacks used to create the checkpoint need to be provided",  # not for an evaluation
                "`LightningModule.configure_optimizers` returned `None`",  # the n-gram counts
                "The dirpath has changed",  # a run from --ckpt_path has its own directory
                "Checkpoint directory .* exists and is not empty",  # a resumed run writes to the same folder
            ):
                warnings.filterwarnings("ignore", f".*{text}")
            warnings.showwarning = partial(_show_warning, warnings.showwarning)
            yield
    finally:
        lightning.removeFilter(_is_no_noise)
        own.removeHandler(notes)
        own.setLevel(level)
        threading.excepthook = of_threads


def _hide_writers_end(ended: threading.ExceptHookArgs) -> None:
    """Show no traceback for the thread that writes the event file: the error is raised in the thread that logs."""
    if not type(ended.thread).__module__.startswith("tensorboard."):
        threading.__excepthook__(ended)


def _show_warning(otherwise: Callable[..., None], message: Warning | str, kind: type, file: str, *rest: Any) -> None:
    """Show a warning of charlm or Lightning as its text alone, above a progress bar."""
    if {"charlm", "lightning"} & set(Path(file).parts) and sys.stderr is not None:
        tqdm.write(f"Warning: {visible(str(message))}", file=sys.stderr)
    else:
        otherwise(message, kind, file, *rest)


class _Visible(logging.Formatter):
    """Escapes control characters: a path in a message may hold some."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


def _is_no_noise(record: logging.LogRecord) -> bool:
    return not any(text in record.getMessage() for text in _NOISE)
