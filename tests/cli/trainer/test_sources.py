from pathlib import Path

import pytest
import torch
import yaml

from charlm.cli.subcommands import COMMANDS, TRAINER_COMMANDS
from charlm.cli.trainer.configs import CONFIGS
from charlm.cli.trainer.sources import prepare
from charlm.nets.mlp import MLP

KINDS = {"Bigram": "LitBigram", "MLP": "LitMLP"}
HYPERPARAMETERS = {"alphabet": "abc", "block_size": 2, "n_embd": 3, "n_hidden": 5, "optimizer": "SGD", "lr": 0.1}
DATA = {"path": "/names.txt", "alphabet": None, "block_size": 2, "batch_size": 32, "split": [0.8, 0.1, 0.1]}


def shipped(name):
    return f"--config={CONFIGS / name}.yaml"


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """A run with a checkpoint in lightning_logs of the working directory; gives the file."""
    monkeypatch.chdir(tmp_path)
    sizes = {"vocab_size": 4, "block_size": 2, "n_embd": 3, "n_hidden": 5}
    content = {
        "state_dict": {f"net.{name}": weights for name, weights in MLP(**sizes).state_dict().items()},
        "global_step": 7,
        "hyper_parameters": HYPERPARAMETERS,
        "datamodule_hyper_parameters": DATA,
        "charlm": {"format": 1, "net": "MLP", "alphabet": "abc", "net_args": sizes},
    }
    folder = Path("lightning_logs/version_0/checkpoints")
    folder.mkdir(parents=True)
    for name in ("best.ckpt", "last.ckpt"):
        torch.save(content, folder / name)
    return folder / "best.ckpt"


def words(args):
    """The arguments without the shipped config that a training starts from."""
    args = prepare(["fit", *args], KINDS).args[1:]
    return args[2:] if args[:1] == ["--config"] else args


@pytest.mark.parametrize("given_as", [["--config", "mlp"], ["--config=mlp"], ["-c", "mlp"], ["-c=mlp"]])
def test_a_bare_name_of_a_config_becomes_its_path(given_as):
    option = given_as[0].split("=")[0]
    assert words(["--data.column", "mlp", *given_as]) == ["--data.column=mlp", f"{option}={CONFIGS / 'mlp'}.yaml"]


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
        ("LitMLP", "LitMLP"),
        ("my.models.Net", "my.models.Net"),
        ("model.yaml", "model.yaml"),
        ('{"class_path": "LitMLP"}', '{"class_path": "LitMLP"}'),
    ],
)
def test_a_short_name_of_a_model_becomes_its_class(option, name, spelled):
    assert words([option, name]) == [f"{option}={spelled}"] == words([f"{option}={name}"])


@pytest.mark.parametrize(("name", "hint"), [("mlp", r"\. Did you mean MLP\?"), ("LSTM", "")])
def test_an_unknown_model_is_refused_with_those_that_exist(name, hint):
    with pytest.raises(ValueError, match=f"there is no model '{name}'; the models are Bigram, MLP{hint}$"):
        words(["--model", name])


@pytest.mark.parametrize("option", ["--model.block_size", "--model.init_args.block_size"])
def test_a_model_argument_that_comes_from_the_data_is_refused(option):
    for args in ([option, "5"], [f"{option}=5"]):
        with pytest.raises(ValueError, match=f"^{option} comes from the data; give --data.block_size instead$"):
            words(args)
    words(["--data.block_size", "5", "--model.n_embd=3"])


