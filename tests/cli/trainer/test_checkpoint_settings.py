from contextlib import nullcontext
from pathlib import Path

import pytest

from charlm.cli.trainer.checkpoint_settings import checkpoint_settings, refuse_conflicts
from charlm.nets.mlp import MLP
from charlm.runs.checkpoint_file import Checkpoint
from charlm.tokenizer import CharTokenizer

HYPERPARAMETERS = {"alphabet": "abc", "block_size": 2, "n_embd": 3, "n_hidden": 5, "optimizer": "SGD", "lr": 0.1}
DATA = {"path": "/names.txt", "alphabet": None, "block_size": 2, "batch_size": 32, "split": [0.8, 0.1, 0.1]}


@pytest.fixture
def checkpoint():
    sizes = {"vocab_size": 4, "block_size": 2, "n_embd": 3, "n_hidden": 5}
    return Checkpoint(
        Path("last.ckpt"), MLP(**sizes), CharTokenizer("abc"), HYPERPARAMETERS, DATA, "ab12", 7, net_args=sizes
    )


def test_a_checkpoints_settings_are_a_config_that_lets_the_links_work(checkpoint):
    """The model's alphabet and block size come from the data there as well."""
    assert checkpoint_settings(checkpoint, "my.LitMLP") == {
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
    return {"class_path": "charlm.LitMLP", "init_args": init_args}, data


@pytest.mark.parametrize("fit", [True, False])
def test_the_checkpoints_own_settings_are_no_conflict(fit, checkpoint):
    refuse_conflicts(checkpoint, "LitMLP", *parsed(batch_size=8, path="/others.txt", init="notebook"), fit=fit)


@pytest.mark.parametrize(
    ("change", "option", "had", "when"),
    [
        ({"n_hidden": 6}, "--model.n_hidden is 6", "5", "always"),
        ({"block_size": 3}, "--data.block_size is 3", "2", "always"),
        ({"alphabet": "abcd"}, "--data.alphabet is 'abcd'", "'abc'", "always"),
        ({"lr": 3.0}, "--model.lr is 3.0", "0.1", "resume"),
        ({"optimizer": "AdamW"}, "--model.optimizer is 'AdamW'", "'SGD'", "resume"),
    ],
)
def test_what_the_weights_or_on_resume_the_optimizer_would_override_is_refused(change, option, had, when, checkpoint):
    message = f"{option}, and last.ckpt was trained with {had}; leave the option out, or start a new run"
    for fit in (True, False):
        with pytest.raises(ValueError, match=message) if fit or when == "always" else nullcontext():
            refuse_conflicts(checkpoint, "LitMLP", *parsed(**change), fit=fit)
