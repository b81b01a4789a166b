"""What RunLogger writes, asked of a TensorBoard that runs in this process."""

import json
import sys
import time
import urllib.request

import lightning.pytorch as pl
import pytest
from tensorboard import program
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from charlm.cli.trainer.quiet import quiet
from charlm.data.datamodule import NamesDataModule
from charlm.models.windows import LitBigram, LitMLP
from charlm.runs.logger import RunLogger

pytestmark = pytest.mark.filterwarnings("ignore:html5lib's sanitizer is deprecated:DeprecationWarning")  # TensorBoard's

NAMES = "emma\nolivia\nava\nisabella\nsophia\nmia\namelia\nevelyn\nabigail\nemily\nella\nluna\nmila\naria\n"
STATUSES = [f"STATUS_{name}" for name in ("UNKNOWN", "SUCCESS", "FAILURE", "RUNNING")]
LOSSES = {"loss/train", "loss_mean/train", "loss/val"}


class Stop(pl.Callback):
    """Fails in the fourth step."""

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == 3:
            raise RuntimeError("of the test")


def fit(root, model, data, *callbacks):
    options = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = pl.Trainer(
        max_epochs=2,
        log_every_n_steps=1,
        accelerator="cpu",
        callbacks=list(callbacks),
        logger=RunLogger(root),
        **options,
    )
    trainer.logger.log_hyperparams({"model": type(model).__name__, "sampling": "epoch"})
    trainer.fit(model, data)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Three runs: an MLP, a bigram and a larger MLP that fails; a fourth one goes on."""
    root = tmp_path_factory.mktemp("runs")
    (root / "names.txt").write_text(NAMES)
    data = NamesDataModule(str(root / "names.txt"), batch_size=16, split=(0.7, 0.3, 0.0))
    fit(root, LitMLP(alphabet=data.alphabet, n_hidden=4), data)
    fit(root, LitBigram(alphabet=data.alphabet, weight_penalty=0.01), data)
    with pytest.raises(RuntimeError, match="of the test"):
        fit(root, LitMLP(alphabet=data.alphabet, n_hidden=8, vocab_size=27), data, Stop())
    running = RunLogger(root)
    running.log_hyperparams({"model": "LitMLP", "flag": True, "list": [1, 2], "nothing": None})
    running.log_metrics({"loss/val": 3.0}, 0)
    running.log_metrics({"loss/val": 2.0}, 1)
    running.save()
    yield root
    running.finalize("success")


@pytest.fixture(scope="module")
def ask(root):
    """Ask a TensorBoard that has read those runs: the path below /data, and the body of a POST."""
    board = program.TensorBoard()
    board.configure(argv=[None, "--logdir", str(root), "--host", "127.0.0.1", "--port", "0", "--load_fast", "false"])
    url = board.launch()

    def ask(path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{url}data/{path}", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    while not is_read(ask):
        time.sleep(0.1)
    return ask


def is_read(ask):
    """It reads in the background; what each run wrote last is there."""
    runs = [f"lightning_logs/version_{i}" for i in range(4)]
    if sorted(ask("plugin/scalars/tags")) != runs:
        return False
    ended = [session["sessions"][0]["status"] for session in rows(ask, []) if session["name"] != runs[-1]]
    points = ask(f"plugin/scalars/scalars?run={runs[-1]}&tag=loss/val")
    return len(ended) == 3 and "STATUS_UNKNOWN" not in ended and len(points) == 2


def rows(ask, columns):
    """The rows of the HParams table."""
    request = {"experimentName": "", "allowedStatuses": STATUSES, "colParams": columns, "startIndex": 0, "sliceSize": 9}
    return ask("plugin/hparams/session_groups", request)["sessionGroups"]


@pytest.fixture(scope="module")
def experiment(ask):
    return ask("plugin/hparams/experiment", {"experimentName": ""})


@pytest.fixture(scope="module")
def sessions(ask, experiment):
    """The rows of the HParams table by run, with every hyperparameter and loss as a column."""
    columns = [{"hparam": info["name"]} for info in experiment["hparamInfos"]]
    columns += [{"metric": info["name"]} for info in experiment["metricInfos"]]
    return {row["name"].removeprefix("lightning_logs/"): row for row in rows(ask, columns)}


def test_every_hyperparameter_of_every_run_is_a_column_and_those_that_differ_come_first(experiment):
    infos = experiment["hparamInfos"]
    assert {"model", "sampling", "n_hidden", "weight_penalty", "lr", "vocab_size", "flag"} <= {i["name"] for i in infos}
    differ = [info["differs"] for info in infos]
    assert differ == sorted(differ, reverse=True)
    assert {info["name"] for info in infos if info["differs"]} == {"model", "n_hidden", "lr"}


def test_a_row_has_the_hyperparameters_the_status_and_the_last_losses_of_its_run(sessions, root):
    mlp, bigram, large, running = (sessions[f"version_{i}"]["hparams"] for i in range(4))
    assert (mlp["model"], mlp["n_hidden"], mlp["lr"], "vocab_size" in mlp) == ("LitMLP", 4, 0.1, False)
    assert (bigram["model"], bigram["weight_penalty"], "n_hidden" in bigram) == ("LitBigram", 0.01, False)
    assert (large["n_hidden"], large["vocab_size"]) == (8, 27)
    assert running == {"model": "LitMLP", "flag": True, "list": "[1, 2]"}
    statuses = [sessions[f"version_{i}"]["sessions"][0]["status"] for i in range(4)]
    assert statuses == ["STATUS_SUCCESS", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_UNKNOWN"]
    for run, session in sessions.items():
        events = EventAccumulator(str(root / "lightning_logs" / run)).Reload()
        values = {metric["name"]["tag"]: metric["value"] for metric in session["metricValues"]}
        for tag in LOSSES.intersection(events.Tags()["scalars"]):
            assert values[tag] == pytest.approx(events.Scalars(tag)[-1].value)


def test_a_logger_without_metrics_writes_no_session(tmp_path):
    logger = RunLogger(tmp_path)
    logger.log_hyperparams({"lr": 0.1})
    logger.finalize("failed")
    assert not list(tmp_path.rglob("events*"))


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
        with quiet(), pytest.raises(OSError, match=r"logged in \S+ \(File too large\); .*resume version_0"):
            log_many(logger)
        logger.finalize("failed")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_file_in_the_place_of_the_runs_is_named(tmp_path):
    (tmp_path / "lightning_logs").touch()
    with pytest.raises(OSError, match="lightning_logs is a file; move it, or give another folder"):
        RunLogger(tmp_path)
