from pathlib import Path

import pytest

from charlm.cli.trainer.configs import CONFIGS
from charlm.cli.trainer.settings import prepare

KINDS = {"Bigram": "LitBigram", "MLP": "LitMLP", "Mixture": "LitMixture"}


def shipped(name):
    return f"--config={CONFIGS / name}.yaml"


@pytest.fixture
def saved(run):
    """The best checkpoint of a run in lightning_logs of the working directory."""
    return run / "checkpoints" / "best.ckpt"


def words(args):
    """The arguments without the shipped config that a training starts from."""
    args = prepare(["fit", *args], KINDS).args[1:]
    return args[2:] if args[:1] == ["--config"] else args


def test_a_file_that_could_have_been_meant_is_named(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    caplog.set_level("INFO")
    Path("mlp").write_text("seed_everything: 1")
    assert words(["--config", "mlp"]) == [shipped("mlp")]
    assert caplog.messages == ["--config mlp is the shipped config; for the file in this directory write ./mlp"]


@pytest.mark.parametrize("option", ["--model", "--model.class_path", "--model.help"])
@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        ("MLP", "LitMLP"),
        ("my.models.Net", "my.models.Net"),
        ('{"class_path": "LitMLP"}', '{"class_path": "LitMLP"}'),
    ],
)
def test_a_short_name_of_a_model_becomes_its_class(option, name, spelled):
    assert words([option, name]) == [f"{option}={spelled}"] == words([f"{option}={name}"])


@pytest.mark.parametrize(
    ("given", "spelled"),
    [
        (["--data", "names.txt"], ["--data.path=names.txt"]),
        (["--data=~/names.txt"], ["--data.path=/home/me/names.txt"]),
        (["--data", "data.yaml"], ["--config={data: {block_size: 2}}"]),
        (["--data={block_size: 2}"], ["--config={data: {block_size: 2}}"]),
        (["--data", "--seed_everything", "1"], ["--data", "--seed_everything=1"]),
    ],
)
def test_a_list_of_names_is_data_too(given, spelled, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("data.yaml").write_text("block_size: 2")
    monkeypatch.setenv("HOME", "/home/me")
    assert words(given) == spelled


@pytest.mark.parametrize(
    ("given", "replaced"),
    [
        (["--trainer.max_steps=9"], True),
        (["--trainer.max_steps=9", "--trainer.max_epochs=2"], False),
        (["--trainer.max_steps=-1"], False),
        (["--trainer.max_epochs=2"], False),
    ],
)
def test_a_length_in_steps_replaces_the_epochs_of_the_config(given, replaced):
    assert words(given) == [*given, *["--trainer.max_epochs=-1"] * replaced]


@pytest.mark.parametrize(
    ("rest", "preset"),
    [
        ([], "mlp"),
        (["--model", "Bigram"], "bigram"),
        (["--model", "Mixture"], "best"),
        (["--model", "charlm.LitBigram"], "bigram"),
        (["--config", "lecture"], None),
        (["--model", "my.models.Net"], None),
    ],
)
def test_a_fit_without_a_config_starts_from_the_models_shipped_one(rest, preset):
    args = prepare(["fit", *rest], KINDS).args
    assert args[1:3] == ["--config", f"{CONFIGS / preset}.yaml"] if preset else args[1] != "--config"


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        (["--config", "mlp", "--model", "Bigram"], ["The config's settings are MLP's, and the model is Bigram"]),
        (["--config", "debug", "--model", "Bigram"], []),
        (["--model", "Bigram"], []),
    ],
)
def test_whose_settings_a_config_has_is_said_where_another_model_is_named(rest, said, caplog):
    prepare(["fit", *rest], KINDS)
    assert [message.partition(";")[0] for message in caplog.messages] == said


@pytest.mark.usefixtures("run")
def test_to_go_on_training_the_last_checkpoint_is_meant():
    for where, file in {"lightning_logs/001-run": "last.ckpt", "best": "best.ckpt"}.items():
        args = prepare(["fit", "--ckpt_path", where], KINDS).args
        assert (args[-2], Path(args[-1]).name) == ("--ckpt_path", file)
        assert args.count("--ckpt_path") == 1


def test_a_config_may_name_the_checkpoint(saved):
    Path("one.yaml").write_text("ckpt_path: lightning_logs/001-run/checkpoints/last.ckpt")
    Path("two.yaml").write_text("ckpt_path: null")
    args = prepare(["fit", "--config", "one.yaml", "-c", "two.yaml"], KINDS).args
    assert (args[-2], Path(args[-1]).name) == ("--ckpt_path", "last.ckpt")
    args = prepare(["fit", "--config", "one.yaml", "--ckpt_path", str(saved)], KINDS).args
    assert args[-1] == str(saved)


def test_an_evaluation_looks_for_runs_below_the_root_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no run under elsewhere/lightning_logs; train"):
        prepare(["test", "--trainer.default_root_dir", "elsewhere"], KINDS)
