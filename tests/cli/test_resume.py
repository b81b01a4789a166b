"""`charlm fit --resume`: which run goes on, from where, and what is said where it cannot."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from charlm.cli.main import main
from charlm.runs.directory import hold
from charlm.runs.events import read_scalars
from charlm.runs.load_checkpoint import load_checkpoint

NAMES = ["emma", "olivia", "ava", "isabella", "sophia", "mia", "charlotte", "amelia", "harper", "evelyn"]
QUIET = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
OPTIONS = [
    "--name=run",
    "--data.path=names.txt",
    "--data.batch_size=8",
    "--model.n_hidden=5",
    "--trainer.val_check_interval=4",
]
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, alone):
    """A folder with a run of 8 steps, validated every 4."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        alone(patch, folder)
        Path("names.txt").write_text("\n".join(NAMES))
        main(["fit", *OPTIONS, "--trainer.max_steps=8", *QUIET])
    return folder


@pytest.fixture
def run(trained, tmp_path, monkeypatch, capsys, alone):
    """A copy of it."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    alone(monkeypatch, tmp_path)
    capsys.readouterr()
    return Path("lightning_logs/001-run")


def said(capsys, *args):
    """The status and the message of a command that does not end well."""
    with pytest.raises(SystemExit) as stop:
        main(["fit", *args, *QUIET])
    return stop.value.code, capsys.readouterr().err


def results(run):
    """What the report has written, but for the time that it took, and the folder of the names."""
    written = json.loads((run / "results.json").read_text())
    return {name: value for name, value in written.items() if name not in ("seconds", "source")}


def weights(run):
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.parametrize("how", [["--resume"], ["--resume", "001-run"], ["--resume=lightning_logs/001-run"]])
def test_a_run_goes_on_in_its_own_directory_and_says_so(run, how, capsys):
    if how == ["--resume"]:  # what a config leaves out comes from the checkpoint
        short = yaml.safe_load((run / "config.yaml").read_text()) | {"model": "charlm.LitMLP"}
        (run / "config.yaml").write_text(yaml.safe_dump({key: short[key] for key in ("model", "trainer")}))
    main(["fit", *how, "--trainer.max_steps=12", *QUIET])
    assert re.search(r"Going on with \S+001-run after 8 steps, from last.ckpt", capsys.readouterr().err)
    assert [folder.name for folder in run.parent.iterdir()] == ["001-run"]
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert (config["trainer"]["max_steps"], config["ckpt_path"]) == (12, None)
    assert (config["model"]["init_args"]["n_hidden"], config["data"]["batch_size"]) == (5, 8)
    steps, _ = read_scalars(run, lambda tag: tag == "loss/val").curves["loss/val"]
    assert steps.tolist() == [3, 7, 11]


def test_the_newest_run_comes_to_what_one_that_was_not_stopped_comes_to(run):
    # two searches instead of a decay, which comes at a fraction of all steps
    finder = '{"class_path": "LRFinder", "init_args": {"num_steps": 30, "trial_steps": 30, "at_epochs": [0, 5]}}'
    searching = [*OPTIONS, f"--trainer.callbacks=[{finder}]", *QUIET]
    main(["fit", *searching, "--trainer.max_steps=11"])
    main(["fit", *searching, "--trainer.max_steps=7"])
    main(["fit", "--resume", "--trainer.max_steps=9", *QUIET])
    other, one = run.with_name("002-run"), run.with_name("003-run")
    (one / "results.json").unlink()  # killed after the last validation
    main(["fit", "--resume", "--trainer.max_steps=11", *QUIET])
    assert all(torch.equal(weight, weights(other)[name]) for name, weight in weights(one).items())
    assert results(one) == results(other)
    assert "last_val" in results(one)
    hparams = yaml.safe_load((one / "hparams.yaml").read_text())
    assert hparams["step_decay.milestones"] == "none", "in TensorBoard it differs from runs with a decay"
    (one / "results.json").unlink()
    main(["fit", *searching, "--trainer.max_steps=11", "--resume=auto"])  # LRFinder's rate is not the config's
    assert (one / "results.json").is_file()
    assert yaml.safe_load((one / "config.yaml").read_text()) == yaml.safe_load((other / "config.yaml").read_text())


def test_auto_goes_on_with_the_unfinished_run_of_the_same_config_or_starts_one(run, capsys, monkeypatch):
    auto = ["fit", "--resume=auto", *OPTIONS, "--trainer.max_steps=8", *QUIET]

    def went_on():
        main(auto)
        return "Going on with lightning_logs/001-run after 8 steps" in capsys.readouterr().err

    before = results(run)
    (run / "results.json").unlink()  # the process was killed before its report
    assert went_on()
    assert {**before, **results(run)} == before
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")  # killed in the moment after its report
    assert went_on()
    monkeypatch.delenv("TORCHELASTIC_RESTART_COUNT")
    assert not went_on()
    assert run.with_name("002-run").is_dir(), "the run had ended, so there is a new one"
    (run / "results.json").unlink()
    auto[-3] = "--trainer.max_steps=9"
    assert not went_on()
    assert run.with_name("003-run").is_dir(), "no run has this config"


def test_it_goes_on_from_the_newest_checkpoint_that_can_be_read_and_says_so(run, capsys):
    last = run / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:-100])
    main(["fit", "--resume", *QUIET])
    assert re.search(r"last.ckpt is cut short.*\. Going on from best\S+ instead", capsys.readouterr().err)
    assert torch.load(last, weights_only=True)["global_step"] == 8


def test_a_run_that_wrote_no_checkpoint_begins_again_in_its_place(run, capsys):
    before = weights(run)
    shutil.rmtree(run / "checkpoints")
    main(["fit", "--resume", *QUIET])
    assert "was stopped before its first checkpoint: it begins again" in capsys.readouterr().err
    assert all(torch.equal(weight, weights(run)[name]) for name, weight in before.items())
    assert not run.with_name("002-run").exists()


REFUSED = {
    "--resume nowhere": r"there is no run nowhere, neither here nor in lightning_logs; `charlm summary` lists them",
    "--resume --ckpt_path last": "--resume goes on with a run from its newest checkpoint; leave --ckpt_path out",
    "--resume elsewhere": r"elsewhere is not in lightning_logs, .* its settings can name any code; go on from the",
    "--resume=": "--resume has an empty name; give a run, or leave the name out for the newest one",
    "--resume names": r"names has no config.yaml, so it is no run of `charlm fit`",
    "--resume lightning_logs": "lightning_logs holds several runs; name one of them",
    "--resume --name my-try": "--resume goes on with a run, which keeps its name; leave --name out",
    "--resume --trainer.fast_dev_run=true": "fast_dev_run leaves none; leave one of them out",
    "--resume --seed_everything 7": "--resume goes on with the run's random numbers; leave --seed_everything out",
    "--config resume.yaml": "--resume is given on the command line; leave `resume` out of the config",
    "--resume --model.n_hidden 6": r"--model.n_hidden is 6, and \S+last.ckpt was trained with 5; leave the option out",
    "--resume --data.batch_size 4 --trainer.gradient_clip_val 0.1": r"made with other batches \(batch_size 8, now 4\);",
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_cannot_go_on_is_refused_in_a_sentence_and_the_run_stays_what_it_is(run, capsys, line):
    shutil.copytree(run, "elsewhere")
    Path("names").mkdir()
    Path("resume.yaml").write_text("resume: 001-run")
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    code, err = said(capsys, *line.split())
    assert code == 2
    assert re.search(REFUSED[line], err)
    assert ("Going on" in err) == ("batch_size" in line), "said when the line is understood"
    assert before == {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}


def test_a_link_out_of_the_run_is_not_followed(run):
    Path("numbers").write_text("precious")
    (run / "embedding_pca.npz").unlink()
    (run / "embedding_pca.npz").symlink_to(Path("numbers").resolve())
    main(["fit", "--resume", "--trainer.max_steps=12", *QUIET])
    assert Path("numbers").read_text() == "precious"
    assert not (run / "embedding_pca.npz").is_symlink()


@pytest.mark.parametrize("linked", ["lightning_logs/001-run", "lightning_logs/001-run/checkpoints"])
def test_a_run_on_another_disk_is_a_run_for_every_command(run, capsys, linked):
    shutil.move(linked, "far")
    Path(linked).symlink_to(Path("far").resolve())
    main(["fit", "--resume", "001-run", "--trainer.max_steps=12", *QUIET])
    assert results(run)["ended"] == 12
    assert "Run          lightning_logs/001-run\n" in capsys.readouterr().out
    main(["summary"])
    main(["sample", "-n", "1", "--checkpoint", "run"])
    main(["test", *QUIET])
    assert "001-run" in capsys.readouterr().out


def test_where_no_checkpoint_can_be_read_nothing_is_trained(run, capsys):
    for file in run.rglob("*.ckpt"):
        file.write_bytes(b"")
    code, err = said(capsys, "--resume")
    assert code == 2
    assert re.search(r"001-run cannot go on from any of its checkpoints: \S+ is empty \(0 bytes\)", err)


def test_a_finished_run_that_is_resumed_is_reported_on_and_logs_nothing_twice(run, script, capsys, monkeypatch):
    points = script("compare_runs").points
    before = points(run)
    for args in (["--resume"], ["--resume"], [*OPTIONS, "--trainer.max_steps=3"], ["--resume"]):
        main(["fit", *args, *QUIET])
    assert capsys.readouterr().out.count("More names") == 4, "also where no validation has made a best.ckpt"
    assert points(run) == before
    reported = results(run)
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w", buffering=1) as pipe, monkeypatch.context() as patch:
        patch.setattr("sys.stdout", pipe)  # as by `| head`, which ends the report at its first line
        main(["fit", "--resume", "001-run", *QUIET])
    assert results(run) | {"ended": 8} == reported
    stopper = ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=loss/val"]
    stopper += ["--trainer.callbacks.min_delta=9", "--trainer.callbacks.patience=3", "--trainer.val_check_interval=1"]
    accumulating = ["--trainer.accumulate_grad_batches=3"]
    for number, more in ((3, accumulating), (4, [*accumulating, *stopper])):
        main(["fit", *OPTIONS, *more, f"--trainer.max_steps={5 * number - 11}", *QUIET])
        (ended,) = run.parent.glob(f"00{number}-*")
        once = points(ended)
        main(["fit", "--resume", *QUIET])
        assert points(ended) == once
    assert "losses" in {tag for _, tag in once}
    assert {"loss/val", "loss/test", "lr", "yaml/text_summary", "samples/text_summary"} <= {tag for _, tag in before}


def test_an_option_that_no_config_can_hold_is_left_out_of_it(run):
    average = ["--trainer.callbacks+=StochasticWeightAveraging", "--trainer.callbacks.swa_lrs=0.001"]
    average += ["--trainer.callbacks.swa_epoch_start=1"]
    timer = ["--trainer.callbacks+=Timer", "--trainer.callbacks.duration=00:01:00:00"]  # its interval is of an Enum
    main(["fit", *OPTIONS, "--trainer.max_steps=4", *average, *timer, *QUIET])
    assert "Unable to serialize" not in (run.with_name("002-run") / "config.yaml").read_text()
    main(["fit", "--resume", "002-run", *QUIET])


def test_a_loss_of_nan_or_infinity_ends_with_status_4(run, capsys):
    code, err = said(capsys, *OPTIONS, "--trainer.max_steps=500", "--model.lr=1e38")
    assert code == 4
    assert re.search(r"charlm: error: the loss is (nan|inf) at step \d+ \(batch \d+ of epoch \d+\), at a learning", err)


def test_a_loss_above_that_of_guessing_is_said_and_ends_with_status_4(run, capsys):
    code, err = said(capsys, *OPTIONS, "--trainer.max_steps=8", "--model.lr=1e9")
    assert code == 4
    assert re.search(
        r"since the first validation is \S+e\+\d+, and guessing all \d+ characters evenly has \d\.\d+", err
    )
    assert "val" in json.loads((run.with_name("002-run") / "results.json").read_text())


def test_what_max_time_has_stopped_goes_on_without_it_and_else_says_why_not(run, capsys):
    main(["fit", "--resume", "--trainer.max_steps=12", "--trainer.max_time=00:00:00:00", *QUIET])
    assert "Nothing was trained: its max_time is used up" in capsys.readouterr().err
    main(["fit", "--resume", "--trainer.max_time=null", "--trainer.fast_dev_run=False", *QUIET])
    assert "Nothing was trained" not in capsys.readouterr().err
    assert load_checkpoint(run / "checkpoints" / "last.ckpt").step == 12
    main(["fit", "--resume", *QUIET])
    assert "Nothing was trained: max_steps 12 was reached" in capsys.readouterr().err


@pytest.mark.parametrize("how", ["--resume", "--ckpt_path=lightning_logs/001-run/checkpoints/last.ckpt"])
def test_weights_alone_are_not_trained_on(run, capsys, how):
    content = torch.load(file := run / "checkpoints" / "last.ckpt", weights_only=True)
    del content["optimizer_states"]
    torch.save(content, file)
    (run / "checkpoints" / "best.ckpt").unlink()
    code, err = said(capsys, how, "--trainer.max_steps=12")
    assert (code, "last.ckpt holds the weights alone, without the optimizer's state" in err) == (2, True)


def test_a_training_that_resume_cannot_find_says_how_it_goes_on(run, capsys):
    main(["fit", *OPTIONS, "--trainer.max_steps=4", "--checkpoint.dirpath=elsewhere", *QUIET])
    (file,) = re.findall(
        r"--resume will not find this training, .*; go on with --ckpt_path (\S+)", capsys.readouterr().err
    )
    main(["fit", f"--ckpt_path={file}", "--trainer.max_steps=6", *QUIET])
    assert "LitMLP after 4 steps" in capsys.readouterr().err


def test_a_run_that_another_process_is_training_is_left_to_it(run, capsys):
    with hold(run):
        status, err = said(capsys, "--resume", "--trainer.max_steps=12")
    assert (status, "another process is training in" in err) == (2, True)
    main(["fit", "--resume", "--trainer.max_steps=12", *QUIET])


def test_a_new_run_that_is_refused_before_its_first_step_leaves_no_directory(run, capsys):
    code, err = said(capsys, f"--ckpt_path={run}", "--data.batch_size=4")
    assert (code, "made with other batches" in err) == (2, True)
    assert [folder.name for folder in run.parent.iterdir()] == ["001-run"]
