"""The command `charlm` as users type it: in this process where that shows the same, else in one of its own."""

import csv
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import lightning.pytorch  # noqa: F401  # its log handlers are made on import, and are not to hold a test's stderr
import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import charlm
from charlm.cli.main import main
from charlm.cli.subcommands import COMMANDS, TRAINER_COMMANDS
from charlm.cli.trainer.configs import config_names
from charlm.data.batches import BatchLoader
from charlm.data.corpus import read_corpus
from charlm.data.splits import load_splits
from charlm.nets.loss import evaluate
from charlm.runs.checkpoint import load_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Lightning's own use of jsonargparse

RUN = Path("lightning_logs/version_0")
SMALL = """
model:
  class_path: LitMLP
  init_args: {n_embd: 2, n_hidden: 4}
data: {path: NAMES, batch_size: 16}
trainer: {max_steps: 4, max_epochs: -1, val_check_interval: 2, check_val_every_n_epoch: null, log_every_n_steps: 1,
  accelerator: cpu, enable_model_summary: false}
"""


@dataclass
class Done:
    """What a command line left."""

    status: int
    out: str
    err: str


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """A hundred names, over all letters."""
    file = tmp_path_factory.mktemp("names") / "names.txt"
    file.write_text("\n".join([*read_corpus().names()[::40], "xenia"]) + "\n")
    return str(file)


@pytest.fixture(scope="module")
def small(names, tmp_path_factory):
    """A config that trains in a fifth of a second."""
    file = tmp_path_factory.mktemp("configs") / "small.yaml"
    file.write_text(SMALL.replace("NAMES", names))
    return str(file)


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def trained(fit):
    """A directory with the run of that config in it."""
    return fit()


@pytest.fixture
def cli(tmp_path, monkeypatch, capsys, alone):
    """Run a command line in a working directory of its own."""
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
    return RUN


def process(*args, **options):
    """Run a command line as a process of its own."""
    settings = {"capture_output": True, "text": True, "timeout": 120} | options
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(charlm.__file__).parents[2])}
    return subprocess.run([sys.executable, *args], env=environment, **settings)


def scalars(run, tag):
    """(step, value) of a scalar in TensorBoard's files."""
    return [(event.step, event.value) for event in EventAccumulator(str(run)).Reload().Scalars(tag)]


def files(folder="."):
    """All files below a folder."""
    return {str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file()}


def loss(checkpoint, split, path):
    """Nats per character of a checkpoint on a split of the names in `path`."""
    loaded = load_checkpoint(checkpoint)
    return evaluate(loaded.net, BatchLoader(getattr(load_splits(path), split), None)).loss


def printed(done, metric):
    """The value of a metric in Lightning's table."""
    return float(re.search(rf"{metric}\s+([\d.]+)", done.out).group(1))


def weights(checkpoint):
    return torch.cat([table.flatten() for table in load_checkpoint(checkpoint).net.state_dict().values()])


# fit


def test_fit_leaves_a_whole_run_and_ends_with_a_report(cli, names):
    done = cli("fit", "--data.path", names, "--trainer.max_steps=30", "--trainer.val_check_interval=10")
    assert done.status == 0
    assert {path.name for path in RUN.glob("*") if "events" not in path.name} == {
        *("checkpoints", "config.yaml", "hparams.yaml", "results.json", "projector", "projector_config.pbtxt"),
        *("embedding_pca.png", "embedding_pca.gif", "embedding_pca.npz", "embedding_pca_frames.png"),
    }
    assert [path.name for path in Path().iterdir()] == ["lightning_logs"]
    best = next(RUN.glob("checkpoints/best.ckpt"))
    results = json.loads((RUN / "results.json").read_text())
    assert {split: results[split] for split in ("train", "val", "test")} == {
        split: pytest.approx(loss(best, split, names), abs=1e-6) for split in ("train", "val", "test")
    }
    assert (results["checkpoint"], results["step"]) == (best.name, load_checkpoint(best).step)
    assert f"at {best.name} (step {results['step']})" in done.out
    row = next(line.split() for line in done.out.splitlines() if line.startswith("version_0"))
    losses = [f"{results[split]:.4f}" for split in ("train", "val", "test")]
    assert row == ["version_0", "MLP", "3", "10", "200", "11,897", *losses]
    assert "30/30 steps" in done.err


