import json
import string
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from charlm.cli.subcommands import COMMANDS, TRAINER_COMMANDS
from charlm.cli.trainer.arguments import checkpoint_config, prepare, refuse_conflicts
from charlm.cli.trainer.options import (
    CONFIGS,
    config_names,
    model_in,
    refuse_linked,
    spell_out_configs,
    spell_out_data,
    spell_out_models,
    value_of,
)
from charlm.nets.mlp import MLP
from charlm.runs.checkpoint import Checkpoint
from charlm.tokenizer import CharTokenizer

KINDS = {"Bigram": "LitBigram", "MLP": "LitMLP"}
MODELS = ("bigram", "bow", "deepmlp", "ensemble", "gru", "lstm", "mlp", "rnn", "transformer", "wavenet")
SHIPPED = {name: str(CONFIGS / f"{name}.yaml") for name in (*MODELS, "debug", "lecture", "mlp-best", "mlp-fast")}
HYPERPARAMETERS = {"alphabet": "abc", "block_size": 2, "n_embd": 3, "n_hidden": 5, "optimizer": "SGD", "lr": 0.1}
DATA = {"path": "/names.txt", "alphabet": None, "block_size": 2, "batch_size": 32, "split": [0.8, 0.1, 0.1]}
words = st.text(string.ascii_letters + string.digits + "-_./=", max_size=12)


@pytest.fixture
def checkpoint():
    net = MLP(vocab_size=4, block_size=2, n_embd=3, n_hidden=5)
    sizes = {"vocab_size": 4, "block_size": 2, "n_embd": 3, "n_hidden": 5}
    return Checkpoint(Path("last.ckpt"), net, CharTokenizer("abc"), HYPERPARAMETERS, DATA, "ab12", 7, sizes)


@pytest.fixture
def saved(checkpoint, tmp_path, monkeypatch):
    """A run with that checkpoint in lightning_logs of the working directory; gives the file."""
    monkeypatch.chdir(tmp_path)
    entry = {"format": 1, "net": "MLP", "alphabet": "abc"}
    entry["net_args"] = {"vocab_size": 4, "block_size": 2, "n_embd": 3, "n_hidden": 5}
    content = {
        "state_dict": {f"net.{name}": weights for name, weights in checkpoint.net.state_dict().items()},
        "global_step": 7,
        "hyper_parameters": HYPERPARAMETERS,
        "datamodule_hyper_parameters": DATA,
        "charlm": entry,
    }
    folder = Path("lightning_logs/version_0/checkpoints")
    folder.mkdir(parents=True)
    for name in ("best-step000005.ckpt", "last.ckpt"):
        torch.save(content, folder / name)
    return folder / "best-step000005.ckpt"


def test_the_shipped_configs_go_by_bare_names():
    assert config_names() == sorted(SHIPPED)
    assert all(Path(file).is_file() for file in SHIPPED.values())


@pytest.mark.parametrize("given_as", [["--config", "mlp"], ["--config=mlp"], ["-c", "mlp"], ["-c=mlp"]])
def test_a_bare_name_of_a_config_becomes_its_path(given_as):
    spelled = spell_out_configs(["--data.path", "mlp", *given_as])
    assert spelled[:2] == ["--data.path", "mlp"]
    assert "=".join(spelled[2:]) == f"{given_as[0].split('=')[0]}={SHIPPED['mlp']}"


def test_a_file_in_the_working_directory_goes_before_a_shipped_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mlp").write_text("seed_everything: 1")
    assert spell_out_configs(["--config", "mlp", "--config", "bigram"])[1::2] == ["mlp", SHIPPED["bigram"]]


def test_a_config_may_be_given_as_json():
    assert spell_out_configs(["--config", ' {"seed_everything": 1}']) == ["--config", ' {"seed_everything": 1}']


@pytest.mark.parametrize(
    ("name", "end"),
    [("mpl", r"bigram, bow, .*transformer, wavenet\. Did you mean mlp\?"), ("my.yaml", "bow, .*transformer, wavenet")],
)
def test_an_unknown_config_is_refused_with_those_that_exist(name, end):
    with pytest.raises(
        ValueError, match=rf"there is no config file {name}, nor a shipped config of that name: .*{end}$"
    ):
        spell_out_configs(["--config", name])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"model: [GRU", r"mine.yaml is not YAML \(line 1: .*\); correct it there, or take another config"),
        (b"model: GRU\ndata: {\n", r"mine.yaml is not YAML \(line 3: "),
        (b"\xff\x00", r"mine.yaml is not YAML \(not text\)"),
        (b"", "mine.yaml holds no settings, which look like `model: GRU`"),
        (b"GRU", "mine.yaml holds no settings"),
        (b"- model: GRU", "mine.yaml holds no settings"),
    ],
)
def test_a_config_without_settings_is_refused_by_its_name(content, said, tmp_path, saved):
    Path("mine.yaml").write_bytes(content)
    with pytest.raises(ValueError, match=said):
        spell_out_configs(["--config", "mine.yaml"])
    saved.parents[1].joinpath("config.yaml").write_bytes(content)
    with pytest.raises(ValueError, match=said.replace("mine", "version_0/config")):
        prepare(["fit", "--resume"], KINDS)


