"""`charlm fit` as users type it: what it leaves, and what configs and options it takes."""

import json
import math
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from charlm.cli.fast_cpu import fast_products
from charlm.cli.subcommands import TRAINER_COMMANDS
from charlm.cli.trainer.configs import config_names
from charlm.data.batches import BatchLoader
from charlm.data.name_batches import NameLoader
from charlm.data.sequences import Sequences
from charlm.data.splits import load_splits
from charlm.nets.loss import evaluate
from charlm.nets.mixture import CrossFitted
from charlm.runs.load_checkpoint import load_checkpoint

RUN = Path("lightning_logs/001-run")


def weights(run):
    return torch.cat([table.flatten() for table in load_checkpoint(run).net.state_dict().values()])


def test_fit_leaves_a_whole_run_and_ends_with_a_report(cli, names):
    done = cli("fit", "--name=run", "--data.path", names, "--trainer.max_steps=30", "--trainer.val_check_interval=10")
    assert done.status == 0
    assert {path.name for path in RUN.glob("*") if "events" not in path.name} == {
        *("checkpoints", "config.yaml", "hparams.yaml", "results.json", "00029", "projector_config.pbtxt"),
        *("embedding_pca.png", "embedding_pca.gif", "embedding_pca.npz", "embedding_pca_frames.png"),
    }
    assert [path.name for path in Path().iterdir()] == ["lightning_logs"]
    assert sorted(path.name for path in RUN.glob("checkpoints/*")) == ["best.ckpt", "last.ckpt"]
    best = RUN / "checkpoints/best.ckpt"
    results = json.loads((RUN / "results.json").read_text())
    net, splits = load_checkpoint(best).net, load_splits(names)
    for split in ("train", "val", "test"):
        loss = evaluate(net, BatchLoader(getattr(splits, split), None)).loss
        assert results[split] == pytest.approx(loss, abs=1e-6)
    assert (results["checkpoint"], results["step"]) == (best.name, load_checkpoint(best).step)
    assert f"at {best.name} (step {results['step']})" in done.out
    row = next(line.split() for line in done.out.splitlines() if line.startswith("001-run"))
    losses = [f"{results[split]:.4f}" for split in ("train", "val", "test")]
    assert row == ["001-run", "MLP", "11,897", *losses]
    assert "30/30 steps" in done.err
    assert yaml.safe_load((RUN / "config.yaml").read_text())["seed_everything"] == 42


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
    assert re.search("no report.*no checkpoint", done.out)


@pytest.mark.parametrize("logger", [["false"], ["CSVLogger", "--trainer.logger.save_dir=csv"]])
def test_the_files_of_a_run_are_in_its_own_directory_whatever_the_logger(logger, cli, small):
    given = ["--config", small, "--trainer.callbacks+=EmbeddingPCA", f"--trainer.logger={logger[0]}", *logger[1:]]
    for steps in (4, 5):
        assert cli("fit", *given, f"--trainer.max_steps={steps}").status == 0
    done = cli("fit", "--resume", "1", "--trainer.max_steps=8")
    assert (done.status, "after 4 steps, from last.ckpt" in done.err) == (0, True)
    assert {path.name for path in Path().iterdir()} == {"lightning_logs", *["csv"] * (logger[0] == "CSVLogger")}
    assert sorted(path.name for path in RUN.parent.iterdir()) == ["001-run", "002-run"]
    written = {"config.yaml", "results.json", "embedding_pca.png", "checkpoints"}
    assert written <= {path.name for path in RUN.iterdir()}
    assert re.findall(r"^00\d-run +(\d) ", cli("summary", "--sort", "run").out, re.MULTILINE) == ["8", "5"]
    assert bool(list(RUN.glob("events*"))) == (logger[0] != "false")
    plotted = cli("plot", "1")
    assert plotted.status == (2 if logger[0] == "false" else 0)
    assert plotted.out == "loss.png\n" or "001-run holds no run with event files" in plotted.err


