"""The private parts of Lightning and jsonargparse that charlm leans on: all in one table, and still there.

Where a test here fails after an upgrade, the file named beside the part is to be looked at.
"""

import argparse
import ast
import importlib
import inspect
import textwrap
from functools import cache
from pathlib import Path

import lightning.pytorch as pl
import pytest
from jsonargparse import ArgumentParser
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.demos.boring_classes import BoringDataModule, BoringModel

CHARLM = Path(__file__).parents[1] / "charlm"
METHODS = {  # (file, name): (class, the arguments that charlm gives or takes)
    ("trainer_cli.py", "_add_subcommands"): (LightningCLI, ["parser", "kwargs"]),
    ("trainer_cli.py", "_parse_ckpt_path"): (LightningCLI, []),
    ("callbacks/run_checkpoint.py", "_should_skip_saving_checkpoint"): (ModelCheckpoint, ["trainer"]),
    ("callbacks/run_checkpoint.py", "_save_last_checkpoint"): (ModelCheckpoint, ["trainer", "monitor_candidates"]),
    ("callbacks/run_checkpoint.py", "_monitor_candidates"): (ModelCheckpoint, ["trainer"]),
    ("callbacks/embedding_pca.py", "_generate_state_key"): (Callback, ["kwargs"]),
}
ATTRIBUTES = {  # (file, name): an object that has it
    ("trainer_cli.py", "_subcommands_action"): ArgumentParser,
    ("parsers.py", "_actions"): argparse.ArgumentParser,
    ("callbacks/run_checkpoint.py", "_last_global_step_saved"): ModelCheckpoint,
}
UNDECLARED = {  # public by name, but set on a Trainer from outside its class
    "callbacks/pictures.py": "fast_dev_run",
    "callbacks/step_decay.py": "log_every_n_steps",
    "lightning_modules.py": "log_every_n_steps",
    "callbacks/embedding_pca.py": "callbacks",
}
SOURCES = sorted(CHARLM.rglob("*.py"))


def label(path):
    return path.relative_to(CHARLM).as_posix()


def is_private(name):
    return name.startswith("_") and not name.startswith("__") and name.strip("_") != ""


def private_names(tree):
    """(defined, used) private names of a file: functions, classes, variables and attributes."""
    defined, used = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            defined.add(node.id)
        elif isinstance(node, ast.Attribute) and is_private(node.attr):
            used.add(node.attr)
            if isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
                defined.add(node.attr)
    return {name for name in defined if is_private(name)}, used


def own_classes():
    """Every class of charlm, by file."""
    for path in SOURCES:
        module = importlib.import_module(".".join(["charlm", *path.relative_to(CHARLM).with_suffix("").parts]))
        for value in vars(module).values():
            if inspect.isclass(value) and value.__module__ == module.__name__:
                yield label(path), value


@cache
def names_of(kind):
    """The private names that a class itself has or that its methods set on self."""
    try:
        stored = private_names(ast.parse(textwrap.dedent(inspect.getsource(kind))))[0]
    except (OSError, TypeError):  # a class made by code
        stored = set()
    return {name for name in {*vars(kind), *stored} if is_private(name) and not name.startswith("_abc")}


@cache
def foreign_overrides():
    """(file, name) of the private names of charlm's classes that a base from elsewhere has, too."""
    found = set()
    for file, kind in own_classes():
        bases = [base for base in kind.__mro__[1:] if base.__module__.split(".")[0] not in ("charlm", "builtins")]
        found |= {(file, name) for name in names_of(kind) for base in bases if name in names_of(base)}
    return found


@pytest.mark.parametrize(("file", "name"), METHODS)
def test_a_private_method_is_there_with_its_arguments(file, name):
    kind, arguments = METHODS[file, name]
    parameters = inspect.signature(getattr(kind, name)).parameters
    assert [parameter for parameter in parameters if parameter != "self"] == arguments


def test_the_private_attributes_are_there():
    parser = ArgumentParser()
    commands = parser.add_subcommands()
    assert parser._subcommands_action is commands
    assert list(inspect.signature(commands.add_subcommand).parameters) == ["name", "parser", "kwargs"]
    assert [action.option_strings for action in argparse.ArgumentParser()._actions] == [["-h", "--help"]]
    assert ModelCheckpoint()._last_global_step_saved == 0


