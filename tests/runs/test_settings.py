"""Which settings tell runs apart, and the words that they give a run's name."""

import inspect

import pytest

from charlm.callbacks.step_decay.callback import StepDecay
from charlm.data.datamodule import NamesDataModule
from charlm.models.base import LitCharLM
from charlm.models.windows import LitMLP
from charlm.runs.settings import _DEFAULTS, read_settings, training_settings, words_for

MLP = {
    "model": {
        "class_path": "charlm.LitMLP",
        "init_args": {"alphabet": "abc", "n_hidden": 200, "lr": 0.1, "init": "default"},
    },
    "data": {
        "path": None,
        "block_size": 3,
        "batch_size": 32,
        "alphabet": "abc",
        "split_by": "name",
        "eval_batch_size": 9,
    },
    "trainer": {"max_steps": 20000, "max_epochs": -1, "logger": True, "log_every_n_steps": 50, "precision": None},
    "seed_everything": 42,
}
DECAY = {"class_path": "charlm.callbacks.StepDecay", "init_args": {"milestones": [0.5, 0.75], "gamma": 0.1}}
STEPS = {"class_path": "charlm.callbacks.StepsPerExecution", "init_args": {"steps": 500}}
STOP = {"class_path": "EarlyStopping", "init_args": {"patience": 5, "verbose": True, "strict": False}}
FINDER = {"class_path": "LRFinder", "init_args": {"min_lr": 1e-6}}


def changed(**parts):
    """The settings of MLP with other ones, and these callbacks."""
    config = {key: {**value, **parts.get(key, {})} if isinstance(value, dict) else value for key, value in MLP.items()}
    config["model"] = {**config["model"], "init_args": {**MLP["model"]["init_args"], **parts.get("model", {})}}
    config["trainer"]["callbacks"] = parts.get("callbacks", [STEPS, DECAY])
    return training_settings(config)


def test_they_are_in_the_order_of_use_without_what_does_not_change_the_training():
    assert list(changed(callbacks=[STEPS, DECAY, STOP]).items()) == [
        *{"data.block_size": 3, "data.batch_size": 32, "model": "MLP", "model.n_hidden": 200, "model.lr": 0.1}.items(),
        *{"step_decay.milestones": "0.5, 0.75", "step_decay.gamma": 0.1, "early_stopping.patience": 5}.items(),
        *{"trainer.max_steps": 20000, "seed_everything": 42}.items(),
    ]


def test_what_needs_no_mention_is_the_default_of_its_class():
    classes = {"data": [NamesDataModule], "model": [LitMLP, LitCharLM], "step_decay": [StepDecay]}
    for key, value in _DEFAULTS.items():
        owner, _, name = key.rpartition(".")
        known = [inspect.signature(kind).parameters for kind in classes.get(owner, [])]
        for default in [parameters[name].default for parameters in known if name in parameters][:1]:
            assert value == (", ".join(map(str, default)) if isinstance(default, list | tuple) else default), key


@pytest.mark.parametrize(
    ("parts", "configs", "words"),
    [
        ({}, ["mlp"], "mlp"),
        ({"model": {"lr": 0.3}}, ["mlp"], "mlp-lr0.3"),
        ({"callbacks": []}, ["mlp"], "mlp-fixed"),
        ({"callbacks": [DECAY, FINDER]}, ["mlp"], "mlp-lr_finder"),
        (
            {"callbacks": [{**DECAY, "init_args": {"milestones": [0.9], "gamma": 0.5}}]},
            [],
            "mlp-milestones0.9-gamma0.5",
        ),
        ({"data": {"path": "/a/my names.txt", "split_by": "line"}}, ["mlp"], "mlp-my_names-line"),
        (
            {"trainer": {"max_steps": 500}, "data": {"batch_size": 64}},
            ["mlp-best", "own"],
            "mlp-best-own-batch64-steps500",
        ),
        ({"model": {"lr": 1e20, "init": "../../x", "n_hidden": 300}}, [], "mlp-hidden300-lr1e20-x"),
        ({"data": {"path": "x" * 300}}, ["mlp"], "mlp"),
    ],
)
def test_a_run_is_named_by_what_differs(parts, configs, words):
    assert words_for(changed(**parts), changed(), configs) == words


def test_a_length_in_steps_says_nothing_of_the_epochs_that_it_replaces():
    base = changed(trainer={"max_epochs": 22})
    assert words_for(changed(trainer={"max_steps": 500}), base, ["mlp"]) == "mlp-steps500"
    assert words_for(changed(trainer={"max_epochs": 3}), base, ["mlp"]) == "mlp-epochs3"


@pytest.mark.parametrize("text", ["", "[1]", "model: 3", "{", "\xff", "trainer: {callbacks: [{class_path: 3}]}"])
def test_a_damaged_config_has_no_settings(text, tmp_path):
    (tmp_path / "config.yaml").write_text(text, encoding="latin-1")
    assert read_settings(tmp_path) in ({}, {"model": ""})