def test_a_note_and_the_settings_that_were_used_are_in_the_log_and_in_the_results(cli, small):
    options = ["--name=my-try", "--note=is this *it*?", "--model.lr=0.3"]
    assert cli("fit", "--config", small, *options).status == 0
    run = Path("lightning_logs/001-my-try")
    results = json.loads((run / "results.json").read_text())
    assert (results["settings"]["model.lr"], results["note"], results["names"]) == (0.3, "is this *it*?", 102)
    assert results["ended"] == 4
    assert results["seconds"] > 0
    (note,) = EventAccumulator(str(run)).Reload().Tensors("note/text_summary")
    assert note.tensor_proto.string_val[0].decode() == "is this *it*?"
    assert "--name is 'a/b'; give at most 40 letters" in cli("fit", "--config", small, "--name", "a/b").err


def test_the_sizes_that_best_chooses_and_its_losses_are_in_the_results(cli, names):
    short = ("--trainer.val_check_interval=2", "--trainer.callbacks=null")
    for steps, run in ((2, ("--name=run", "--config=best", "--data", names)), (4, ("--resume=run",))):
        done = cli("fit", *run, f"--trainer.max_steps={steps}", *short)
        assert (done.status, "Mixture on cpu" in done.err) == (0, True)  # nothing is counted yet
        settings = json.loads((RUN / "results.json").read_text())["settings"]
        assert (settings["model.n_embd"], settings["model.n_hidden"], settings["model.dropout"]) == (32, 32, 0.5)
        assert "model.train_names" not in settings
        assert yaml.safe_load((RUN / "config.yaml").read_text())["model"]["init_args"]["n_embd"] is None
    # each training name by n-grams that have not counted it
    (whole,) = NameLoader(Sequences.of_contexts(load_splits(names).train), None)
    net, train = load_checkpoint(RUN).net, json.loads((RUN / "results.json").read_text())["train"]
    assert train == pytest.approx(evaluate(CrossFitted(net, [whole]), [whole]).loss, abs=1e-5)
    assert train > evaluate(net, [whole]).loss + 0.2  # by n-grams with the name's own counts
    assert "\nTrain is measured with n-grams that have not counted the name.\n" in done.out


def test_best_keeps_a_training_that_ends_before_its_first_validation(cli, names):
    done = cli("fit", "--config=best", "--data", names, "--name=run", "--trainer.max_steps=2")
    assert (done.status, "last.ckpt (step 2)" in done.out) == (0, True)
    endless = cli("fit", "--config=best", "--data", names, "--data.split=[1,0,0]")
    assert "Early stopping conditioned on metric `loss/val` which is not available" in endless.err


def test_a_short_list_is_passed_over_22_times_and_validated_after_every_second(cli, names, scalars):
    assert cli("fit", "--data", names).status == 0
    run = Path("lightning_logs/001-mlp-names")
    batches = math.ceil(len(load_splits(names).train) / 32)
    assert json.loads((run / "results.json").read_text())["ended"] == 22 * batches < 20_000
    assert [step + 1 for step, _ in scalars(run, "loss/val")] == [2 * batches * n for n in range(1, 12)]
    assert [step + 1 for step, _ in scalars(run, "loss/train")] == [*range(10, 22 * batches + 1, 10)]


def test_a_second_checkpoint_callback_leaves_the_report_alone(cli, small):
    assert "The first 10 names it draws" in cli("fit", "--config", small, "--trainer.callbacks+=ModelCheckpoint").out


def test_one_thread_is_used_for_small_batches_and_whole_float32_unless_asked_otherwise(cli, small, monkeypatch):
    before = torch.get_num_threads()
    options = ["fit", "--config", small, "--trainer.fast_dev_run=true"]
    torch.set_num_threads(2)
    callback = "class Told(pl.Callback):\n def on_train_start(self, *_): print(torch.get_float32_matmul_precision())\n"
    Path("told.py").write_text(f"import torch, lightning.pytorch as pl\n{callback}")
    done = cli(*options, "--float32_matmul_precision", "high", "--trainer.callbacks+=told.Told")
    assert "CPU threads" not in done.err
    assert "\nhigh\n" in f"\n{done.out}"
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert "CPU threads: 2, since batches are large" in cli(*options, "--data.batch_size", "4096").err
    assert "CPU threads: 1, the fastest for small batches" in cli(*options).err
    assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == (1, "highest")
    torch.set_num_threads(before)


