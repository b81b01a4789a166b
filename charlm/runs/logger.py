"""What a run tells: TensorBoard, with an HParams tab that can compare different models, and the terminal."""

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
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import Status
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo

from charlm.callbacks.graceful_stop import Stopped
from charlm.callbacks.shared.whole_file import write_text
from charlm.runs.directory import claim_number, hold


class RunLogger(TensorBoardLogger):
    """Lightning's TensorBoardLogger, whose hyperparameters TensorBoard can put side by side.

    It writes a session's start and end and no experiment summary: of those TensorBoard picks one run's at random and
    drops the columns of the others. So the tab has every hyperparameter of every run, those that differ first, with
    the last value of each scalar as metric and the run's true status.

    Args:
        save_dir: the folder that holds `name`.
        name: the folder of the runs.
        version: the run's own folder, as a number (version_N) or a name; null: the next free number, and no other
            process gets the same.
        purge_step: of a run that goes on: TensorBoard drops what the folder holds from this step on, as it comes again.
    """

    def __init__(
        self,
        save_dir: str | Path = ".",
        name: str = "lightning_logs",
        version: int | str | None = None,
        purge_step: int | None = None,
    ) -> None:
        self.claimed = version is None and getattr(rank_zero_only, "rank", 0) == 0  # the others write nothing
        if self.claimed:
            version = claim_number(Path(save_dir) / name)
        options: dict[str, Any] = {} if purge_step is None else {"purge_step": purge_step}
        super().__init__(save_dir, name=name, version=version, default_hp_metric=False, **options)
        self.started = False

    @rank_zero_only
    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, metrics: dict[str, Any] | None = None, step: int | None = None
    ) -> None:
        """Keep hyperparameters; calls add up, and the session starts with the first metrics."""
        super().log_hyperparams(params)
        if metrics:
            self.log_metrics(metrics, step or 0)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write scalars; before the first ones, the hyperparameters kept so far."""
        if not self.started:
            self.started = True
            start = SessionStartInfo(start_time_secs=time.time())
            for key, value in dict(self.hparams).items():
                _set(start, key, value)
            self._write(metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=start))
        super().log_metrics(metrics, step)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Close the session with its status."""
        if self.started and not isinstance(sys.exception(), Stopped):  # a run that was stopped goes on
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
    """Hold the run's directory while it trains, and remove it where an error ends that before anything is logged.

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
    """Add scalars to the log of a run that has ended."""
    logger = TensorBoardLogger(str(run.parent.parent), run.parent.name, run.name, default_hp_metric=False)
    logger.log_metrics(metrics, step)
    logger.finalize("success")


class SaveConfig(SaveConfigCallback):
    """config.yaml in the run's directory, for `fit` with a logger only."""

    folder = ""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Save, unless nothing is to be kept of this run."""
        if stage == "fit" and not isinstance(trainer.logger, DummyLogger | None):
            self.folder = str(trainer.log_dir)  # asked for in every process, as Lightning sends it to all
            super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Write it whole or not at all, without the checkpoint that this process goes on from."""
        config = self.config.clone()
        config["ckpt_path"] = None
        text = self.parser.dump(config, skip_none=False)
        if _NO_VALUE in text:  # jsonargparse's word for an object; left out, the option has its default again
            text = yaml.safe_dump(_without_objects(yaml.safe_load(text)), sort_keys=False)
        write_text(Path(self.folder) / self.config_filename, text)


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
    """Drop Lightning's advertisements and the warnings that say nothing to a user; show our own notes."""
    lightning, own = logging.getLogger("lightning.pytorch.utilities.rank_zero"), logging.getLogger("charlm")
    notes, level = logging.StreamHandler(), own.level
    lightning.addFilter(_is_no_noise)
    own.setLevel(logging.INFO)
    if getattr(rank_zero_only, "rank", 0) == 0:  # once, where several processes train
        own.addHandler(notes)
    try:
        with warnings.catch_warnings():
            for text in (
                r"isinstance\(treespec, LeafSpec\)",  # Lightning PR 21326
                "number of training batches .* smaller than the logging interval",
                "callbacks used to create the checkpoint need to be provided",  # to evaluate, no
                "The dirpath has changed",  # a run that goes on from --ckpt_path writes to a directory of its own
                "Checkpoint directory .* exists and is not empty",  # one that is resumed writes to the same
            ):
                warnings.filterwarnings("ignore", f".*{text}")
            yield
    finally:
        lightning.removeFilter(_is_no_noise)
        own.removeHandler(notes)
        own.setLevel(level)


def _is_no_noise(record: logging.LogRecord) -> bool:
    return not any(text in record.getMessage() for text in _NOISE)