def test_the_curves_go_to_tensorboard(run):
    steps = {tag: [step for step, _ in scalars(run, tag)] for tag in ("loss/train", "loss/val", "perplexity/val")}
    assert steps == {"loss/train": [0, 1, 2, 3], "loss/val": [1, 3], "perplexity/val": [1, 3]}
    test = json.loads((run / "results.json").read_text())["test"]
    assert [value for _, value in scalars(run, "loss/test")] == [pytest.approx(test)]
    assert "config/text_summary" in EventAccumulator(str(run)).Reload().Tags()["tensors"]


def test_last_is_the_last_state_and_best_the_one_with_the_lowest_val_loss(cli, small, names):
    """At this rate the second validation is worse than the first."""
    cli("fit", "--config", small, "--model.lr=50", "--trainer.max_steps=5")
    (_, first), (_, second) = scalars(RUN, "loss/val")
    assert first < second
    assert loss(RUN / "checkpoints/best.ckpt", "val", names) == pytest.approx(first)
    assert load_checkpoint(RUN / "checkpoints/last.ckpt").step == 5
    assert json.loads((RUN / "results.json").read_text())["step"] == 2


@pytest.mark.parametrize("shorter", [["--trainer.val_check_interval=100"], ["--data.split=[0.9,0,0.1]"]])
def test_without_a_validation_the_last_checkpoint_is_reported_on(shorter, cli, small):
    done = cli("fit", "--config", small, *shorter)
    assert done.status == 0
    assert "(step 4):" in done.out
    assert load_checkpoint(RUN).step == 4
    results = json.loads((RUN / "results.json").read_text())
    assert ("val" in results) == ("split" not in shorter[0])
    assert {"train", "test"} <= set(results)


@pytest.mark.parametrize("options", [["--trainer.fast_dev_run=true"], ["--trainer.enable_checkpointing=false"]])
def test_without_a_checkpoint_it_says_so(options, cli, small):
    done = cli("fit", "--config", small, *options)
    assert done.status == 0
    assert re.fullmatch(r".*no report.*no checkpoint.*|.*no checkpoint.*no report.*", done.out.strip(), re.I)


def test_the_same_seed_trains_the_same_weights(cli, small):
    for seed in ("42", "7", "42"):
        cli("fit", "--config", small, f"--seed_everything={seed}", "--trainer.enable_progress_bar=false")
    first, other, again = (weights(f"lightning_logs/version_{i}/checkpoints/last.ckpt") for i in range(3))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_run_takes_one_thread_unless_it_is_told_otherwise(cli, small, monkeypatch):
    before = torch.get_num_threads()
    options = ["fit", "--config", small, "--trainer.fast_dev_run=true"]
    torch.set_num_threads(2)
    assert "CPU threads" not in cli(*options).err
    assert torch.get_num_threads() == 2
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert "CPU threads: 2, since batches are large" in cli(*options, "--data.batch_size", "4096").err
    assert "CPU threads: 1, the fastest for small batches" in cli(*options).err
    assert torch.get_num_threads() == 1
    torch.set_num_threads(before)


def test_names_may_be_given_relative_to_the_working_directory(cli, small, names, tmp_path, monkeypatch):
    """And are found again from another one."""
    Path("mine").mkdir()
    shutil.copy(names, "mine/list.txt")
    assert cli("fit", "--config", small, "--data.path", "mine/list.txt").status == 0
    monkeypatch.chdir("mine")
    for args in (["test"], ["validate"]):
        assert cli(*args, "--ckpt_path", str(tmp_path / RUN)).status == 0
    assert cli("sample", "--new-only", "-n=3", "--checkpoint", str(tmp_path / RUN)).status == 0


# configs and options