def test_the_undeclared_attributes_of_a_trainer_are_there():
    trainer = pl.Trainer(accelerator="cpu", logger=False, fast_dev_run=True, log_every_n_steps=7)
    assert {name for name in UNDECLARED.values() if not hasattr(trainer, name)} == set()
    assert trainer.fast_dev_run
    assert trainer.log_every_n_steps == 7
    assert all(isinstance(callback, Callback) for callback in trainer.callbacks)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Lightning's own use of jsonargparse
def test_the_hooks_of_lightnings_command_line_are_called_as_charlm_expects(tmp_path, monkeypatch):
    """In this order, and with the parsed config in place."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["tool"])
    called = []

    class Recording(LightningCLI):
        def _add_subcommands(self, parser, **kwargs):
            called.append("_add_subcommands")
            super()._add_subcommands(parser, **kwargs)
            assert isinstance(parser, LightningArgumentParser)
            assert parser._subcommands_action is not None

        def parse_arguments(self, parser, args):
            called.append("parse_arguments")
            self.config = parser.parse_args(args)

        def _parse_ckpt_path(self):
            called.append("_parse_ckpt_path")
            assert self.config[self.config.subcommand].ckpt_path is None

        def before_instantiate_classes(self):
            called.append("before_instantiate_classes")
            assert "keep" in self._subcommand_parsers["fit"].callback_keys

        def add_arguments_to_parser(self, parser):
            parser.add_lightning_class_args(ModelCheckpoint, "keep")

        def instantiate_trainer(self, **kwargs):
            called.append("instantiate_trainer")
            assert self.config_init.fit.trainer.fast_dev_run == 1
            return super().instantiate_trainer(**kwargs)

        def after_fit(self):
            called.append("after_fit")

    options = [f"--trainer.{name}=false" for name in ("logger", "enable_progress_bar", "enable_model_summary")]
    trial = ["--trainer.fast_dev_run=1", "--seed_everything=false", "--trainer.accelerator=cpu"]
    Recording(BoringModel, BoringDataModule, args=["fit", *trial, *options])
    hooks = ["parse_arguments", "_parse_ckpt_path", "before_instantiate_classes", "instantiate_trainer", "after_fit"]
    assert called == ["_add_subcommands", *hooks]


def test_the_config_callback_saves_in_setup():
    assert list(inspect.signature(SaveConfigCallback.setup).parameters) == ["self", "trainer", "pl_module", "stage"]
    assert list(inspect.signature(SaveConfigCallback.save_config).parameters) == list(
        inspect.signature(SaveConfigCallback.setup).parameters
    )


def test_the_parser_tells_which_subcommand_a_config_was_for():
    """parsers.py asks the error for it, to suggest that subcommand's options."""
    seen = []

    class Parser(ArgumentParser):
        def error(self, message, ex=None):
            seen.append((message, getattr(ex, "subcommand_parser", None)))
            raise SystemExit(2)

    parser, command = Parser(), Parser()
    command.add_argument("--config", action="config")
    command.add_argument("--steps", type=int)
    parser.add_subcommands().add_subcommand("fit", command)
    with pytest.raises(SystemExit):
        parser.parse_args(["fit", "--config", '{"stesp": 3}'])
    assert seen == [("Subcommand 'fit' does not accept option 'stesp'", command)]


@pytest.mark.parametrize("path", SOURCES, ids=label)
def test_the_table_has_every_private_name_that_a_file_takes_from_elsewhere(path):
    defined, used = private_names(ast.parse(path.read_text(encoding="utf-8")))
    overridden = {name for file, name in foreign_overrides() if file == label(path)}
    listed = {name for file, name in [*METHODS, *ATTRIBUTES] if file == label(path)}
    assert (used - defined) | overridden == listed


@pytest.mark.parametrize(("file", "name"), UNDECLARED.items())
def test_the_table_has_every_undeclared_attribute(file, name):
    """Type checkers do not know them, so each use has an ignore of its own."""
    marked = {label(path) for path in SOURCES if "type: ignore[attr-defined]" in path.read_text(encoding="utf-8")}
    assert marked == set(UNDECLARED)
    assert f".{name}" in (CHARLM / file).read_text(encoding="utf-8")


def test_the_reader_sees_private_uses():
    source = (
        "class A(B):\n    _own = 1\n    def _m(self):\n        self._x = other._y\n        return self._m() + self._z\n"
    )
    assert private_names(ast.parse(source)) == ({"_own", "_m", "_x"}, {"_x", "_y", "_m", "_z"})
