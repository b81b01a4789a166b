"""The private parts of other packages that charlm leans on: all in one table, and still there.

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
import torch
import torch.optim.optimizer as optimizer_file
from jsonargparse import ArgumentParser
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.demos.boring_classes import BoringDataModule, BoringModel, RandomDataset
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.loops.fit_loop import RestartStage
from lightning.pytorch.loops.fit_loop import _FitLoop as FitLoop
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop as TrainingEpochLoop
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.utilities.combined_loader import CombinedLoader
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from torchmetrics import MeanMetric

from charlm.callbacks.internals import hooks

CHARLM = Path(__file__).parents[3] / "charlm"
METHODS = {  # (file, name): (class, the arguments that charlm gives or takes)
    ("trainer_cli.py", "_add_subcommands"): (LightningCLI, ["parser", "kwargs"]),
    ("trainer_cli.py", "_parse_ckpt_path"): (LightningCLI, []),
    ("callbacks/loop_place.py", "_load_combined_loader_states"): (FitLoop, []),
    ("callbacks/exact_resume.py", "_should_accumulate"): (TrainingEpochLoop, []),
    ("callbacks/embedding_pca.py", "_generate_state_key"): (Callback, ["kwargs"]),
    ("callbacks/lr_finder.py", "_generate_state_key"): (Callback, ["kwargs"]),
    ("callbacks/one_step.py", "_on_before_batch_transfer"): (pl.LightningModule, ["batch", "dataloader_idx"]),
    ("callbacks/lean_step.py", "_foreach_add_"): (torch, None),
}
ATTRIBUTES = {  # (file, name): an object that has it
    ("trainer_cli.py", "_subcommands_action"): ArgumentParser,
    ("parsers.py", "_actions"): argparse.ArgumentParser,
    ("callbacks/loop_place.py", "_batches_that_stepped"): pl.Trainer,
    ("callbacks/loop_place.py", "_restart_stage"): pl.Trainer,
    ("callbacks/loop_place.py", "_restarting"): pl.Trainer,
    ("callbacks/loop_place.py", "_resuming_from_checkpoint"): pl.Trainer,
    ("callbacks/loop_place.py", "_skip_next_val"): pl.Trainer,
    ("callbacks/loop_place.py", "_combined_loader_states_to_load"): pl.Trainer,
    ("callbacks/loop_place.py", "_data_fetcher"): pl.Trainer,
    ("callbacks/exact_resume.py", "_logger_connector"): pl.Trainer,
    ("callbacks/exact_resume.py", "_callback_metrics"): pl.Trainer,
    ("callbacks/epoch_sums.py", "_logger_connector"): pl.Trainer,
    ("callbacks/epoch_sums.py", "_first_loop_iter"): pl.Trainer,
    ("callbacks/epoch_sums.py", "_results"): pl.Trainer,
    ("callbacks/epoch_sums.py", "_forward_cache"): MeanMetric,
    ("callbacks/epoch_sums.py", "_update_count"): MeanMetric,
    ("callbacks/epoch_sums.py", "_computed"): MeanMetric,
    ("callbacks/execution.py", "_every_n_train_steps"): ModelCheckpoint,
    ("callbacks/execution.py", "_batches_that_stepped"): pl.Trainer,
    ("callbacks/step_log.py", "_batches_that_stepped"): pl.Trainer,
    ("callbacks/watching.py", "_batches_that_stepped"): pl.Trainer,
    ("callbacks/step_log.py", "_logger_connector"): pl.Trainer,
    ("callbacks/step_log.py", "_current_fx_name"): pl.LightningModule,
    ("callbacks/step_log.py", "_prefix"): TensorBoardLogger,
    ("callbacks/step_log.py", "_forward_cache"): MeanMetric,
    ("callbacks/snapshot.py", "_combined_loader"): pl.Trainer,
    ("callbacks/snapshot.py", "_parameters"): torch.nn.Module,
    ("callbacks/snapshot.py", "_buffers"): torch.nn.Module,
    ("callbacks/snapshot.py", "_modules"): torch.nn.Module,
    ("callbacks/snapshot.py", "_non_persistent_buffers_set"): torch.nn.Module,
    ("callbacks/sweep_batches.py", "_combined_loader"): pl.Trainer,
    ("callbacks/lean_step.py", "_optimizer_step_pre_hooks"): torch.optim.SGD,
    ("callbacks/lean_step.py", "_optimizer_step_post_hooks"): torch.optim.SGD,
    ("callbacks/lean_step.py", "_global_optimizer_pre_hooks"): optimizer_file,
    ("callbacks/lean_step.py", "_global_optimizer_post_hooks"): optimizer_file,
    ("callbacks/internals/hooks.py", "_backward_hooks"): torch.Tensor,
    ("callbacks/internals/hooks.py", "_post_accumulate_grad_hooks"): torch.Tensor,
    ("traced.py", "_C"): torch,
    ("traced.py", "_decomp"): torch,
}
UNDECLARED = {  # public by name, but set on a Trainer from outside its class
    "callbacks/outlets.py": ["fast_dev_run"],
    "callbacks/decay_table.py": ["callbacks", "reload_dataloaders_every_n_epochs"],
    "callbacks/rate_log.py": ["log_every_n_steps"],
    "callbacks/step_log.py": ["callbacks", "log_every_n_steps"],
    "callbacks/lean_step.py": ["callbacks", "callbacks", "profiler"],
    "callbacks/dashboard.py": ["fast_dev_run"],
    "callbacks/execution.py": ["callbacks", "callbacks", "callbacks"],
    "callbacks/turn_end.py": ["callbacks"],
    "callbacks/lr_finder.py": ["fast_dev_run"],
    "callbacks/one_step.py": ["datamodule"],
    "callbacks/snapshot.py": ["datamodule"],
    "callbacks/embedding_pca.py": ["fast_dev_run", "callbacks"],
    "lit_char_lm.py": ["log_every_n_steps"],
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
    return {
        name for name in {*vars(kind), *stored} if is_private(name) and not name.startswith(("_abc", "_backward_cls"))
    }


@cache
def foreign_overrides():
    """(file, name) of the private names of charlm's classes that a base from elsewhere has, too."""
    found = set()
    for file, kind in own_classes():
        bases = [
            base for base in kind.__mro__[1:] if base.__module__.split(".")[0] not in ("charlm", "builtins", "typing")
        ]
        found |= {(file, name) for name in names_of(kind) for base in bases if name in names_of(base)}
    return found