@pytest.mark.parametrize("config", config_names())
def test_a_shipped_config_runs_by_its_bare_name(config, cli, names):
    """The lecture's own names would have to be downloaded."""
    done = cli("fit", "--config", config, "--data.path", names, "--trainer.fast_dev_run=true")
    assert (done.status, files()) == (0, set())
    assert "1/1 steps" in done.err


def config_of(cli, *args):
    """What --print_config says."""
    done = cli("fit", *args, "--print_config")
    assert (done.status, done.err) == (0, "")
    return yaml.safe_load(done.out)


def test_a_model_and_its_arguments_by_short_name(cli, small):
    model = config_of(cli, "--model", "MLP", "--model.n_hidden", "300")["model"]
    assert (model["class_path"].split(".")[-1], model["init_args"]["n_hidden"]) == ("LitMLP", 300)
    model = config_of(cli, "--config", small, "--model=Bigram", "--model.weight_penalty=0.5")["model"]
    assert (model["class_path"].split(".")[-1], model["init_args"]["weight_penalty"]) == ("LitBigram", 0.5)
    assert "n_hidden" not in model["init_args"]


def test_the_help_of_a_model_is_its_docstring(cli):
    done = cli("fit", "--model.help", "MLP")
    assert done.status == 0
    assert "--model.n_hidden" in done.out
    assert "H, tanh units." in done.out
    assert "weight_penalty" not in done.out


def kinds(config):
    return [callback["class_path"].split(".")[-1] for callback in config["trainer"]["callbacks"] or []]


def test_callbacks_can_be_added_by_short_name(cli, small):
    assert kinds(config_of(cli, "--config", small, "--trainer.callbacks+=EmbeddingPCA")) == ["EmbeddingPCA"]
    added = config_of(cli, "--trainer.callbacks+=LearningRateMonitor")
    assert kinds(added) == ["StepsPerExecution", "StepDecay", "EmbeddingPCA", "LearningRateMonitor"]


def test_a_callback_that_the_model_brings_already_can_be_given_again(cli, names):
    """The later one counts; Lightning itself takes no two of them."""
    options = ["--trainer.max_steps=4", "--trainer.log_every_n_steps=1", "--trainer.enable_progress_bar=false"]
    again = ["--trainer.callbacks+=StepDecay", "--trainer.callbacks.milestones=[2]", "--trainer.callbacks.gamma=0.5"]
    pictures = ["--trainer.callbacks+=EmbeddingPCA", "--trainer.callbacks.every_n_steps=3"]
    assert cli("fit", "--data.path", names, *options, *again, *pictures).status == 0
    assert [rate for _, rate in scalars(RUN, "lr")] == pytest.approx([0.1, 0.1, 0.05, 0.05])
    images = EventAccumulator(str(RUN), size_guidance={"images": 0}).Reload().Images("embedding_pca")
    assert [image.step for image in images] == [0, 2, 3]


def test_of_several_configs_the_later_one_wins(cli, small):
    Path("more.yaml").write_text("trainer: {max_steps: 9}\nmodel: {init_args: {n_hidden: 5}}\n")
    merged = config_of(cli, "--config", small, "--config", "more.yaml")
    assert (merged["trainer"]["max_steps"], merged["trainer"]["val_check_interval"]) == (9, 2)
    assert (merged["model"]["init_args"]["n_hidden"], merged["model"]["init_args"]["n_embd"]) == (5, 2)
    assert config_of(cli, "--config", "more.yaml", "--config", small)["trainer"]["max_steps"] == 4
    assert config_of(cli, "--trainer.max_steps=7", "--config", small)["trainer"]["max_steps"] == 4


@pytest.mark.parametrize("command", sorted(TRAINER_COMMANDS))
def test_the_saved_config_of_a_run_is_taken_by_every_command(command, cli, run):
    shutil.copy(run / "config.yaml", "saved.yaml")
    done = cli(command, "--config", "saved.yaml")
    assert done.status == 0
    if command == "fit":
        assert torch.equal(weights(run), weights("lightning_logs/version_1"))


# checkpoints