@pytest.mark.parametrize(
    ("args", "model"),
    [
        (["--model", "LitGRU"], "LitGRU"),
        (["--model=charlm.models.windows.LitGRU", "--model.lr", "1"], "LitGRU"),
        (["--model.class_path", "LitMLP", "--model", '{"class_path": "LitGRU"}'], "LitGRU"),
        (["--config", '{"model": {"class_path": "a.LitGRU"}}', "--config", '{"data": {}}'], "LitGRU"),
        (["--config", '{"model": "LitGRU"}', "--config", '{"model": "LitBoW"}'], "LitBoW"),
        (["--config", '{"model": "LitGRU"}', "--model", "LitBoW"], "LitBoW"),
        (["--config", str(CONFIGS / "gru.yaml")], "LitGRU"),
        (["--config", "no such file.yaml", "--config", "{broken", "--model.lr", "1"], None),
        ([], None),
    ],
)
def test_the_model_that_is_named_last_counts(args, model):
    assert model_in(args) == model


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
    assert spell_out_models([option, name], KINDS) == [option, spelled]
    assert spell_out_models([f"{option}={name}"], KINDS) == [f"{option}={spelled}"]


def test_help_on_the_model_needs_no_name():
    assert spell_out_models(["--model.help", "--print_config"], KINDS) == ["--model.help", "--print_config"]


@pytest.mark.parametrize(("name", "hint"), [("mlp", r"\. Did you mean MLP\?"), ("LSTM", "")])
def test_an_unknown_model_is_refused_with_those_that_exist(name, hint):
    with pytest.raises(ValueError, match=f"there is no model '{name}'; the models are Bigram, MLP{hint}$"):
        spell_out_models(["--model", name], KINDS)


@given(st.lists(words.filter(lambda w: not w.startswith(("--model", "--config", "-c")))))
def test_all_other_arguments_stay_as_they_are(args):
    assert spell_out_models(spell_out_configs(args), KINDS) == args


@pytest.mark.parametrize("option", ["--model.block_size", "--model.init_args.block_size"])
def test_a_model_argument_that_comes_from_the_data_is_refused(option):
    message = f"^{option} comes from the data; give --data.block_size instead$"
    with pytest.raises(ValueError, match=message):
        refuse_linked([option, "5"])
    with pytest.raises(ValueError, match=message):
        refuse_linked([f"{option}=5"])
    refuse_linked(["--data.block_size", "5", "--model.n_embd=3"])


def test_the_last_value_of_an_option_counts():
    args = ["--config", "a", "-c=b", "--model", "MLP", "--config"]
    assert value_of(args, "--config", "-c") == "b"
    assert value_of(args, "--config") == "a"
    assert value_of(args, "--ckpt_path") is None
    assert value_of(["--lr="], "--lr") == ""


@given(st.lists(words), words)
def test_a_value_that_is_added_is_found(args, value):
    assert value_of([*args, f"--wanted={value}"], "--wanted") == value
    assert value_of([*args, "--wanted", value], "--wanted") == value


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
    assert (args[1:3] == ["--config", SHIPPED[preset]]) if preset else (len(args) == 1 + len(rest))


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
def test_an_evaluation_takes_the_best_checkpoint_and_its_settings(command, where, saved, checkpoint):
    prepared = prepare([command, *where, "--data.batch_size", "8"], KINDS)
    own = checkpoint_config(checkpoint, "charlm.models.windows.LitMLP")
    assert prepared.args == [command, "--config", own, "--data.batch_size", "8", "--ckpt_path", str(saved)]
    assert (prepared.kind, prepared.checkpoint.step) == ("LitMLP", 7)


@pytest.mark.parametrize(
    ("command", "where", "file"),
    [
        ("fit", "lightning_logs/version_0", "last.ckpt"),
        ("fit", "best", "best-step000005.ckpt"),
        ("fit", "lightning_logs/version_0/checkpoints/best-step000005.ckpt", "best-step000005.ckpt"),
        ("test", "last", "last.ckpt"),
    ],
)
def test_to_go_on_training_the_last_checkpoint_is_meant(command, where, file, saved):
    args = prepare([command, "--ckpt_path", where], KINDS).args
    assert (args[-2], Path(args[-1]).name) == ("--ckpt_path", file)
    assert args.count("--ckpt_path") == 1


