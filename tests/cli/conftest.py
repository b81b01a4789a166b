"""Command lines in this process, and a run of four steps that many tests share."""

import shutil
import warnings
from collections import namedtuple
from pathlib import Path

import lightning.pytorch  # noqa: F401  # its log handlers are made on import, and are not to hold a test's stderr
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from charlm.cli.main import main
from charlm.data.corpus import read_corpus

SMALL = """
name: run
model: {class_path: LitMLP, init_args: {n_embd: 2, n_hidden: 4}}
data: {path: NAMES, batch_size: 16}
trainer: {max_steps: 4, max_epochs: -1, val_check_interval: 2, check_val_every_n_epoch: null, log_every_n_steps: 1,
  accelerator: cpu, enable_model_summary: false}
"""


Done = namedtuple("Done", "status out err")


@pytest.fixture(scope="session")
def names(tmp_path_factory):
    """A hundred names, over all letters."""
    file = tmp_path_factory.mktemp("names") / "names.txt"
    file.write_text("\n".join(sorted(set(read_corpus().names()))[::51]) + "\n")
    return str(file)


@pytest.fixture(scope="session")
def small(names, tmp_path_factory):
    """A config that trains in a fifth of a second."""
    file = tmp_path_factory.mktemp("configs") / "small.yaml"
    file.write_text(SMALL.replace("NAMES", names))
    return str(file)


@pytest.fixture(scope="session")
def fit(small, tmp_path_factory, alone):
    """Train by that config and more options; a directory with the run in it."""

    def fit(*options):
        folder = tmp_path_factory.mktemp("trained")
        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
            alone(patch, folder)
            warnings.simplefilter("ignore")
            main(["fit", "--config", small, *options])
        return folder

    return fit


@pytest.fixture(scope="session")
def trained(fit):
    """A directory with the run of that config in it."""
    return fit()


@pytest.fixture
def cli(tmp_path, monkeypatch, capsys, alone):
    """Run a command line in a working directory of its own; gives its exit status and what it wrote."""
    alone(monkeypatch, tmp_path)

    def run(*args):
        status = 0
        capsys.readouterr()
        try:
            main(list(args))
        except SystemExit as end:
            status = end.code or 0
        return Done(status, *capsys.readouterr())

    return run


@pytest.fixture
def run(cli, trained):
    """The trained run, in lightning_logs of the working directory."""
    shutil.copytree(trained / "lightning_logs", "lightning_logs")
    return Path("lightning_logs/001-run")


@pytest.fixture(scope="session")
def scalars():
    """(step, value) of a scalar in TensorBoard's files."""

    def scalars(run, tag):
        return [(event.step, event.value) for event in EventAccumulator(str(run)).Reload().Scalars(tag)]

    return scalars
