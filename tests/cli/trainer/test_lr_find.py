"""`charlm lr-find` as a user meets it: what it prints, what it writes and what it leaves alone."""

import json
import re

import pytest

from charlm.callbacks.lr_finder.rules import DEFAULT_RULE, RULES
from charlm.cli.main import main
from charlm.cli.trainer.lr_find import SweepTrainer

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Lightning's own use of jsonargparse

SWEEP = ["lr-find", "--num_steps", "60", "--min_lr", "0.001"]


@pytest.fixture(autouse=True)
def folder(alone, monkeypatch, tmp_path):
    alone(monkeypatch, tmp_path)
    return tmp_path


def status(*args):
    """The exit status of a command."""
    try:
        return main(list(args)) or 0
    except SystemExit as end:
        return end.code or 0


def test_its_help_names_the_rules_that_there_are():
    told = re.search(r"rule: ([\w, ]+)\.$", SweepTrainer.lr_find.__doc__, re.MULTILINE)
    assert told[1].replace(" or ", ", ").split(", ") == list(RULES)


def test_it_prints_what_every_rule_suggests_and_writes_its_three_files_and_nothing_else(folder, capsys):
    assert status(*SWEEP) == 0
    printed = capsys.readouterr().out
    sweep = folder / "lightning_logs" / "lr-find" / "version_0"
    assert sorted(file.name for file in sweep.iterdir()) == ["lr_finder.csv", "lr_finder.json", "lr_finder.png"]
    assert [path.name for path in folder.iterdir()] == ["lightning_logs"]
    assert [path.name for path in (folder / "lightning_logs").iterdir() if not path.name.startswith(".")] == ["lr-find"]
    found = json.loads((sweep / "lr_finder.json").read_text())
    shown = dict(re.findall(r"^(\w+) +([\d.e-]+)", printed, re.MULTILINE))
    assert shown == {rule: f"{rate:.3g}" for rule, rate in found["suggestions"].items()}
    assert set(shown) <= set(RULES)
    assert f"fit --model.lr {found['suggestion']:.3g}" in printed
    assert found["rule"] == DEFAULT_RULE


def test_the_points_are_those_of_a_sweep_as_training_begins(folder, capsys):
    """The same callback in `charlm fit` sees the same losses."""
    assert status(*SWEEP) == 0
    callback = ["--trainer.callbacks+=LRFinder", "--trainer.callbacks.num_steps", "60"]
    options = ["--trainer.callbacks.min_lr", "0.001", "--trainer.callbacks.apply", "false", "--trainer.max_steps", "2"]
    assert status("fit", *callback, *options) == 0
    logs = folder / "lightning_logs"
    assert (logs / "lr-find/version_0/lr_finder.csv").read_text() == (logs / "version_0/lr_finder.csv").read_text()


def test_a_trial_may_lower_what_it_says_to_train_with(folder, capsys):
    """Of a table of logits under AdamW, in batches."""
    table = ["--model", "Bigram", "--model.optimizer", "AdamW", "--data.batch_size", "64"]
    assert status("lr-find", *table, "--num_steps", "300", "--trial_steps", "300") == 0
    printed = capsys.readouterr().out
    found = json.loads((folder / "lightning_logs/lr-find/version_0/lr_finder.json").read_text())
    assert found["suggestion"] == found["suggestions"][DEFAULT_RULE] / 4
    assert re.search(rf"^after the trial +{found['suggestion']:.3g} +<-$", printed, re.MULTILINE)
    assert f"fit --model.lr {found['suggestion']:.3g}" in printed
    assert printed.count("<-") == 1


def test_a_sweep_can_start_from_a_checkpoint(folder, capsys):
    assert status("fit", "--trainer.max_steps", "300", "--trainer.val_check_interval", "300") == 0
    assert status(*SWEEP) == 0
    status(*SWEEP, "--ckpt_path", "best")  # it may well find that nothing is to be gained
    new, trained = (
        float((folder / f"lightning_logs/lr-find/version_{n}/lr_finder.csv").read_text().splitlines()[1].split(",")[1])
        for n in (0, 1)
    )
    assert trained < new - 0.3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--min_lr", "20"], r"min_lr is 20\.0 and max_lr is 10\.0; give"),
        (["--rule", "magic"], r"rule is 'magic'; give one of .*valley"),
        (["--trainer.max_steps", "0"], "there was no sweep, as this training has no step"),
        (
            ["--max_lr", "1e-9", "--min_lr", "1e-10", "--num_steps", "40"],
            r"suggests no learning rate: .* See lightning_",
        ),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(given, message, capsys):
    assert status("lr-find", *given) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert re.search(message, errors[-1])
    assert errors[-1].startswith("charlm: error: ")


def test_a_config_of_a_few_steps_does_not_keep_it_from_sweeping(folder, capsys):
    assert status(*SWEEP, "--config", "mlp", "--config", "debug") == 0
    assert (folder / "lightning_logs/lr-find/version_0/lr_finder.csv").is_file()
