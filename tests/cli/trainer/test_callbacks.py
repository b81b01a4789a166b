import warnings

import pytest
from jsonargparse import Namespace
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.strategies import DDPStrategy
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from charlm.callbacks import Dashboard, NameSamples, StepDecay, StepProgressBar
from charlm.cli.main import main
from charlm.cli.trainer.callbacks import strategy_of
from charlm.cli.trainer.lightning_cli import TrainerCLI
from charlm.data.corpus import read_corpus

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Lightning's own use of jsonargparse

SMALL = """
model: {class_path: LitMLP, init_args: {n_embd: 2, n_hidden: 4}}
data: {path: NAMES, batch_size: 16}
trainer: {max_steps: 4, max_epochs: -1, val_check_interval: 2, check_val_every_n_epoch: null, log_every_n_steps: 1,
  accelerator: cpu, enable_model_summary: false}
"""


@pytest.fixture
def small(tmp_path, monkeypatch, alone):
    """The name of a config of four steps, in a folder of its own."""
    alone(monkeypatch, tmp_path)
    (tmp_path / "names.txt").write_text("\n".join(read_corpus().names()[::40]) + "\n")
    (tmp_path / "small.yaml").write_text(SMALL.replace("NAMES", str(tmp_path / "names.txt")))
    return "small.yaml"


@pytest.fixture
def callbacks(small, monkeypatch):
    """Those of the trainer that a command line makes, which then does nothing."""

    def callbacks(command, *options):
        made = []
        monkeypatch.setattr(TrainerCLI, "_run_subcommand", lambda cli, subcommand: made.extend(cli.trainer.callbacks))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            main([command, "--config", small, *options])
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


def test_those_that_are_given_take_their_place(callbacks):
    more = ["--trainer.callbacks+=Dashboard", "--trainer.callbacks.histograms=true"]
    more += ["--trainer.callbacks+=TQDMProgressBar", "--trainer.callbacks+=StepDecay"]
    more += ["--trainer.callbacks.milestones=[1]"]
    found = callbacks("fit", *more, "--trainer.callbacks+=StepDecay", "--trainer.callbacks.milestones=[2]")
    assert [own.histograms for own in of(Dashboard, found)] == [True]
    assert len(of(ProgressBar, found)) == 1
    assert [own.milestones for own in of(StepDecay, found)] == [[2]]


def test_a_sweep_shows_nothing(callbacks):
    found = callbacks("lr-find", "--trainer.callbacks+=NameSamples", "--trainer.callbacks+=LearningRateMonitor")
    assert of((Dashboard, NameSamples, ProgressBar, StepDecay), found) == []
    assert "LearningRateMonitor" in {type(callback).__name__ for callback in found}


def test_a_run_has_its_config_its_names_its_layers_and_its_layout(small):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main(["fit", "--config", small])
    found = EventAccumulator("lightning_logs/version_0", size_guidance={"tensors": 0}).Reload()
    (config,) = found.Tensors("config/text_summary")
    with open("lightning_logs/version_0/config.yaml", encoding="utf-8") as file:
        assert config.tensor_proto.string_val[0].decode() == f"```yaml\n{file.read()}\n```"
    assert [event.step for event in found.Tensors("samples/text_summary")] == [0, 1, 3]
    for tag in ("samples/new", "saturation/net.tanh"):
        assert [event.step for event in found.Scalars(tag)][-2:] == [event.step for event in found.Scalars("loss/val")]
    assert found.Tensors("custom_scalars__config__")


@pytest.mark.parametrize(
    ("options", "seconds"),
    [(["devices=2"], 60), (["devices=2", "strategy=ddp"], 60), (["devices=1"], None), ([], None)],
)
def test_several_processes_wait_a_minute_for_each_other(options, seconds):
    trainer = Namespace(**{"strategy": "auto", "devices": "auto", "num_nodes": 1} | dict(o.split("=") for o in options))
    strategy = strategy_of(Namespace(trainer=trainer))
    if seconds is None:
        assert strategy == "auto"
    else:
        assert isinstance(strategy, DDPStrategy)
        assert strategy._timeout.total_seconds() == seconds
