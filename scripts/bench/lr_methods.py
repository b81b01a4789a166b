"""The learning-rate finders that lr_finder.py scores: LRFinder, the rules of others, and other packages."""

import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from io import StringIO
from itertools import count
from tempfile import TemporaryDirectory
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.tuner.tuning import Tuner
from lr_tasks import Problem
from matplotlib.figure import Figure
from torch.utils.data import DataLoader, Dataset

from charlm.callbacks.lr_finder.lr_find import lr_find
from charlm.callbacks.lr_finder.rules import Rule, finite_part, half_depth
from charlm.callbacks.lr_finder.rules_of_others import minimum_tenth, steepest, valley

Found = tuple[float | None, int]  # a rate, or None where the finder has none; the steps that it took
Finder = Callable[[Problem, str], Found]


class Module(pl.LightningModule):
    """A problem as a user's module, which counts its steps."""

    def __init__(self, problem: Problem, optimizer: str, schedule: str, steps: int) -> None:
        super().__init__()
        self.problem, self.net, self.lr = problem, problem.net(0), 1e-3
        self.optimizer, self.schedule, self.steps = optimizer, schedule, steps
        self.taken = count()  # LRFinder would restore a number

    def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
        next(self.taken)
        return self.problem.loss(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        kinds = {
            "SGD": lambda: torch.optim.SGD(self.parameters(), self.lr),
            "momentum": lambda: torch.optim.SGD(self.parameters(), self.lr, momentum=0.9),
            "AdamW": lambda: torch.optim.AdamW(self.parameters(), self.lr),
        }
        optimizer = kinds[self.optimizer]()
        if self.schedule == "constant":
            return optimizer
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr, total_steps=self.steps, cycle_momentum=False)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}


class Batches(Dataset):
    """The batches that the losses were measured with."""

    def __init__(self, problem: Problem, steps: int) -> None:
        self.x, self.y = problem.data()[:2]
        self.rows = problem.batches(0, steps)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.x[self.rows[step]], self.y[self.rows[step]]


def loader(problem: Problem, steps: int) -> DataLoader:
    """Batches for so many steps."""
    return DataLoader(Batches(problem, steps), batch_size=None)


def trainer(steps: int = 1000, directory: str | None = None) -> pl.Trainer:
    """A trainer on the CPU, whose files go into a directory."""
    quiet: dict[str, Any] = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary"), False)
    return pl.Trainer(max_steps=steps, accelerator="cpu", default_root_dir=directory, **quiet)


def ours(problem: Problem, optimizer: str, schedule: str, steps: int) -> Found:
    """What LRFinder suggests in a training of that length and schedule."""
    module = Module(problem, optimizer, schedule, steps)
    result = lr_find(trainer(steps), module, loader(problem, steps), on_failure="keep")
    return result.suggestion, next(module.taken)


@cache
def swept(problem: Problem, optimizer: str) -> tuple[list[float], list[float], int]:
    """The rates and losses of LRFinder's sweep, to which the rules of others are applied, and its steps."""
    module = Module(problem, optimizer, "constant", 1000)
    result = lr_find(trainer(), module, loader(problem, 1000), trial_steps=0, on_failure="keep")
    losses = finite_part(result.sweeps[0])
    return result.lrs[: len(losses)], losses, next(module.taken)


def by_rule(rule: Rule) -> Finder:
    """A rule of another finder; it has no rate where the sweep has too few points."""

    def find(problem: Problem, optimizer: str) -> Found:
        lrs, losses, taken = swept(problem, optimizer)
        try:
            return rule(lrs, losses), taken
        except ValueError:
            return None, taken

    return find


def lightnings(problem: Problem, optimizer: str) -> Found:
    """Lightning's Tuner.lr_find with its defaults."""
    module = Module(problem, optimizer, "constant", 1000)
    with TemporaryDirectory() as directory, redirect_stderr(StringIO()):
        found = Tuner(trainer(directory=directory)).lr_find(module, loader(problem, 1000), update_attr=False)
    return found.suggestion() if found else None, next(module.taken)


def torch_lr_finders(problem: Problem, optimizer: str) -> Found:
    """The steepest descent of torch-lr-finder, used as its README does: 100 steps from 1e-7 to 100."""
    module = Module(problem, optimizer, "constant", 1000)
    module.lr = 1e-7
    finder = import_module("torch_lr_finder").LRFinder(module.net, module.configure_optimizers(), problem.loss, "cpu")
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        finder.range_test(loader(problem, 1000), end_lr=100, num_iter=100)
        try:
            _, lr = finder.plot(ax=Figure().subplots())
        except RuntimeError:  # too few points before the loss diverged
            lr = None
    return lr, len(finder.history["lr"])


@cache
def finders() -> dict[str, Finder]:
    """Those that give one rate for all targets, by name."""
    found: dict[str, Finder] = {
        "fastai's valley": by_rule(valley),
        "minimum / 10": by_rule(minimum_tenth),
        "steepest": by_rule(steepest),
        "sweep alone, half_depth": by_rule(half_depth),
        "Lightning's": lightnings,
    }
    if find_spec("torch_lr_finder"):
        found["torch-lr-finder"] = torch_lr_finders
    else:
        print("torch-lr-finder is left out, because it is not installed (pip install torch-lr-finder)", file=sys.stderr)
    return found