@pytest.fixture(scope="module")
def bigram(fit):
    """A run like `trained`'s of a bigram."""
    return fit("--model=Bigram", "--data.block_size=1") / RUN


@pytest.fixture
def two_runs(run, bigram):
    """version_0 is the newest; version_1, a bigram, is older."""
    shutil.copytree(bigram, "lightning_logs/version_1")
    for file in Path("lightning_logs/version_1").rglob("*.ckpt"):
        os.utime(file, (1_000_000, 1_000_000))
    return run


@pytest.mark.parametrize("where", [[], ["--ckpt_path", str(RUN)], ["--ckpt_path", "FILE"], ["--ckpt_path=last"]])
@pytest.mark.parametrize(("command", "split"), [("validate", "val"), ("test", "test")])
def test_an_evaluation_takes_the_newest_run_a_run_or_a_file(command, split, where, cli, two_runs, names):
    last = two_runs / "checkpoints/last.ckpt"
    done = cli(command, *[str(last) if word == "FILE" else word for word in where])
    assert done.status == 0
    assert printed(done, f"loss/{split}") == pytest.approx(loss(last, split, names), abs=1e-5)
    assert f"{two_runs}/checkpoints/" in done.err


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


def test_the_test_loss_goes_to_the_run_of_the_checkpoint(cli, run):
    wanted = json.loads((run / "results.json").read_text())
    (run / "results.json").write_text(json.dumps({**wanted, "test": 0.0}))
    before = len(scalars(run, "loss/test"))
    cli("test")
    results = json.loads((run / "results.json").read_text())
    assert results == {**wanted, "test": pytest.approx(wanted["test"], abs=1e-5)}
    assert len(scalars(run, "loss/test")) == before + 1
    assert scalars(run, "accuracy/test")


def test_a_test_on_other_names_or_on_a_part_leaves_the_run_as_it_is(cli, run, names):
    Path("others.txt").write_text("\n".join(Path(names).read_text().splitlines()[10:]))
    others = ["--data.path=others.txt", "--data.split_seed=7", "--data.split=[0.5,0.25,0.25]"]
    parts = ["--trainer.limit_test_batches=0", "--trainer.limit_test_batches=1", "--trainer.fast_dev_run=true"]
    before = {file: Path(file).read_bytes() for file in files() if file != "others.txt"}
    for option in others + parts:
        assert cli("test", option).status == 0
        assert {file: Path(file).read_bytes() for file in files() if file != "others.txt"} == before


def test_the_command_line_wins_over_the_checkpoint_or_is_refused(cli, run):
    assert cli("test", "--model.lr=3", "--data.eval_batch_size=7").status == 0
    done = cli("test", "--model.n_hidden=300")
    assert (done.status, done.out) == (2, "")
    assert re.search(r"--model.n_hidden is 300, and \S+ckpt was trained with 4; leave the option out", done.err)
    done = cli("validate", "--model=Bigram")
    assert "holds a LitMLP, not a LitBigram; leave the model out" in done.err
    assert cli("fit", "--ckpt_path", str(run), "--model.lr=0.1", "--trainer.max_steps=5").status == 0
    done = cli("fit", "--ckpt_path", str(run), "--model.lr=3")
    assert (done.status, done.out) == (2, "")
    assert "--model.lr is 3.0" in done.err


def test_a_resumed_run_goes_on_at_the_right_step_as_if_it_had_not_stopped(cli, run, small):
    resumed = cli("fit", "--config", small, "--trainer.max_steps=7", "--ckpt_path", str(run))
    cli("fit", "--config", small, "--trainer.max_steps=7")
    assert [step for step, _ in scalars("lightning_logs/version_1", "loss/train")] == [4, 5, 6]
    assert scalars("lightning_logs/version_1", "loss/train") == scalars("lightning_logs/version_2", "loss/train")[4:]
    ends = [f"lightning_logs/version_{i}/checkpoints/last.ckpt" for i in (1, 2)]
    assert torch.equal(*map(weights, ends))
    assert load_checkpoint(ends[0]).step == 7
    assert re.search(r"4/7 steps", resumed.err)
    assert re.search(r"^Run +lightning_logs/version_1$", resumed.out, re.M)