@pytest.mark.parametrize(("file", "name"), METHODS)
def test_a_private_method_is_there_with_its_arguments(file, name):
    kind, arguments = METHODS[file, name]
    if arguments is None:  # an operation of torch's own, not a Python function
        assert callable(getattr(kind, name))
        return
    parameters = inspect.signature(getattr(kind, name)).parameters
    assert [parameter for parameter in parameters if parameter != "self"] == arguments


def test_the_private_attributes_are_there():
    parser = ArgumentParser()
    commands = parser.add_subcommands()
    assert parser._subcommands_action is commands
    assert list(inspect.signature(commands.add_subcommand).parameters) == ["name", "parser", "kwargs"]
    assert [action.option_strings for action in argparse.ArgumentParser()._actions] == [["-h", "--help"]]


def test_the_parts_of_the_training_loop_are_there(tmp_path):
    """All that StepsPerExecution counts, asks and calls, seen in a training."""
    seen = []

    class Look(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            loop = trainer.fit_loop.epoch_loop
            progress, optimizer = loop.batch_progress, loop.automatic_optimization.optim_progress.optimizer
            assert (progress.current.ready, progress.current.completed) == (batch_idx + 1, batch_idx)
            assert progress.total.ready == batch_idx + 1
            assert progress.is_last_batch == (batch_idx == 2)
            assert optimizer.step.total.completed == trainer.global_step == batch_idx
            assert optimizer.zero_grad.total.completed == batch_idx
            assert loop._batches_that_stepped == batch_idx
            assert trainer._logger_connector.should_update_logs == (batch_idx == 1)
            assert not loop.restarting
            assert (trainer.should_stop, trainer.received_sigterm) == (False, False)
            assert (trainer.num_training_batches, trainer.val_check_batch) == (3, 3)
            seen.append(batch_idx)

    class Asked(BoringModel):
        def training_step(self, batch, batch_idx):
            assert self._current_fx_name == "training_step"
            return super().training_step(batch, batch_idx)

    trainer = pl.Trainer(
        default_root_dir=tmp_path, accelerator="cpu", max_epochs=1, limit_train_batches=3, limit_val_batches=1,
        log_every_n_steps=2, logger=False, enable_checkpointing=False, enable_progress_bar=False, callbacks=[Look()],
    )  # fmt: skip
    loop = trainer.fit_loop.epoch_loop
    assert list(inspect.signature(loop.advance).parameters) == ["data_fetcher"]
    assert list(inspect.signature(loop.automatic_optimization.run).parameters) == ["optimizer", "batch_idx", "kwargs"]
    assert list(inspect.signature(loop.update_lr_schedulers).parameters) == ["interval", "update_plateau_schedulers"]
    connector = trainer._logger_connector
    assert list(inspect.signature(connector.on_batch_start).parameters) == ["batch", "dataloader_idx"]
    assert list(inspect.signature(connector.on_batch_end).parameters) == []
    trainer.fit(Asked())
    assert seen == [0, 1, 2]


def test_the_parts_that_a_sweep_of_the_learning_rate_replaces_are_there(tmp_path):
    """All that LRFinder reads of loaders, counters, modules and schedulers, seen as a training starts."""
    seen = []

    class Look(Callback):
        def on_train_start(self, trainer, pl_module):
            loop, loader = trainer.fit_loop.epoch_loop, trainer.fit_loop._combined_loader
            assert isinstance(loader, CombinedLoader)
            (flat,) = loader.flattened
            assert flat._iterator is not None  # as it is with persistent workers
            assert flat.persistent_workers
            for part in ("callbacks", "profiler", "should_stop"):
                assert part in vars(trainer)
            assert isinstance(vars(type(trainer))["loggers"], property)
            assert {"_iterator", "persistent_workers"} <= set(vars(flat))
            counters = (
                loop.batch_progress,
                loop.automatic_optimization.optim_progress,
                loop.manual_optimization.optim_step_progress,
            )
            for counter in counters:
                counter.load_state_dict(counter.state_dict())
            assert loop.batch_progress.current.ready == trainer.global_step == 0
            seen.append(1)

    class Loaded(BoringModel):
        def train_dataloader(self):
            return DataLoader(RandomDataset(32, 4), num_workers=1, persistent_workers=True)

    trainer = pl.Trainer(
        default_root_dir=tmp_path, accelerator="cpu", max_epochs=1, limit_val_batches=0, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, callbacks=[Look()],
    )  # fmt: skip
    trainer.fit(Loaded())
    assert seen == [1]
    loop = trainer.fit_loop.epoch_loop
    assert list(inspect.signature(loop.manual_optimization.run).parameters) == ["kwargs"]
    assert list(inspect.signature(pl.LightningModule.log).parameters)[:3] == ["self", "name", "value"]
    assert DummyLogger().experiment.anything() is None
    assert DummyLogger().log_image("key") is None


def test_the_parts_that_a_resumed_training_sets_are_there(tmp_path):
    """All that ExactResume and `on_iteration_end` read, set and replace, seen in a training."""
    seen = []

    class Look(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            fit, connector = trainer.fit_loop, trainer._logger_connector
            assert fit._restart_stage is RestartStage.NONE or seen
            assert {"_restarting", "_resuming_from_checkpoint", "_restart_stage"} <= set(vars(fit))
            assert {"_combined_loader_states_to_load", "_data_fetcher"} <= set(vars(fit))
            assert {"_restarting", "_skip_next_val", "_batches_that_stepped", "_results"} <= set(vars(fit.epoch_loop))
            assert connector._callback_metrics is trainer._logger_connector._callback_metrics
            assert connector._first_loop_iter is (batch_idx == 0)
            item = fit.epoch_loop._results["training_step.seen"]
            assert (item.is_tensor, item.has_reset, item.meta.fx, item.meta.name) == (
                True,
                False,
                "training_step",
                "seen",
            )
            assert (item.value.item(), item.cumulated_batch_size.item()) == (2 * (batch_idx + 1), 2 * (batch_idx + 1))
            assert (item.meta.sync.should, item.meta.sync.rank_zero_only) == (False, False)
            seen.append(batch_idx)

    class Logs(BoringModel):
        def training_step(self, batch, batch_idx):
            self.log("seen", 1.0, on_epoch=True, batch_size=2)
            return super().training_step(batch, batch_idx)

    options = {"default_root_dir": tmp_path, "accelerator": "cpu", "max_epochs": 1, "limit_train_batches": 3}
    options |= {"limit_val_batches": 0, "logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(**options, callbacks=[Look()])
    trainer.fit(Logs())
    assert seen == [0, 1, 2]
    trainer.save_checkpoint(tmp_path / "whole.ckpt")
    counters = torch.load(tmp_path / "whole.ckpt", weights_only=True)["loops"]["fit_loop"]
    spans = {span: {"ready", "started", "processed", "completed"} for span in ("total", "current")}
    for key in ("epoch_progress", "epoch_loop.batch_progress"):
        assert {span: set(counters[key][span]) for span in spans} == spans
    assert "is_last_batch" in counters["epoch_loop.batch_progress"]
    loops = (trainer.fit_loop, trainer.fit_loop.epoch_loop)
    assert [list(inspect.signature(loop.on_advance_end).parameters) for loop in loops] == [[], ["data_fetcher"]]
    assert list(inspect.signature(loops[0].on_advance_start).parameters) == []
    assert list(inspect.signature(loops[1].on_run_start).parameters) == ["data_fetcher"]


def test_the_parts_of_modules_and_schedulers_that_a_sweep_gives_back_are_there():
    module = torch.nn.BatchNorm1d(2)
    module.register_buffer("passing", torch.zeros(1), persistent=False)
    assert [type(part) for part in (module._parameters, module._buffers, module._modules)] == [dict] * 3
    assert set(module._parameters) == {"weight", "bias"}
    assert module._non_persistent_buffers_set == {"passing"}
    held = {"_parameters", "_buffers", "_modules", "_non_persistent_buffers_set", "_forward_hooks", "training"}
    assert held <= set(vars(torch.nn.Module()))
    kinds = torch.optim.lr_scheduler
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    parts = [kinds.ConstantLR(optimizer), kinds.StepLR(optimizer, 2)]
    assert list(kinds.ChainedScheduler(parts)._schedulers) == parts
    assert list(kinds.SequentialLR(optimizer, parts, [3])._schedulers) == parts
    assert (parts[0].base_lrs, parts[1]._last_lr) == ([0.1], parts[1].get_last_lr())
    assert kinds.CyclicLR(optimizer, 0.1, 0.7, cycle_momentum=False).max_lrs == [0.7]
    assert "max_lr" not in optimizer.param_groups[0]
    kinds.OneCycleLR(optimizer, 0.5, 10)
    assert {"lr", "initial_lr", "max_lr", "min_lr"} <= set(optimizer.param_groups[0])


def test_the_private_attributes_of_loggers_metrics_and_optimizers_are_there(tmp_path):
    assert TensorBoardLogger(tmp_path, prefix="p")._prefix == "p"
    assert ModelCheckpoint(every_n_train_steps=7)._every_n_train_steps == 7
    metric = MeanMetric()
    metric(3.0)
    assert metric._forward_cache == 3
    layer = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    optimizer.register_step_pre_hook(print)
    optimizer.register_step_post_hook(print)
    assert len(optimizer._optimizer_step_pre_hooks) == len(optimizer._optimizer_step_post_hooks) == 1
    layer.register_forward_hook(print)
    layer.register_forward_pre_hook(print)
    layer.register_full_backward_hook(print)
    layer.register_full_backward_pre_hook(print)
    assert [len(getattr(layer, kind)) for kind in hooks.OF_MODULES] == [1, 1, 1, 1]
    layer.weight.register_hook(print)
    layer.weight.register_post_accumulate_grad_hook(print)
    assert len(layer.weight._backward_hooks) == len(layer.weight._post_accumulate_grad_hooks) == 1
    assert len(optimizer_file._global_optimizer_pre_hooks) == 0
    assert len(optimizer_file._global_optimizer_post_hooks) == 0
    assert not hooks._has_any_global_hook()


def test_the_open_file_of_a_tensorboard_writer_is_there(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        assert writer.file_writer.event_writer._general_file_writer.write


def test_the_undeclared_attributes_of_a_trainer_are_there():
    trainer = pl.Trainer(accelerator="cpu", logger=False, fast_dev_run=True, log_every_n_steps=7)
    assert {name for names in UNDECLARED.values() for name in names if not hasattr(trainer, name)} == set()
    assert type(trainer.profiler) is PassThroughProfiler
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


@pytest.mark.parametrize(("file", "names"), UNDECLARED.items())
def test_the_table_has_every_undeclared_attribute(file, names):
    """Type checkers do not know them, so each use has an ignore of its own."""
    marked = {label(path) for path in SOURCES if "type: ignore[attr-defined]" in path.read_text(encoding="utf-8")}
    assert marked == set(UNDECLARED)
    lines = [line for line in (CHARLM / file).read_text(encoding="utf-8").splitlines() if "[attr-defined]" in line]
    assert len(lines) == len(names)
    assert all(f".{name}" in line for name, line in zip(sorted(names), sorted(lines, key=_attribute), strict=True))


def _attribute(line):
    return line.split("trainer.")[1]


def test_the_reader_sees_private_uses():
    source = (
        "class A(B):\n    _own = 1\n    def _m(self):\n        self._x = other._y\n        return self._m() + self._z\n"
    )
    assert private_names(ast.parse(source)) == ({"_own", "_m", "_x"}, {"_x", "_y", "_m", "_z"})
