from pathlib import Path

import pytest
from jsonargparse import Namespace
from lightning.pytorch.callbacks import EarlyStopping, ProgressBar

from charlm.callbacks import Dashboard, NameSamples, StepDecay, StepProgressBar
from charlm.cli.trainer.lightning_cli import TrainerCLI
from charlm.cli.trainer.processes import processes_of


@pytest.fixture
def callbacks(cli, small, monkeypatch):
    """Those of the trainer that a command line makes, which then does nothing."""

    def callbacks(command, *options):
        made = []
        monkeypatch.setattr(TrainerCLI, "_run_subcommand", lambda cli, subcommand: made.extend(cli.trainer.callbacks))
        cli(command, "--config", small, *options)
        return made

    return callbacks


def of(kind, callbacks):
    return [callback for callback in callbacks if isinstance(callback, kind)]


def test_a_fit_shows_names_and_has_a_dashboard_unless_told_otherwise(callbacks):
    found = callbacks("fit", "--dashboard.histograms=true", "--name_samples.n=3")
    assert [own.histograms for own in of(Dashboard, found)] == [True]
    assert [own.n for own in of(NameSamples, found)] == [3]
    found = callbacks("fit", "--dashboard=null", "--name_samples=null")
    assert of((Dashboard, NameSamples), found) == []
    assert len(of(StepProgressBar, found)) == 1
    assert [own.milestones for own in of(StepDecay, found)] == [[]], "it logs the rates of every run"


def test_those_that_are_given_take_their_place(callbacks):
    more = ["--trainer.callbacks+=Dashboard", "--trainer.callbacks.histograms=true"]
    more += ["--trainer.callbacks+=TQDMProgressBar", "--trainer.callbacks+=StepDecay"]
    more += ["--trainer.callbacks.milestones=[1]"]
    found = callbacks("fit", *more, "--trainer.callbacks+=StepDecay", "--trainer.callbacks.milestones=[2]")
    assert [own.histograms for own in of(Dashboard, found)] == [True]
    assert len(of(ProgressBar, found)) == 1
    assert [own.milestones for own in of(StepDecay, found)] == [[2]]
    stops = ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor"]
    found = callbacks("fit", "--config=best", *stops, "loss/val", "--trainer.callbacks.patience=2", *stops, "loss")
    assert [(own.monitor, own.patience) for own in of(EarlyStopping, found)] == [("loss/val", 2), ("loss", 3)]


OWN = """
from lightning.pytorch import Callback


class Counts(Callback):
    def __init__(self, n: int = 0) -> None:
        self.n = n

    def state_dict(self):
        return {"n": self.n}
"""


def test_of_two_with_the_same_key_the_last_one_is_used_which_is_said(callbacks, caplog):
    Path("counts.py").write_text(OWN)
    found = callbacks("fit", *(f"--trainer.callbacks{end}" for n in (1, 2) for end in ("+=counts.Counts", f".n={n}")))
    assert [own.n for own in found if type(own).__name__ == "Counts"] == [2]
    assert "Only the last of several callbacks with the state_key 'Counts' is used" in caplog.text


def test_a_sweep_shows_nothing(callbacks):
    found = callbacks("lr-find", "--trainer.callbacks+=NameSamples", "--trainer.callbacks+=LearningRateMonitor")
    assert of((Dashboard, NameSamples, ProgressBar, StepDecay), found) == []
    assert "LearningRateMonitor" in {type(callback).__name__ for callback in found}


@pytest.mark.parametrize(
    ("options", "torchrun", "expected"),
    [
        (["devices=2"], {}, ("2", 1, 9)),
        (["devices=2", "strategy=ddp"], {}, ("2", 1, 9)),
        (["devices=1"], {}, ("1", 1, None)),
        ([], {}, ("auto", 1, None)),
        ([], {"LOCAL_WORLD_SIZE": "2", "GROUP_WORLD_SIZE": "3"}, (2, 3, 9)),
        ([], {"LOCAL_WORLD_SIZE": "1", "GROUP_WORLD_SIZE": "1"}, (1, 1, None)),
    ],
)
def test_several_processes_wait_for_each_other_and_torchrun_says_how_many(options, torchrun, expected, monkeypatch):
    for name, value in {**torchrun, **({"TORCHELASTIC_RUN_ID": "1"} if torchrun else {})}.items():
        monkeypatch.setenv(name, value)
    trainer = Namespace(**{"strategy": "auto", "devices": "auto", "num_nodes": 1} | dict(o.split("=") for o in options))
    found = processes_of(Namespace(trainer=trainer, ddp_timeout=9))
    strategy = found["strategy"]
    seconds = None if strategy == "auto" else strategy._timeout.total_seconds()
    assert (found["devices"], found["num_nodes"], seconds) == expected