@pytest.mark.parametrize(
    ("given", "spelled"),
    [
        (["--data", "names.txt"], ["--data.path=names.txt"]),
        (["--data=names.txt", "--data.block_size", "2"], ["--data.path=names.txt", "--data.block_size=2"]),
        (["--data", "makemore"], ["--data.path=makemore"]),
        (["--data=~/names.txt"], ["--data.path=/home/me/names.txt"]),
        (["--data.path", "~/names.txt"], ["--data.path=/home/me/names.txt"]),
        (["--data", "data.yaml"], ["--data=data.yaml"]),
        (["--data={block_size: 2}"], ["--data={block_size: 2}"]),
        (["--data", "--seed_everything", "1"], ["--data", "--seed_everything=1"]),
    ],
)
def test_a_list_of_names_is_data_too(given, spelled, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert words(given) == spelled


@pytest.mark.parametrize(
    ("rest", "preset"),
    [
        ([], "mlp"),
        (["--model", "Bigram"], "bigram"),
        (["--model=LitMLP"], "mlp"),
        (["--model", "charlm.LitBigram"], "bigram"),
        (["--config", "lecture"], None),
        (["-c=debug"], None),
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
        (["--config", "mlp", "--model", "MLP"], []),
        (["--config", "debug", "--model", "Bigram"], []),
        (["--config", "mlp"], []),
        (["--model", "Bigram"], []),
    ],
)
def test_whose_settings_a_config_has_is_said_where_another_model_is_named(rest, said, caplog):
    prepare(["fit", *rest], KINDS)
    assert [message.partition(";")[0] for message in caplog.messages] == said


@pytest.mark.parametrize("rest", [["--help"], ["-h"], ["--print_config"], ["--model.help=MLP"], ["--ckpt_path=null"]])
@pytest.mark.parametrize("command", sorted(TRAINER_COMMANDS))
def test_help_and_no_checkpoint_need_no_run(command, rest, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prepared = prepare([command, *rest], KINDS)
    assert (prepared.args[0], prepared.checkpoint, prepared.complete) == (command, None, False)


def test_what_is_no_command_is_left_to_the_parser():
    assert prepare(["--print_completion=shtab-bash"], KINDS).complete
    assert not set(COMMANDS) & set(TRAINER_COMMANDS)


@pytest.mark.parametrize("where", [[], ["--ckpt_path", "lightning_logs/version_0"], ["--ckpt_path=best"]])
@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_an_evaluation_takes_the_best_checkpoint_and_its_settings(command, where, saved):
    prepared = prepare([command, *where, "--data.batch_size", "8"], KINDS)
    assert prepared.args[3:] == ["--data.batch_size=8", "--ckpt_path", str(saved)]
    own = yaml.safe_load(prepared.args[2])
    assert (prepared.args[:2], own["model"]["class_path"]) == ([command, "--config"], "LitMLP")
    assert (prepared.kind, prepared.checkpoint.step) == ("LitMLP", 7)


@pytest.mark.parametrize(
    ("command", "where", "file"),
    [
        ("fit", "lightning_logs/version_0", "last.ckpt"),
        ("fit", "best", "best.ckpt"),
        ("fit", "lightning_logs/version_0/checkpoints/best.ckpt", "best.ckpt"),
        ("test", "last", "last.ckpt"),
    ],
)
def test_to_go_on_training_the_last_checkpoint_is_meant(command, where, file, saved):
    args = prepare([command, "--ckpt_path", where], KINDS).args
    assert (args[-2], Path(args[-1]).name) == ("--ckpt_path", file)
    assert args.count("--ckpt_path") == 1


def test_what_the_user_says_stands_behind_the_checkpoints_settings(saved):
    args = prepare(["fit", "--ckpt_path", str(saved), "--config", "debug", "--model.lr=3"], KINDS).args
    assert args[3:] == [shipped("debug"), "--model.lr=3", "--ckpt_path", str(saved)]


@pytest.mark.parametrize("command", ["fit", "test"])
def test_a_config_may_name_the_checkpoint(command, saved):
    Path("one.yaml").write_text("ckpt_path: lightning_logs/version_0/checkpoints/last.ckpt")
    Path("two.yaml").write_text("ckpt_path: null")
    args = prepare([command, "--config", "one.yaml", "-c", "two.yaml"], KINDS).args
    assert (args[-2], Path(args[-1]).name) == ("--ckpt_path", "last.ckpt")
    args = prepare([command, "--config", f'{{"ckpt_path": "{saved.as_posix()}"}}'], KINDS).args
    assert args[-1] == str(saved)
    args = prepare([command, "--config", "one.yaml", "--ckpt_path", str(saved)], KINDS).args
    assert args[-1] == str(saved)


def test_an_evaluation_without_a_run_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no run under lightning_logs; train one with `charlm fit`"):
        prepare(["test"], KINDS)
    with pytest.raises(FileNotFoundError, match=r"no run under elsewhere/lightning_logs; train"):
        prepare(["test", "--trainer.default_root_dir", "elsewhere"], KINDS)
