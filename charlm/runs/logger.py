"""How a run reports: a TensorBoard logger whose HParams tab can compare models, config.yaml, and the terminal."""

import logging
import shutil
import sys
import time
import warnings
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import yaml
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.loggers.logger import DummyLogger, rank_zero_experiment
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import Status
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from torch.utils.tensorboard import SummaryWriter

from charlm.callbacks.graceful_stop import Stopped
from charlm.callbacks.shared.whole_file import write_text
from charlm.messages import visible
from charlm.runs.continued_events import continue_events
from charlm.runs.directory import claim_number, hold
from charlm.runs.events import event_files, read_scalars


class RunLogger(TensorBoardLogger):
    """A TensorBoardLogger whose runs can be compared in TensorBoard's HParams tab.

    It writes the start and the end of a session, and no experiment summary: TensorBoard would show the columns of one
    summary, picked at random, for all runs. So the tab shows every hyperparameter of every run, those that differ
    first, the last value of each scalar as a metric, and the true status of the run.

    Args:
        save_dir: the parent folder of `name`.
        name: the folder of all runs.
        version: the run's folder, as a number (version_N) or a name; null: the next free number, which no other
            process gets.
        resumed: for a resumed run: the optimizer steps of its checkpoint, and when that was written, in seconds since
            1970. TensorBoard then shows each point of the whole training once.
    """

    def __init__(
        self,
        save_dir: str | Path = ".",
        name: str = "lightning_logs",
        version: int | str | None = None,
        resumed: tuple[int, float] | None = None,
    ) -> None:
        self.claimed = version is None and getattr(rank_zero_only, "rank", 0) == 0  # other processes write nothing
        if self.claimed:
            version = claim_number(Path(save_dir) / name)
        super().__init__(save_dir, name=name, version=version, default_hp_metric=False)
        self.started = False
        self.resumed = resumed

    @property
    @rank_zero_experiment
    def experiment(self) -> SummaryWriter:
        """The writer of the event file, which begins when something is logged."""
        resumed, self.resumed = self.resumed, None
        older = event_files(Path(self.log_dir)) if resumed else []
        writer: SummaryWriter = super().experiment
        if resumed:
            continue_events(writer, older, *resumed)
        return writer

    @rank_zero_only
    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, metrics: dict[str, Any] | None = None, step: int | None = None
    ) -> None:
        """Collect hyperparameters from all calls; they are written with the first metrics."""
        super().log_hyperparams(params)
        if metrics:
            self.log_metrics(metrics, step or 0)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write scalars; before the first ones, write the hyperparameters."""
        if not self.started:
            self.started = True
            start = SessionStartInfo(start_time_secs=time.time())
            for key, value in dict(self.hparams).items():
                _set(start, key, value)
            self._write(metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=start))
        super().log_metrics(metrics, step)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End the session with its status."""
        if self.started and not isinstance(sys.exception(), Stopped):  # a stopped run will be resumed
            ended = Status.STATUS_SUCCESS if status == "success" else Status.STATUS_FAILURE
            end = SessionEndInfo(status=ended, end_time_secs=time.time())
            self._write(metadata.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=end))
        super().finalize(status)

    def _write(self, tag: str, data: HParamsPluginData) -> None:
        writer = self.experiment.file_writer
        if writer is not None:  # None once the session is closed
            value = Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(data), tensor=metadata.NULL_TENSOR)
            writer.add_summary(Summary(value=[value]))


@contextmanager
def its_own_run(trainer: pl.Trainer) -> Iterator[None]:
    """Lock the run's directory during training; remove a new directory if an error comes before the first log.

    Raises:
        ValueError: another process is training in it.
    """
    runs = [logger for logger in trainer.loggers if isinstance(logger, RunLogger) and trainer.is_global_zero]
    try:
        with ExitStack() as held:
            for logger in runs:
                held.enter_context(hold(Path(logger.log_dir)))
            yield
    except BaseException:
        for logger in runs:
            if logger.claimed and not logger.started:
                shutil.rmtree(logger.log_dir)
        raise