def test_what_the_user_says_stands_behind_the_checkpoints_settings(saved):
    args = prepare(["fit", "--ckpt_path", str(saved), "--config", "debug", "--model.lr=3"], KINDS).args
    assert args[3:] == ["--config", SHIPPED["debug"], "--model.lr=3", "--ckpt_path", str(saved)]


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


def test_a_checkpoints_settings_are_a_config_that_lets_the_links_work(checkpoint):
    """The model's alphabet and block size come from the data there as well."""
    assert json.loads(checkpoint_config(checkpoint, "my.LitMLP")) == {
        "model": {
            "class_path": "my.LitMLP",
            "init_args": {"n_embd": 3, "n_hidden": 5, "optimizer": "SGD", "lr": 0.1},
        },
        "data": {**DATA, "alphabet": "abc"},
    }


def parsed(**changes):
    """The settings of that checkpoint as they come from the parser, but for `changes`."""
    init_args = {key: value for key, value in HYPERPARAMETERS.items() if key not in ("alphabet", "block_size")}
    data = {**DATA, **{key: value for key, value in changes.items() if key in DATA}}
    init_args |= {key: value for key, value in changes.items() if key not in DATA}
    return {"class_path": "charlm.models.windows.LitMLP", "init_args": init_args}, data


@pytest.mark.parametrize("fit", [True, False])
def test_the_checkpoints_own_settings_are_no_conflict(fit, checkpoint):
    refuse_conflicts(checkpoint, "LitMLP", *parsed(batch_size=8, path="/others.txt", init="notebook"), fit=fit)


@pytest.mark.parametrize(
    ("change", "option", "had"),
    [
        ({"n_hidden": 6}, "--model.n_hidden is 6", "5"),
        ({"n_embd": 4}, "--model.n_embd is 4", "3"),
        ({"block_size": 3}, "--data.block_size is 3", "2"),
        ({"alphabet": "abcd"}, "--data.alphabet is 'abcd'", "'abc'"),
    ],
)
@pytest.mark.parametrize("fit", [True, False])
def test_what_the_weights_would_override_is_refused(change, option, had, fit, checkpoint):
    message = f"^{option}, and last.ckpt was trained with {had}; leave the option out, or start a new run"
    with pytest.raises(ValueError, match=message):
        refuse_conflicts(checkpoint, "LitMLP", *parsed(**change), fit=fit)


@pytest.mark.parametrize(("change", "message"), [({"lr": 3.0}, "lr is 3.0"), ({"optimizer": "AdamW"}, "is 'AdamW'")])
def test_what_the_optimizers_state_would_override_is_refused_on_resume_only(change, message, checkpoint):
    refuse_conflicts(checkpoint, "LitMLP", *parsed(**change), fit=False)
    with pytest.raises(ValueError, match=message):
        refuse_conflicts(checkpoint, "LitMLP", *parsed(**change), fit=True)


def test_another_model_than_the_checkpoints_is_refused(checkpoint):
    model, data = parsed()
    with pytest.raises(ValueError, match=r"^last.ckpt holds a LitMLP, not a LitBigram; leave the model out, or give"):
        refuse_conflicts(checkpoint, "LitMLP", {**model, "class_path": "charlm.LitBigram"}, data, fit=False)


def test_an_address_that_only_a_checkpoint_names_is_not_asked(saved, monkeypatch):
    content = torch.load(saved, weights_only=True)
    content["datamodule_hyper_parameters"] = {**DATA, "path": "http://127.0.0.1:9/names.txt"}
    torch.save(content, saved)
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    with pytest.raises(ValueError, match=r"was trained on 'http://127\.0\.0\.1:9/names\.txt', which is not"):
        prepare(["test", "--ckpt_path", str(saved)], KINDS)
    given = prepare(["test", "--ckpt_path", str(saved), "--data.path", "mine.txt"], KINDS)
    assert "mine.txt" in given.args


@pytest.mark.parametrize(
    ("given", "spelled"),
    [
        (["--data", "names.txt"], ["--data.path", "names.txt"]),
        (["--data=names.txt", "--data.block_size", "2"], ["--data.path=names.txt", "--data.block_size", "2"]),
        (["--data", "makemore"], ["--data.path", "makemore"]),
        (["--data", "data.yaml"], ["--data", "data.yaml"]),
        (["--data={block_size: 2}"], ["--data={block_size: 2}"]),
        (["--data", "--config", "mlp"], ["--data", "--config", "mlp"]),
        (["--data"], ["--data"]),
    ],
)
def test_a_list_of_names_is_data_too(given, spelled):
    assert spell_out_data(given) == spelled
