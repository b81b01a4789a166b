"""`charlm lr-find` as a user meets it: what it prints, what it writes and what it leaves alone."""

import json
import re
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from charlm.callbacks.lr_finder.rules import DEFAULT_RULE, RULES
from charlm.cli.trainer.lr_find import SweepTrainer

LOGS = Path("lightning_logs")
SWEEP = ["lr-find", "--num_steps", "60", "--min_lr", "0.001"]


def losses(version):
    return (LOGS / "lr-find" / version / "lr_finder.csv").read_text()


def test_its_help_names_the_rules_that_there_are():
    told = re.search(r"rule: ([\w, ]+)\.$", SweepTrainer.lr_find.__doc__, re.MULTILINE)
    assert told[1].replace(" or ", ", ").split(", ") == list(RULES)


def test_it_prints_what_the_rules_and_the_trials_say_and_writes_a_run_of_its_own(cli):
    """The same callback in `charlm fit` sees the same losses."""
    printed = cli(*SWEEP).out
    sweep = LOGS / "lr-find" / "001-sweep"
    written = sorted(file.name for file in sweep.iterdir() if not file.name.startswith("events"))
    assert written == ["config.yaml", "hparams.yaml", "lr_finder.csv", "lr_finder.json", "lr_finder.png"]
    assert list(Path().iterdir()) == [LOGS]
    events = EventAccumulator(str(sweep)).Reload()
    assert (events.Tags()["images"], events.Tags()["scalars"]) == (["lr_finder"], ["lr"])
    with pytest.raises(KeyError):  # no row among runs, nor columns of its own
        events.PluginTagToContent("hparams")
    assert [path.name for path in LOGS.iterdir() if not path.name.startswith(".")] == ["lr-find"]
    found = json.loads((sweep / "lr_finder.json").read_text())
    shown = dict(re.findall(r"^([a-z_]+) +([\d.e-]+)", printed, re.MULTILINE))
    assert shown == {rule: f"{rate:.3g}" for rule, rate in found["suggestions"].items()}
    assert set(shown) <= set(RULES)
    trials = re.findall(r"^([\d.e-]+) +200 +([\d.]+)( *<-)?$", printed, re.MULTILINE)
    expected = sorted((trial["rate"], trial["loss"]) for trial in found["climb"]["trials"])
    assert [(rate, loss) for rate, loss, _ in trials] == [(f"{rate:.3g}", f"{loss:.4f}") for rate, loss in expected]
    assert min(trials, key=lambda trial: float(trial[1]))[2]
    assert found["climb"]["steps"] == 20000
    assert found["climb"]["decays"], "by the config's StepDecay"
    assert f"fit --model.lr {found['suggestion']:.3g}" in printed
    assert found["rule"] == DEFAULT_RULE
    callback = ["--trainer.callbacks+=LRFinder", "--trainer.callbacks.num_steps", "60"]
    options = ["--trainer.callbacks.min_lr", "0.001", "--trainer.callbacks.apply", "false", "--trainer.max_steps", "2"]
    assert cli("fit", *callback, *options).status == 0
    assert next(LOGS.glob("001-*/lr_finder.csv")).read_text() == losses("001-sweep")


def test_a_sweep_can_start_from_a_checkpoint_and_takes_a_config_of_a_few_steps(cli):
    assert cli("fit", "--trainer.max_steps", "300", "--trainer.val_check_interval", "300").status == 0
    assert cli(*SWEEP, "--config", "mlp", "--config", "debug").status == 0
    cli(*SWEEP, "--ckpt_path", "best")  # it may well find that nothing is to be gained
    new, trained = (float(losses(f"00{i}-sweep").splitlines()[1].split(",")[1]) for i in (1, 2))
    assert trained < new - 0.3


def test_a_search_that_suggests_nothing_ends_with_status_2(cli):
    done = cli("lr-find", "--max_lr=1e-9", "--min_lr=1e-10", "--num_steps=40", "--trial_steps=0")
    assert done.status == 2
    assert re.search("^charlm: error: .*suggests no learning rate: .* See lightning_", done.err.splitlines()[-1])
