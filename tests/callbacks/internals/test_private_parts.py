"""The private parts of other packages that charlm uses: named in internals/ alone, and still there.

Where a test fails after an upgrade, search charlm/callbacks/internals/ for the name.
"""

import ast
import importlib
import inspect
import textwrap
from functools import cache
from pathlib import Path

import lightning.pytorch as pl
import torch
import torch.optim.optimizer as optimizer_file
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.demos.boring_classes import BoringModel, RandomDataset
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.loops.fit_loop import RestartStage
from lightning.pytorch.utilities.combined_loader import CombinedLoader
from torch.utils.data import DataLoader
from torchmetrics import MeanMetric

from charlm.callbacks.internals.module_parts import HOOKS_OF_MODULES, _has_any_global_hook

CHARLM = Path(__file__).parents[3] / "charlm"
LIGHTNING = {  # its private attributes and methods, which the trainings below look at
    *("_load_combined_loader_states", "_on_before_batch_transfer"),
    *("_batches_that_stepped", "_skip_next_val", "_results", "_combined_loader"),
    *("_restart_stage", "_restarting", "_resuming_from_checkpoint", "_combined_loader_states_to_load", "_data_fetcher"),
    *("_logger_connector", "_callback_metrics", "_first_loop_iter", "_current_fx_name", "_every_n_train_steps"),
    *("_skip_backward", "_max_epochs"),  # "an epoch without steps" of test_steps_per_execution.py
    "_scheduler_state",  # the average of test_step_decay.py has its rates after a resume
    "_TunerExitException",  # tests/callbacks/lr_finder/test_lr_find.py ends a training with it
}
OTHERS = {
    *("_foreach_add_", "_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"),
    *("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks"),
    *("_global_optimizer_pre_hooks", "_global_optimizer_post_hooks"),
    *("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_post_accumulate_grad_hooks"),
    *("_has_any_global_hook", "_iterator", "_schedulers", "_last_lr"),  # torch
    *("_update_count", "_computed", "_dtype", "_forward_cache"),  # torchmetrics; Lightning has the last one, too
}
INSIDE = LIGHTNING | OTHERS
PUBLIC = {"_fields", "_replace", "_exit"}  # of named tuples and of os, in spite of their names
ELSEWHERE = {  # the files outside of internals/ that may name a private part
    "cli/trainer/lightning_cli.py": {"_subcommands_action", "_add_subcommands", "_parse_ckpt_path"},
    "cli/short_errors.py": {"_actions"},
    "inference/tracing.py": {"_C", "_decomp"},
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


def arguments_of(method):
    return list(inspect.signature(method).parameters)


class Look(Callback):
    """Looks at what StepsPerExecution, LRFinder and ExactResume read, set and replace in a training."""

    def __init__(self):
        self.seen = []

    def on_train_start(self, trainer, pl_module):
        loop, loader = trainer.fit_loop.epoch_loop, trainer.fit_loop._combined_loader
        assert isinstance(loader, CombinedLoader)
        assert loader.flattened[0]._iterator is not None  # as it is with persistent workers
        assert "_iterator" in vars(loader.flattened[0])
        assert {"callbacks", "profiler", "should_stop"} <= set(vars(trainer))
        assert isinstance(vars(type(trainer))["loggers"], property)
        optimization = (loop.automatic_optimization.optim_progress, loop.manual_optimization.optim_step_progress)
        for counter in (loop.batch_progress, *optimization):
            counter.load_state_dict(counter.state_dict())

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        loop = trainer.fit_loop.epoch_loop
        progress, optimizer = loop.batch_progress, loop.automatic_optimization.optim_progress.optimizer
        assert (progress.current.ready, progress.current.completed) == (batch_idx + 1, batch_idx)
        assert (progress.total.ready, progress.is_last_batch) == (batch_idx + 1, batch_idx == 2)
        assert optimizer.step.total.completed == optimizer.zero_grad.total.completed == batch_idx
        assert loop._batches_that_stepped == trainer.global_step == batch_idx
        assert trainer._logger_connector.should_update_logs == (batch_idx == 1)
        assert (loop.restarting, trainer.should_stop, trainer.received_sigterm) == (False, False, False)
        assert (trainer.num_training_batches, trainer.val_check_batch) == (3, 3)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        fit, connector = trainer.fit_loop, trainer._logger_connector
        assert fit._restart_stage is RestartStage.NONE
        assert {"_restarting", "_resuming_from_checkpoint", "_restart_stage"} <= set(vars(fit))
        assert {"_combined_loader_states_to_load", "_data_fetcher"} <= set(vars(fit))
        assert {"_restarting", "_skip_next_val", "_batches_that_stepped", "_results"} <= set(vars(fit.epoch_loop))
        assert isinstance(connector._callback_metrics, dict)
        assert connector._first_loop_iter is (batch_idx == 0)
        assert fit.epoch_loop.val_loop.batch_progress.total.ready == 0
        assert fit.restarted_mid_epoch is False
        item = fit.epoch_loop._results["training_step.seen"]
        assert (item.is_tensor, item.has_reset) == (True, False)
        assert (item.meta.fx, item.meta.name) == ("training_step", "seen")
        assert (item.value.item(), item.cumulated_batch_size.item()) == (2 * (batch_idx + 1), 2 * (batch_idx + 1))
        assert (item.meta.sync.should, item.meta.sync.rank_zero_only) == (False, False)
        self.seen.append(batch_idx)


class Logs(BoringModel):
    def train_dataloader(self):
        return DataLoader(RandomDataset(32, 4), num_workers=1, persistent_workers=True)

    def training_step(self, batch, batch_idx):
        assert self._current_fx_name == "training_step"
        self.log("seen", 1.0, on_epoch=True, batch_size=2)
        return super().training_step(batch, batch_idx)


def test_the_parts_of_the_training_loop_are_there(trainer, tmp_path):
    look = Look()
    fits = trainer(look, max_epochs=1, limit_train_batches=3, limit_val_batches=1, log_every_n_steps=2)
    fits.fit(Logs())
    assert look.seen == [0, 1, 2]
    fit, loop, connector = fits.fit_loop, fits.fit_loop.epoch_loop, fits._logger_connector
    assert loop.val_loop.batch_progress.total.ready == 1
    assert arguments_of(loop.advance) == arguments_of(loop.on_run_start) == ["data_fetcher"]
    assert [arguments_of(each.on_advance_end) for each in (fit, loop)] == [[], ["data_fetcher"]]
    assert arguments_of(fit.on_advance_start) == arguments_of(fit._load_combined_loader_states) == []
    assert arguments_of(fits.model._on_before_batch_transfer) == ["batch", "dataloader_idx"]
    assert arguments_of(loop.automatic_optimization.run) == ["optimizer", "batch_idx", "kwargs"]
    assert arguments_of(loop.manual_optimization.run) == ["kwargs"]
    assert arguments_of(loop.update_lr_schedulers) == ["interval", "update_plateau_schedulers"]
    assert arguments_of(connector.on_batch_start) == ["batch", "dataloader_idx"]
    assert arguments_of(connector.on_batch_end) == arguments_of(connector.update_train_step_metrics) == []
    assert arguments_of(pl.LightningModule.log)[:3] == ["self", "name", "value"]
    assert DummyLogger().experiment.anything() is DummyLogger().log_image("key") is None
    fits.save_checkpoint(tmp_path / "whole.ckpt")
    counters = torch.load(tmp_path / "whole.ckpt", weights_only=True)["loops"]["fit_loop"]
    for key in ("epoch_progress", "epoch_loop.batch_progress"):
        for span in ("total", "current"):
            assert set(counters[key][span]) == {"ready", "started", "processed", "completed"}
    assert "is_last_batch" in counters["epoch_loop.batch_progress"]


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


def test_the_private_attributes_of_checkpoints_metrics_and_optimizers_are_there():
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
    assert [len(getattr(layer, kind)) for kind in HOOKS_OF_MODULES] == [1, 1, 1, 1]
    layer.weight.register_hook(print)
    layer.weight.register_post_accumulate_grad_hook(print)
    assert len(layer.weight._backward_hooks) == len(layer.weight._post_accumulate_grad_hooks) == 1
    assert len(optimizer_file._global_optimizer_pre_hooks) == 0
    assert len(optimizer_file._global_optimizer_post_hooks) == 0
    assert not _has_any_global_hook()


@cache
def charlms_own():
    return set().union(*(private_names(ast.parse(path.read_text(encoding="utf-8")))[0] for path in SOURCES))


def foreign_names(path):
    """The private names that a file takes from elsewhere: as attributes, by import, or as the text of a name."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    defined, used = private_names(tree)
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module[:6] != "charlm"]
    names = {alias.name for node in imports for alias in node.names if is_private(alias.name)}
    overridden = {name for file, name in foreign_overrides() if file == label(path)}
    used -= defined | PUBLIC | (charlms_own() - LIGHTNING - OTHERS)
    return used | names | overridden | (texts & (LIGHTNING | OTHERS))


def test_only_internals_names_a_private_part_of_another_package():
    inside = {path for path in SOURCES if "callbacks/internals" in label(path)}
    assert {label(path): names for path in inside if (names := foreign_names(path) - INSIDE)} == {}
    found = {label(path): names for path in SOURCES if path not in inside and (names := foreign_names(path))}
    assert found == ELSEWHERE


def test_the_tables_have_no_name_too_many():
    used = set().union(*(foreign_names(path) for path in SOURCES if "callbacks/internals" in label(path)))
    assert used == INSIDE
    assert len(LIGHTNING) <= 20
