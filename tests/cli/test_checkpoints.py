"""What commands do with a checkpoint: evaluations, predictions, and trainings that go on from --ckpt_path."""

import csv
import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from charlm.data.batches import BatchLoader
from charlm.data.splits import load_splits
from charlm.nets.loss import evaluate
from charlm.runs.load_checkpoint import load_checkpoint

RUN = Path("lightning_logs/001-run")


def files(folder="."):
    """The content of all files below a folder."""
    return {str(path): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def loss(checkpoint, split, path):
    """Nats per character of a checkpoint on a split of the names in `path`."""
    net = load_checkpoint(checkpoint).net
    return evaluate(net, BatchLoader(getattr(load_splits(path, block_size=net.block_size), split), None)).loss


def weights(checkpoint):
    return torch.cat([table.flatten() for table in load_checkpoint(checkpoint).net.state_dict().values()])


@pytest.fixture(scope="module")
def bigram(fit):
    """A run like `trained`'s of a bigram."""
    return fit("--model=Bigram", "--data.block_size=1", "--model.lr=10") / RUN


@pytest.fixture
def two_runs(run, bigram):
    """001-run is the newest; 002-run, a bigram, is older."""
    shutil.copytree(bigram, "lightning_logs/002-run")
    for file in Path("lightning_logs/002-run").rglob("*.ckpt"):
        os.utime(file, (1_000_000, 1_000_000))
    return run


@pytest.mark.parametrize(
    ("command", "split", "where", "kind"),
    [
        ("validate", "val", [], "MLP"),
        ("test", "test", ["--ckpt_path=last"], "MLP"),
        ("test", "test", ["--ckpt_path", "lightning_logs/002-run"], "Bigram"),
    ],
)
def test_an_evaluation_takes_the_newest_run_or_what_it_is_given(command, split, where, kind, cli, two_runs, names):
    """The model needs not be named, also where it is not the default one."""
    run = two_runs if kind == "MLP" else two_runs.with_name("002-run")
    done = cli(command, *where)
    assert done.status == 0
    printed = float(re.search(rf"loss/{split}\s+([\d.]+)", done.out)[1])
    assert printed == pytest.approx(loss(run / "checkpoints/best.ckpt", split, names), abs=1e-5)
    assert re.search(rf"{run}/checkpoints/\w+.ckpt: Lit{kind} after", done.err)


def test_predict_writes_a_row_for_every_character(cli, two_runs, names):
    done = cli("predict")
    assert done.out == f"Predictions  {two_runs}/predictions.csv\n"
    rows = list(csv.DictReader((two_runs / "predictions.csv").read_text(encoding="utf-8").splitlines()))
    test_names = load_splits(names).names("test")
    assert [row["target"] for row in rows] == [ch for name in test_names for ch in [*name, "<>"]]
    assert [row["context"] for row in rows[:4]] == [test_names[0][:i] for i in range(4)]
    mean = sum(float(row["nats"]) for row in rows) / len(rows)
    assert mean == pytest.approx(loss(two_runs, "test", names), abs=1e-4)
    assert {len(row["likeliest"]) for row in rows} <= {1, 2}


@pytest.mark.parametrize(("command", "new"), [("validate", []), ("test", ["events"]), ("predict", ["predictions"])])
def test_an_evaluation_writes_no_config_and_no_run_of_its_own(command, new, cli, run):
    before = files()
    cli(command)
    assert [Path(path).name.split(".")[0] for path in files() if path not in before] == new
    assert list(run.parent.iterdir()) == [run]


def test_the_test_loss_goes_to_the_run_of_the_checkpoint(cli, run, scalars):
    wanted = json.loads((run / "results.json").read_text())
    (run / "results.json").write_text(json.dumps({**wanted, "test": 0.0}))
    cli("test")
    assert json.loads((run / "results.json").read_text()) == {**wanted, "test": pytest.approx(wanted["test"], abs=1e-5)}
    assert len(scalars(run, "loss/test")) == 1, "the report has written the same loss already"
    assert scalars(run, "accuracy/test")
    (run / "results.json").write_text(json.dumps({**wanted, "checkpoint": "another.ckpt", "test": 0.0}))
    cli("test")
    assert json.loads((run / "results.json").read_text())["test"] == 0.0, "a row has the losses of one checkpoint"


def test_a_test_on_other_names_or_on_a_part_leaves_the_run_as_it_is(cli, run, names):
    Path("others.txt").write_text("\n".join(Path(names).read_text().splitlines()[10:]))
    others = ["--data.path=others.txt", "--data.split_seed=7", "--data.split=[0.5,0.25,0.25]"]
    parts = ["--trainer.limit_test_batches=0", "--trainer.limit_test_batches=1", "--trainer.fast_dev_run=true"]
    before = files()
    for option in others + parts:
        assert cli("test", option).status == 0
        assert files() == before


def test_the_command_line_wins_over_the_checkpoint_or_is_refused(cli, run):
    assert cli("test", "--model.lr=3", "--model.optimizer=AdamW", "--data.eval_batch_size=7").status == 0
    done = cli("validate", "--model=Bigram")
    assert "holds a LitMLP, not a LitBigram; leave the model out" in done.err
    fit = ["fit", "--ckpt_path", str(run)]
    assert cli(*fit, "--model.lr=0.1", "--trainer.max_steps=5").status == 0
    always = {
        "--model.n_hidden=300": "4",
        "--data.block_size=2": "3",
        "--data.alphabet=abcdefghijklmnopqrstuvwxyz0": "'[a-z]{26}'",
    }
    on_resume = {"--model.lr=3": r"0\.1", "--model.optimizer=AdamW": "'SGD'"}
    for command, options in ((["test"], always), (fit, always | on_resume)):
        for option, had in options.items():
            done = cli(*command, option)
            assert (done.status, done.out) == (2, "")
            said = rf"{option.partition('=')[0]} is \S+, and \S+ckpt was trained with {had}; leave the option out"
            assert re.search(said, done.err)


@pytest.mark.parametrize(("command", "split"), [("validate", "[1,0,0]"), ("test", "[0.9,0.1,0]")])
def test_an_evaluation_on_a_split_without_a_share_is_refused(command, split, cli, run):
    done = cli(command, f"--data.split={split}")
    assert (done.status, done.out) == (2, "")
    assert re.search(rf"data.split is .*, so there is nothing to {command} on$", done.err.rstrip())


# trainings that go on


@pytest.mark.parametrize("options", [[], ["--trainer.val_check_interval=100"], ["--data.split=[0.9,0,0.1]"]])
def test_a_training_that_goes_on_ends_as_if_it_had_not_stopped(options, cli, small, scalars):
    """It stopped between two validations, or has none."""
    fit = ["fit", "--config", small, *options]
    cli(*fit, "--trainer.max_steps=5")
    done = cli(*fit, "--trainer.max_steps=8", "--ckpt_path=last")
    assert (done.status, "LitMLP after 5 steps" in done.err) == (0, True)
    assert re.search(r"^Run +lightning_logs/002-run$", done.out, re.M)
    cli(*fit, "--trainer.max_steps=8")
    runs = [f"lightning_logs/00{i}-run" for i in range(1, 4)]
    assert [step for step, _ in scalars(runs[1], "loss/train")] == [5, 6, 7]
    assert scalars(runs[0], "loss/train") + scalars(runs[1], "loss/train") == scalars(runs[2], "loss/train")
    assert torch.equal(*(weights(f"{run}/checkpoints/last.ckpt") for run in runs[1:]))


@pytest.mark.usefixtures("run")
def test_a_run_goes_on_with_its_own_settings(cli):
    cli("fit", "--ckpt_path=last", "--trainer.max_steps=5")
    config = yaml.safe_load(Path("lightning_logs/002-mlp-run-steps5/config.yaml").read_text())
    assert config["name"] is None, "it is another run"
    assert (config["trainer"]["val_check_interval"], config["trainer"]["max_steps"]) == (2, 5)
    assert config["data"]["batch_size"] == 16


def test_a_run_from_elsewhere_brings_no_config(cli, run):
    """A config can name any code, so only those of one's own runs are taken without being asked for."""
    other = run.rename("downloaded")
    (other / "config.yaml").write_text("trainer: {callbacks: [{class_path: evil.Callback}]}")
    assert cli("fit", f"--ckpt_path={other}", "--trainer.max_steps=5", "--trainer.val_check_interval=2").status == 0
    assert "evil" not in next(Path("lightning_logs").glob("*/config.yaml")).read_text()