def log_later(run: Path, metrics: dict[str, float], step: int) -> None:
    """Add scalars to the event files of a finished run, except those that it has at this step already."""
    curves = read_scalars(run, lambda tag: tag in metrics).curves
    new = {tag: value for tag, value in metrics.items() if tag not in curves or step not in curves[tag][0]}
    if new:
        logger = TensorBoardLogger(str(run.parent.parent), run.parent.name, run.name, default_hp_metric=False)
        logger.log_metrics(new, step)
        logger.finalize("success")


class SaveConfig(SaveConfigCallback):
    """Write config.yaml to the run's directory, for `fit` with a logger."""

    folder = ""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Save the config, unless the run has no logger."""
        if stage == "fit" and not isinstance(trainer.logger, DummyLogger | None):
            self.folder = str(trainer.log_dir)  # in every process, as Lightning broadcasts it
            super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Write the file completely or not at all, without the checkpoint that this process resumes from.

        A resumed run gets its alphabet from the checkpoint; the file says null if it said so before.
        """
        config, file = self.config.clone(), Path(self.folder) / self.config_filename
        before = yaml.safe_load(file.read_text(encoding="utf-8")) if config["ckpt_path"] and file.is_file() else {}
        if "data" in before and before["data"].get("alphabet") is None:
            config["data"]["alphabet"] = None
        config["ckpt_path"] = None
        text = self.parser.dump(config, skip_none=False)
        if _NO_VALUE in text:  # jsonargparse cannot write objects; without an entry the option has its default
            text = yaml.safe_dump(_without_objects(yaml.safe_load(text)), sort_keys=False)
        write_text(file, text)


def _without_objects(values: Any) -> Any:
    if isinstance(values, dict):
        is_object = {key: isinstance(value, str) and _NO_VALUE in value for key, value in values.items()}
        return {key: _without_objects(value) for key, value in values.items() if not is_object[key]}
    return [_without_objects(value) for value in values] if isinstance(values, list) else values


def _set(start: SessionStartInfo, key: str, value: Any) -> None:
    if isinstance(value, bool):
        start.hparams[key].bool_value = value
    elif isinstance(value, int | float):
        start.hparams[key].number_value = value
    elif value is not None:
        start.hparams[key].string_value = str(value)


_NO_VALUE = "Unable to serialize instance"
_NOISE = (
    "Tip:",
    "Detected KeyboardInterrupt",
    "`Trainer.fit` stopped: `max_",
    "Restoring states from",
    "Restored all states from",
    "to estimate number",
)


@contextmanager
def quiet() -> Iterator[None]:
    """Hide Lightning's advertisements and the warnings that do not help a user; show charlm's own messages."""
    lightning, own = logging.getLogger("lightning.pytorch.utilities.rank_zero"), logging.getLogger("charlm")
    notes, level = logging.StreamHandler(), own.level
    notes.setFormatter(_Visible())
    lightning.addFilter(_is_no_noise)
    own.setLevel(logging.INFO)
    if getattr(rank_zero_only, "rank", 0) == 0:  # only one of several processes
        own.addHandler(notes)
    try:
        with warnings.catch_warnings():
            for text in (
                r"isinstance\(treespec, LeafSpec\)",  # Lightning PR 21326
                "number of training batches .* smaller than the logging interval",
                "callbacks used to create the checkpoint need to be provided",  # not for an evaluation
                "The dirpath has changed",  # a run from --ckpt_path has its own directory
                "Checkpoint directory .* exists and is not empty",  # a resumed run writes to the same folder
            ):
                warnings.filterwarnings("ignore", f".*{text}")
            yield
    finally:
        lightning.removeFilter(_is_no_noise)
        own.removeHandler(notes)
        own.setLevel(level)


class _Visible(logging.Formatter):
    """Escapes control characters: a path in a message may hold some."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


def _is_no_noise(record: logging.LogRecord) -> bool:
    return not any(text in record.getMessage() for text in _NOISE)