def test_faster_products_are_those_of_float32():
    a, b, before = torch.randn(200, 300), torch.randn(300, 100), torch.get_float32_matmul_precision()
    with fast_products():
        torch.testing.assert_close(a @ b, (a.double() @ b.double()).float(), atol=1e-4, rtol=1e-5)
    assert torch.get_float32_matmul_precision() == before


# configs and options


@pytest.mark.parametrize("config", config_names())
def test_a_shipped_config_runs_by_its_bare_name(config, cli, names):
    """The lecture's own names would have to be downloaded."""
    done = cli("fit", "--config", config, "--data.path", names, "--trainer.fast_dev_run=true")
    assert (done.status, list(Path().iterdir())) == (0, [])
    assert "1/1 steps" in done.err


def test_counting_is_a_training_like_any_other(cli, names):
    done = cli("fit", "--config", "ngram", "--data", names, "--model.order", "2", "--name", "counted")
    assert (done.status, done.err.count("Warning")) == (0, 0)
    results = json.loads(Path("lightning_logs/001-counted/results.json").read_text())
    assert (results["model"], results["block_size"], results["step"]) == ("NGram", 2, 1)
    assert results["train"] < results["val"] < 3.3  # of guessing all 27 evenly
    assert results["parameters"] > 100
    evaluated = cli("test")
    assert evaluated.status == 0
    assert float(re.search(r"loss/test +(\S+)", evaluated.out)[1]) == pytest.approx(results["test"], rel=1e-5)
    for command in ("sample -n 3", "score anna", "validate", "predict", "export --format safetensors"):
        assert cli(*command.split()).status == 0
    again = cli("fit", "--resume", "counted")
    assert (again.status, "Nothing was trained" in again.err) == (0, True)
    refused = cli("lr-find", "--config", "ngram", "--data", names)
    assert (refused.status, "LitNGram trains without a learning rate" in refused.err) == (2, True)


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


def test_one_batch_is_not_all_of_them(cli):
    given = config_of(cli, "--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1.0")["trainer"]
    assert [type(given[f"limit_{part}_batches"]) for part in ("train", "val")] == [int, float]


SHIPPED = ["StepsPerExecution", "StepDecay", "EmbeddingPCA"]


@pytest.mark.parametrize(
    ("given", "kinds"),
    [
        (["--trainer.callbacks+=LearningRateMonitor"], [*SHIPPED, "LearningRateMonitor"]),
        (["--config", "mlp", '--config={"trainer": {"callbacks+": "EarlyStopping"}}'], [*SHIPPED, "EarlyStopping"]),
        (["--config", "mlp", '--config={"trainer": {"callbacks": "EarlyStopping"}}'], ["EarlyStopping"]),
    ],
)
def test_callbacks_are_added_by_their_short_names_or_replace_the_earlier_ones(given, kinds, cli):
    stop = ["--trainer.callbacks.monitor=loss/val"] if "EarlyStopping" in kinds else []
    callbacks = config_of(cli, *given, *stop)["trainer"]["callbacks"]
    found = [each["class_path"].split(".")[-1] for each in (callbacks if isinstance(callbacks, list) else [callbacks])]
    assert found == kinds


@pytest.mark.parametrize("command", sorted(TRAINER_COMMANDS))
def test_the_saved_config_of_a_run_is_taken_by_every_command(command, cli, run):
    """A second training by it has the same weights, whatever random numbers were drawn before, and another seed not."""
    shutil.copy(run / "config.yaml", "saved.yaml")
    assert cli(command, "--config", "saved.yaml").status == 0
    if command == "fit":
        assert torch.equal(weights(run), weights("lightning_logs/002-run"))
        cli(command, "--config", "saved.yaml", "--seed_everything=7")
        assert not torch.equal(weights(run), weights("lightning_logs/003-run"))
