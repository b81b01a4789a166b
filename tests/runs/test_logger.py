"""What RunLogger writes for TensorBoard's HParams tab; dashboard/test_tensorboard.py asks the tab itself."""

import signal
import sys
from contextlib import nullcontext

import lightning.pytorch as pl
import pytest
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import Status
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from charlm.callbacks.graceful_stop import Stopped
from charlm.cli.trainer.quiet import quiet
from charlm.data.datamodule import NamesDataModule
from charlm.models.windows import LitMLP
from charlm.runs.events import event_files, read_events
from charlm.runs.logger import RunLogger, log_later


def session(run):
    """The hyperparameters that a run wrote, and its status; neither is in a summary of the experiment."""
    values = [value for file in event_files(run) for event, _ in read_events(file) for value in event.summary.value]
    written = {
        value.tag: HParamsPluginData.FromString(value.metadata.plugin_data.content)
        for value in values
        if value.metadata.plugin_data.plugin_name == metadata.PLUGIN_NAME
    }
    start = written.pop(metadata.SESSION_START_INFO_TAG).session_start_info.hparams
    end = written.pop(metadata.SESSION_END_INFO_TAG, None)
    assert written == {}, "TensorBoard would show the columns of one run for all runs"
    hparams = {key: getattr(value, value.WhichOneof("kind")) for key, value in start.items()}
    return hparams, end and end.session_end_info.status


class Ends(pl.Callback):
    """Raises an error in the fourth step."""

    def __init__(self, error):
        self.error = error

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == 3:
            raise self.error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, Status.STATUS_SUCCESS),
        (RuntimeError(), Status.STATUS_FAILURE),
        (Stopped(signal.SIGTERM), None),  # it will be resumed
    ],
)
def test_a_run_has_the_hyperparameters_of_model_and_user_and_its_status(trainer, tmp_path, error, status):
    (tmp_path / "names.txt").write_text("emma\nolivia\nava\nisabella\nsophia\nmia\namelia\nevelyn\n")
    data = NamesDataModule(str(tmp_path / "names.txt"), batch_size=8)
    training = trainer(max_epochs=2, logger=RunLogger(tmp_path), callbacks=[Ends(error)] if error else [])
    training.logger.log_hyperparams({"sampling": "epoch", "flag": True, "list": [1, 2], "nothing": None})
    with pytest.raises(type(error)) if error else nullcontext():
        training.fit(LitMLP(alphabet=data.alphabet, n_hidden=4), data)
    hparams, ended = session(tmp_path / "lightning_logs" / "001-run")
    assert ended == status
    assert (hparams["n_hidden"], hparams["lr"]) == (4, 0.1)
    assert (hparams["sampling"], hparams["flag"], hparams["list"]) == ("epoch", True, "[1, 2]")
    assert not {"nothing", "vocab_size"} & hparams.keys(), "what is not set has no value"


def test_a_run_that_goes_on_has_no_status_yet(tmp_path):
    logger = RunLogger(tmp_path)
    logger.log_metrics({"lr_finder/lr": 0.1}, 0)
    logger.log_hyperparams({"lr": 1})  # known only after a callback has logged something
    logger.log_metrics({"loss/val": 3.0}, 0)
    logger.save()
    assert session(tmp_path / "lightning_logs" / "001-run") == ({"lr": 1}, None)
    logger.finalize("success")
    assert session(tmp_path / "lightning_logs" / "001-run") == ({"lr": 1}, Status.STATUS_SUCCESS)


def log_many(logger):
    for step in range(1, 100):
        logger.log_metrics({"loss/val": 2.0}, step)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of file sizes")
def test_a_log_that_cannot_be_written_is_said_in_a_sentence(tmp_path):
    import resource

    logger = RunLogger(tmp_path)
    logger.log_metrics({"loss/val": 3.0}, 0)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with quiet(), pytest.raises(OSError, match=r"logged in \S+ \(File too large\); .*resume 001-run"):
            log_many(logger)
        logger.finalize("failed")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"the losses cannot be logged in \S+run \(.*\); make room"):
        log_later(tmp_path / "file" / "run", {"loss/test": 2.0}, 100)


def test_a_file_in_the_place_of_the_runs_is_named(tmp_path):
    (tmp_path / "lightning_logs").touch()
    with pytest.raises(OSError, match="lightning_logs is a file; move it, or give another folder"):
        RunLogger(tmp_path)
