"""How a run reports: a TensorBoard logger whose HParams tab can compare models, or one that logs nothing."""

import errno
import shutil
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.loggers.logger import rank_zero_experiment
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import Status
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from torch.utils.tensorboard import SummaryWriter

from charlm.callbacks.graceful_stop import Stopped
from charlm.runs.continued_events import continue_events
from charlm.runs.directory import hold
from charlm.runs.events import event_files, read_events, read_scalars
from charlm.runs.naming import RUNS, claim_run


class RunLogger(TensorBoardLogger):
    """A TensorBoardLogger whose runs can be compared in TensorBoard's HParams tab.

    It writes the start and the end of a session, and no experiment summary: TensorBoard would show the columns of one
    summary, picked at random, for all runs. So the tab shows every hyperparameter of every run, those that differ
    first, the last value of each scalar as a metric, and the true status of the run.

    Args:
        save_dir: the parent folder of `name`.
        name: the folder of all runs.
        version: the name of the run's folder; null: a new one, whose number no other process gets.
        resumed: for a resumed run: the optimizer steps of its checkpoint, and when that was written, in seconds since
            1970. TensorBoard then shows each point of the whole training once.
        words: what follows the number in the name of a new run.
    """

    def __init__(
        self,
        save_dir: str | Path = ".",
        name: str = RUNS,
        version: int | str | None = None,
        resumed: tuple[int, float] | None = None,
        words: str = "run",
    ) -> None:
        self.claimed, version = _claimed(Path(save_dir) / name, version, words)
        super().__init__(save_dir, name=name, version=version, default_hp_metric=False)
        self.started = self._in_session = self._is_broken = False
        self.latest: dict[str, float] = {}  # value of each metric
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
        """Write scalars; before the first ones that come with hyperparameters, write those."""
        self.latest |= metrics
        self.started = True
        with self._writing():
            if not self._in_session and dict(self.hparams):  # a callback may log before they are known
                self._in_session = True
                start = SessionStartInfo(start_time_secs=time.time())
                for key, value in dict(self.hparams).items():
                    _set(start, key, value)
                self._write(metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=start))
            writer = self.experiment.file_writer
            if writer is None or any(isinstance(value, dict) for value in metrics.values()):
                super().log_metrics(metrics, step)
            else:  # in one event instead of one for each scalar, which is half of the time and of the bytes
                scalars = [Summary.Value(tag=tag, simple_value=float(value)) for tag, value in metrics.items()]
                writer.add_summary(Summary(value=scalars), step)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End the session with its status."""
        if self._is_broken:
            return
        if self._in_session and not isinstance(sys.exception(), Stopped):  # a stopped run will be resumed
            ended = Status.STATUS_SUCCESS if status == "success" else Status.STATUS_FAILURE
            end = SessionEndInfo(status=ended, end_time_secs=time.time())
            with self._writing():
                self._write(metadata.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=end))
        with self._writing():
            super().finalize(status)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Say in a sentence why the event file cannot be written; Lightning may have hidden the error in another."""
        try:
            yield
        except (OSError, ValueError) as error:
            cause = _of_system(error)
            self._is_broken = True
            text = f"nothing more can be logged in {self.log_dir} ({cause.strerror})"
            resume = f"then continue with `charlm fit --resume {Path(self.log_dir).name}`"
            advice = f"free some space there, or raise the limit of file sizes (ulimit -f), {resume}"
            gone = "the folder was removed while the run was training; start it again"
            raise OSError(f"{text}; {gone if cause.errno == errno.ENOENT else advice}") from None

    def _write(self, tag: str, data: HParamsPluginData) -> None:
        writer = self.experiment.file_writer
        if writer is not None:  # None once the session is closed
            value = Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(data), tensor=metadata.NULL_TENSOR)
            writer.add_summary(Summary(value=[value]))


class SilentLogger(Logger):
    """The directory of a run, for a training that logs nothing.

    Args:
        save_dir: the parent folder of all runs.
        run: the run's directory; null: a new one, whose number no other process gets.
        words: what follows the number in the name of a new run.
    """

    def __init__(self, save_dir: str | Path = ".", run: Path | None = None, words: str = "run") -> None:
        super().__init__()
        root = run.parent if run is not None else Path(save_dir) / RUNS
        self.claimed, version = _claimed(root, run.name if run is not None else None, words)
        self._directory = str(root / str(version))
        self.started = False
        self.latest: dict[str, float] = {}

    @property
    def log_dir(self) -> str:
        """The run's directory."""
        return self._directory

    save_dir = log_dir  # which the trainer takes for a logger that is not Lightning's own

    @property
    def name(self) -> str:
        """Nothing, since `save_dir` is of this run alone; so is `version`."""
        return ""

    version = name

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Log nothing."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Only remember the latest value of each metric."""
        self.latest |= metrics
        self.started = True


OfRun = RunLogger | SilentLogger
"""The loggers that have a run's directory."""


@contextmanager
def its_own_run(trainer: pl.Trainer) -> Iterator[None]:
    """Lock the run's directory during training; remove what nothing was logged in: event files, a new directory.

    Raises:
        ValueError: another process is training in it.
    """
    runs = [logger for logger in trainer.loggers if isinstance(logger, OfRun) and trainer.is_global_zero]
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
    finally:
        for file in [file for logger in runs for file in event_files(Path(logger.log_dir))]:
            if next(islice(read_events(file), 1, None), None) is None:  # the first event is the version of the format
                file.unlink()


def log_later(run: Path, metrics: dict[str, float], step: int) -> None:
    """Add scalars to the event files of a finished run, except those that it has at this step already.

    Raises:
        OSError: they cannot be written.
    """
    curves = read_scalars(run, lambda tag: tag in metrics).curves
    new = {tag: value for tag, value in metrics.items() if tag not in curves or step not in curves[tag][0]}
    if new:
        logger = TensorBoardLogger(str(run.parent.parent), run.parent.name, run.name, default_hp_metric=False)
        try:
            logger.log_metrics(new, step)
            logger.finalize("success")
        except (OSError, ValueError) as error:
            raise OSError(f"the losses cannot be logged in {run} ({_of_system(error).strerror}); make room") from None


def _of_system(error: OSError | ValueError) -> OSError:
    """The error of the operating system, which Lightning may have hidden in another; any other one is raised."""
    cause = error if isinstance(error, OSError) else error.__cause__
    if not isinstance(cause, OSError):
        raise error
    return cause


def _claimed(root: Path, version: int | str | None, words: str) -> tuple[bool, int | str | None]:
    """Whether a new run's directory has been made, and its name; only the first of several processes makes one."""
    is_new = version is None and getattr(rank_zero_only, "rank", 0) == 0
    return is_new, claim_run(root, words) if is_new else version


def _set(start: SessionStartInfo, key: str, value: Any) -> None:
    if isinstance(value, bool):
        start.hparams[key].bool_value = value
    elif isinstance(value, int | float):
        start.hparams[key].number_value = value
    elif value is not None:
        start.hparams[key].string_value = str(value)
