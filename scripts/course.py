"""The common part of the course's days: the twenty names, a quiet Trainer, and callbacks that record losses."""

import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from jsonargparse import auto_cli

from charlm.cli.main import short_errors
from charlm.cli.short_errors import ShortErrors
from charlm.cli.table import Table
from charlm.data.batches import BatchLoader
from charlm.data.contexts import Contexts
from charlm.data.datamodule import NamesDataModule
from charlm.models.base import LitCharLM
from charlm.nets.loss import evaluate

TWENTY_NAMES = (
    "emma olivia ava isabella sophia mia charlotte amelia harper evelyn"
    " abigail emily ella elizabeth camila luna sofia avery mila aria"
)

_NOISE = (  # warnings that do not concern these runs
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning's own: Lightning-AI/pytorch-lightning#21326
    r"You are trying to `self\.log\(\)` but `Trainer\(barebones=True\)`",
    "GPU available but not used",
)


class BatchLosses(pl.Callback):
    """Record the minimised loss of each step, of its batch and before the step, and the penalty in it."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.penalties: list[float] = []

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        self.penalties.append(pl_module.penalty().item())

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any) -> None:
        self.losses.append(outputs["loss"].item())


class SplitLosses(pl.Callback):
    """Record the cross-entropy of whole splits after step 1, then every `every` steps, and after the last step.

    Args:
        parts: the examples of each split, by its name.
        every: steps from one evaluation to the next.
    """

    def __init__(self, parts: dict[str, Contexts], every: int) -> None:
        self.loaders = {part: BatchLoader(examples, 8192) for part, examples in parts.items()}
        self.every = every
        self.steps: list[int] = []
        self.losses: dict[str, list[float]] = {part: [] for part in parts}

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        if (trainer.global_step - 1) % self.every == 0 or trainer.global_step == trainer.max_steps:
            self.steps.append(trainer.global_step)
            for part, loader in self.loaders.items():
                self.losses[part].append(evaluate(pl_module.net, loader).loss)


def loss_table(runs: dict[str, SplitLosses]) -> Table:
    """Make a table of the losses of runs of equal length, with a column for each run and split."""
    columns = {
        f"{run} {part}".strip(): values for run, losses in runs.items() for part, values in losses.losses.items()
    }
    steps = next(iter(runs.values())).steps
    return Table(("after step", *columns), list(zip(steps, *columns.values(), strict=True)))


def fit(model: LitCharLM, data: NamesDataModule, steps: int, callbacks: list[pl.Callback], folder: Path) -> None:
    """Train on the CPU; the callbacks write their files into `folder`, and nothing else is written."""
    trainer = pl.Trainer(
        max_steps=steps,
        max_epochs=-1,
        accelerator="cpu",
        barebones=True,  # without logger, checkpoints and progress bar, which would double the time of so small a step
        limit_val_batches=0,
        callbacks=callbacks,
        default_root_dir=folder,
    )
    trainer.fit(model, data)


def names_file(data: str | None, folder: Path) -> str:
    """Make the folder; without a names file, write the course's names into a file there."""
    folder.mkdir(parents=True, exist_ok=True)
    if data is not None:
        return data
    file = folder / "twenty_names.txt"
    file.write_text(TWENTY_NAMES.replace(" ", "\n") + "\n", encoding="utf-8")
    return str(file)


def heading(text: str) -> None:
    """Print the heading of a section."""
    print(f"\n== {text}")


def run(course_day: Callable[..., None]) -> None:
    """Call a script's main with the options of the command line; a mistake gives a sentence and exit status 2."""
    torch.set_num_threads(1)  # on tensors this small, threads only wait for each other
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)  # devices, tips, "stopped"
    for known in _NOISE:
        warnings.filterwarnings("ignore", message=known)
    with short_errors(Path(sys.argv[0]).name):
        auto_cli(course_day, as_positional=False, parser_class=ShortErrors)