@pytest.mark.parametrize("options", [[], ["--trainer.val_check_interval=100"], ["--data.split=[0.9,0,0.1]"]])
def test_so_does_one_that_stopped_between_two_validations_or_has_none(options, cli, small):
    fit = ["fit", "--config", small, *options]
    cli(*fit, "--trainer.max_steps=5")
    assert cli(*fit, "--trainer.max_steps=8", "--ckpt_path=last").status == 0
    cli(*fit, "--trainer.max_steps=8")
    runs = [f"lightning_logs/version_{i}" for i in range(3)]
    assert [step for step, _ in scalars(runs[1], "loss/train")] == [5, 6, 7]
    assert scalars(runs[0], "loss/train") + scalars(runs[1], "loss/train") == scalars(runs[2], "loss/train")
    assert torch.equal(*(weights(f"{run}/checkpoints/last.ckpt") for run in runs[1:]))


def test_a_resume_may_stand_in_the_config(cli, run, small):
    Path("more.yaml").write_text(f"ckpt_path: {run}\ntrainer: {{max_steps: 5}}\n")
    cli("fit", "--config", small, "--config", "more.yaml")
    assert [step for step, _ in scalars("lightning_logs/version_1", "loss/train")] == [4]


# mistakes

MISTAKES = {
    "fit --trainer.max_stepz 3": r"there is no option --trainer.max_stepz\. Did you mean --trainer.max_steps\?",
    "test --ckpt_path=null --ckpt lightning_logs": r"there is no option --ckpt\. Did you mean --ckpt_path\?",
    "sample --temp 2": r"charlm sample: error: there is no option --temp\. Did you mean --temperature\?",
    "fit --model.n_hiden 3": r"--model.n_hiden is no argument of LitMLP\. Did you mean --model.n_hidden\?",
    "fit --model Bigram --model.n_hidden 3": r"--model.n_hidden is no argument of LitBigram$",
    "fit --model mlp": r"there is no model 'mlp'; the models are .*MLP.*\. Did you mean MLP\?",
    "fit --config mpl": r"there is no config file mpl, nor a shipped config .*: .*, wavenet\. Did you mean mlp\?",
    "fit --config typo.yaml": r"there is no option --trainer.max_stepz\. Did you mean --trainer.max_steps\?",
    "fti": r"there is no command 'fti'; the commands are fit, .*, compare-counts\. Did you mean fit\?",
    "fit --trainer.callbacks+=EmbedingPCA": r"no class 'EmbedingPCA' for --trainer.callbacks\. Did you mean Embedding",
    "fit --trainer.callbacks+=StepDecay": r"cannot make StepDecay, the following arguments are required: milestones",
    "fit --trainer.callbacks+=EmbeddingPCA --trainer.callbacks.dims=5": r"EmbeddingPCA's dims must be 2 or 3, not 5",
    "fit --trainer.callbacks+=StepDecay --trainer.callbacks.milestones=[2,1]": r"milestones rise strictly, unlike",
    "fit --trainer.max_steps many": r"--trainer.max_steps is 'many'; allowed: a whole number",
    "fit --model.optimizer Adam": r"--model.optimizer is 'Adam'; allowed: SGD, AdamW",
    "fit --model.n_hidden=-1": r"n_hidden is -1; it must be at least 1",
    "fit --data.split [0.5,0.2,0.1]": r"split is .*; give three shares .* that sum to 1",
    "fit --data.path nothing.txt": r"there is no names file \S+/nothing.txt; give an existing file",
    "fit --data.path bad.txt": r"bad.txt, line 3: U\+0001 is a control character; remove it",
    "fit --model.block_size 5": r"--model.block_size comes from the data; give --data.block_size instead",
    "fit --trainer.default_root_dir bad.txt": r"Not a directory: '\S*bad.txt/lightning_logs'",
    "fit --trainer.accelerator tpu": r"Requirement 'torch_xla\S+' not met",
    "fit three": r"unexpected argument 'three'; options begin with --, see charlm fit --help",
    "fit --ckpt_path http://host/a.ckpt": r"http://host/a.ckpt is an address; .* download it first",
    "test --ckpt_path bad.txt": r"bad.txt is some other file, not a checkpoint; pass a .ckpt file",
    "test --ckpt_path nothing.ckpt": r"nothing.ckpt does not exist; pass a .ckpt file or the directory of a run",
    "fit --config evil.yaml": r"other.ckpt is not charlm's: it holds more than tensors and plain values; none",
    "validate": r"no run under lightning_logs; train one with `charlm fit`",
    "sample": r"no run under lightning_logs; train one with `charlm fit`",
    "sample --top-p few": r"charlm sample: error: --top-p is 'few'; allowed: a number or null",
    "sample -n few": r"charlm sample: error: --n is 'few'; allowed: a whole number",
    "score": r"charlm score: error: the following arguments are required: names",
    "summary nothing": r"nothing is not a directory; train one with `charlm fit`",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_ends_with_status_2_and_a_sentence(line, cli):
    Path("bad.txt").write_text("anna\nbob\nb\x01b\n")
    Path("latin.txt").write_bytes("anna\nren\u00e9\n".encode("latin-1"))
    Path("typo.yaml").write_text("trainer: {max_stepz: 3}")
    Path("evil.yaml").write_text("ckpt_path: other.ckpt")
    torch.save({"path": Path("other")}, "other.ckpt")
    before = files()
    done = cli(*line.split())
    assert (done.status, done.out) == (2, "")
    *notes, message = done.err.splitlines()
    assert re.match(r"charlm[\w -]*: error: ", message)
    assert re.search(MISTAKES[line], message)
    assert len(message) < 400
    assert len(notes) <= 1, "more than a line before the message"
    assert files() == before


@pytest.mark.parametrize(("command", "split"), [("validate", "[1,0,0]"), ("test", "[0.9,0.1,0]")])
def test_an_evaluation_on_a_split_without_a_share_is_refused(command, split, cli, small):
    cli("fit", "--config", small, f"--data.split={split}")
    done = cli(command)
    assert (done.status, done.out) == (2, "")
    assert re.search(rf"data.split is .*, so there is nothing to {command} on$", done.err.rstrip())


BROKEN = """
from charlm.models.windows import LitMLP

class Broken(LitMLP):
    def training_step(self, batch, batch_idx):
        {line}
"""


@pytest.mark.parametrize(
    ("line", "error"),
    [("return 1 / 0", ZeroDivisionError), ("raise ValueError('of the model, not of charlm')", ValueError)],
)
def test_a_defect_keeps_its_traceback(line, error, cli, small, monkeypatch):
    monkeypatch.syspath_prepend(".")
    name = error.__name__
    Path(f"broken_{name}.py").write_text(BROKEN.format(line=line))
    with pytest.raises(error):
        cli("fit", "--config", small, f"--model=broken_{name}.Broken", "--trainer.logger=false")


# charlm's own commands and what starts quickly


def test_the_other_commands_take_their_options(cli, run):
    line = "sample -n 3 --prefix jo --temperature 0.8 --top-k 5 --seed 1 --mark"
    done = cli(*line.split(), "--new-only")
    assert [line.split("\t")[0][:2] for line in done.out.splitlines()] == ["jo"] * 3
    assert done.out == cli(*re.sub(r" ([\w.]+)", r"=\1", line.replace("-n", "--n")).split()).out
    done = cli("score", "--checkpoint", str(run), "anna", "bob")
    assert [line.split()[0] for line in done.out.splitlines()] == ["name", "anna", "bob", "mean"]
    done = cli("summary", str(run), "--format", "csv")
    assert done.out.splitlines()[1].startswith("version_0,MLP,3,2,4,")
    done = cli("compare-counts", "--k", "0.5", "--checkpoint", str(run))
    assert re.search(r"has the net MLP; give a checkpoint of a Bigram$", done.err.rstrip())


@pytest.mark.parametrize("args", [[], ["-h"], ["--help"]])
def test_help_lists_every_command(args, cli):
    done = cli(*args)
    assert (done.status, done.err) == (0, "")
    listed = re.findall(r"^  ([a-z-]+)  +\w", done.out, re.M)
    assert listed == [*TRAINER_COMMANDS, *COMMANDS]
    assert max(len(line) for line in done.out.splitlines()) <= 80


@pytest.mark.parametrize("command", [*TRAINER_COMMANDS, *COMMANDS])
def test_every_command_has_a_help_of_its_own(command, cli):
    done = cli(command, "--help")
    assert (done.status, done.err) == (0, "")
    assert re.match(rf"usage: charlm (\[options\] )?{command} \[", done.out)
    assert ("one of the shipped configs: bigram, " in " ".join(done.out.split())) == (command in TRAINER_COMMANDS)


def test_version(cli):
    assert cli("--version").out == f"charlm {charlm.__version__}\n"


def loaded(*lines):
    """Which of the heavy packages a process holds after some command lines."""
    report = "print([name for name in ('torch', 'lightning', 'tensorboard') if name in sys.modules])"
    code = "import sys\nfrom charlm.cli.main import main\n" + "\n".join(f"main({line.split()})" for line in lines)
    return process("-c", f"{code}\n{report}").stdout.splitlines()[-1]


def test_help_and_version_import_no_torch():
    assert loaded("", "--help", "--version") == "[]"


def test_what_needs_no_trainer_imports_no_lightning(run):
    lines = [f"{command} --checkpoint {run}" for command in ("sample --new-only -n 3", "score anna")]
    assert loaded(*lines, f"summary {run}") == "['torch']"


def test_as_a_process_a_mistake_has_status_2_and_no_traceback(python):
    done = python("-m", "charlm", "sample", "--checkpoint", "nothing")
    expected = "charlm: error: nothing does not exist; pass a .ckpt file or the directory of a run\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)


def test_as_a_process_it_trains_with_a_bar_and_without_noise(small, python):
    """No advertisement, no warning and nothing else that a user cannot act on."""
    done = python("-m", "charlm", "fit", "--config", small)
    assert done.returncode == 0
    lines = [line for line in re.split(r"[\r\n]+", done.stderr) if line.strip()]
    expected = r"Seed set to|.*names over \d+ characters|.*(GPU|TPU) available|.*\d+ steps \["
    assert [line for line in lines if not re.match(expected, line)] == []
    assert "4/4 steps" in done.stderr
    assert "The first 10 names" in done.stdout


def test_a_reader_that_has_enough_ends_the_command_quietly(run):
    script = f'"{sys.executable}" -m charlm sample -n 20000 --max-length 5 --checkpoint {run} | head -n 1'
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {script}"], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (0, 1, "")


def test_the_completion_knows_commands_models_and_options(cli):
    done = cli("--print_completion=shtab-bash")
    assert done.status == 0
    Path("completion.sh").write_text(done.out)
    script = """source completion.sh
    complete -p charlm
    complete_words() { COMP_WORDS=(charlm "$@"); COMP_CWORD=$#; COMPREPLY=(); _shtab_charlm; echo "${COMPREPLY[@]}"; }
    complete_words comp
    complete_words fit --model ""
    complete_words fit --model.n_hi
    """
    answer = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert "_charlm" in answer.stdout.splitlines()[0]
    commands, models, options = map(str.split, answer.stdout.splitlines()[1:])
    assert commands == ["compare-counts"]
    assert {"LitMLP", "LitBigram"} <= {model.split(".")[-1] for model in models}
    assert options == ["--model.n_hidden"]


def test_a_command_line_leaves_nothing_behind_in_the_process(cli, small):
    def state():
        loggers = (logging.getLogger("lightning.pytorch.utilities.rank_zero"), logging.getLogger("charlm"))
        return [[*logger.handlers, *logger.filters] for logger in loggers], list(warnings.filters)

    before = state()
    cli("fit", "--config", small, "--trainer.fast_dev_run=true")
    cli("fit", "--config", small, "--model.n_hidden=x")
    assert state() == before
