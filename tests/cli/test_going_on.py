"""What a second command makes of a run that a first one left."""

from pathlib import Path

import pytest
import yaml

from charlm.cli.main import main, message_of
from charlm.runs.directory import read_results, write_results

NAMES = ["emma", "olivia", "ava", "isabella", "sophia", "mia", "charlotte", "amelia", "harper", "evelyn"]
QUIET = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """A run of 8 steps, validated every 4."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    Path("names.txt").write_text("\n".join(NAMES))
    options = ["--trainer.max_steps=8", "--trainer.val_check_interval=4", "--model.n_hidden=5"]
    main(["fit", "--data.path=names.txt", "--data.batch_size=8", *options, *QUIET])
    capsys.readouterr()
    return Path("lightning_logs/version_0")


def test_a_run_goes_on_with_its_own_settings(run):
    main(["fit", "--ckpt_path=last", "--trainer.max_steps=12", *QUIET])
    config = yaml.safe_load(Path("lightning_logs/version_1/config.yaml").read_text())
    assert config["trainer"]["val_check_interval"] == 4
    assert config["trainer"]["max_steps"] == 12
    assert config["data"]["batch_size"] == 8


def test_a_foreign_run_brings_no_config(run, tmp_path, monkeypatch):
    """A config can name any code, so only those of one's own runs are taken without being asked for."""
    foreign = tmp_path / "downloaded"
    run.rename(foreign)
    (foreign / "config.yaml").write_text("trainer: {callbacks: [{class_path: evil.Callback}]}")
    main(["fit", f"--ckpt_path={foreign}", "--trainer.max_steps=12", "--trainer.val_check_interval=4", *QUIET])
    assert "evil" not in Path("lightning_logs/version_0/config.yaml").read_text()


def test_the_report_survives_a_second_checkpoint_callback(run, capsys):
    options = ["--trainer.max_steps=8", "--trainer.val_check_interval=4", "--trainer.callbacks+=ModelCheckpoint"]
    main(["fit", "--data.path=names.txt", "--data.batch_size=8", *options, *QUIET])
    assert "The first 10 names it draws" in capsys.readouterr().out


def test_the_losses_of_a_row_are_of_one_checkpoint(run):
    (best,) = (run / "checkpoints").glob("best*.ckpt")
    results = read_results(run)
    write_results(run, {**results, "checkpoint": "another.ckpt", "test": 1.5})
    main(["test", f"--ckpt_path={best}"])
    assert read_results(run)["test"] == 1.5
    write_results(run, {**results, "test": 1.5})
    main(["test", f"--ckpt_path={best}"])
    assert read_results(run)["test"] == pytest.approx(results["test"])


def test_only_what_was_raised_for_the_user_is_told_without_a_traceback():
    def of(code):
        try:
            exec(code)
        except Exception as error:
            return message_of(error)

    assert of("import numpy; numpy.zeros(2).reshape(3)") is None
    assert of("from charlm.tokenizer import CharTokenizer; CharTokenizer('')").startswith("alphabet ''")
