"""Train a project with each callback and with all of them, and compare with the training without.

A project is a file here that imports its libraries first, and then this one: it is the library that decides between
`lightning.pytorch` and `pytorch_lightning`.
"""

import csv
import logging
import random
import sys
import tempfile
import warnings
from collections.abc import Callable, Collection, Iterable
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module, metadata
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from charlm import callbacks
from charlm.callbacks.internals.lightning import PACKAGE, Callback

logging.getLogger(PACKAGE).setLevel(logging.ERROR)
pl: Any = import_module(PACKAGE)
loggers: Any = import_module(f"{PACKAGE}.loggers")
Train = Callable[[list[Callback], dict[str, Any]], object]
NO_CALLBACKS = {"ResumableLoader", "lr_find"}  # no callbacks of a Trainer


class Record(Callback):
    """What the latest training left behind in memory."""

    latest: ClassVar[dict[str, Any]] = {}  # of the class, as some projects train with copies of their callbacks

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.latest |= {
            "steps": trainer.global_step,
            "weights": {name: value.clone() for name, value in pl_module.state_dict().items()},
            "metrics": {name: float(value) for name, value in trainer.callback_metrics.items()},
            "generators": (torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()),
        }


class Run:
    """One training, and what it left behind."""

    def __init__(self, train: Train, made: list[Any], **options: Any) -> None:
        folder = Path(tempfile.mkdtemp())
        Record.latest.clear()
        plugins = [each for each in made if isinstance(each, callbacks.AtomicCheckpointIO)]
        options = {
            "logger": loggers.CSVLogger(str(folder), name="log", version=0),
            "default_root_dir": str(folder),
            **{"accelerator": "cpu", "devices": 1, "log_every_n_steps": 1, "enable_model_summary": False},
            **{"enable_progress_bar": any(isinstance(each, callbacks.StepProgressBar) for each in made)},
            **({"plugins": plugins} if plugins else {}),
            **options,
        }
        pl.seed_everything(0, verbose=False)
        with warnings.catch_warnings(record=True) as caught, redirect_stderr(StringIO()), redirect_stdout(StringIO()):
            warnings.simplefilter("always")
            train([*(each for each in made if each not in plugins), Record()], options)
        self.warnings = {str(each.message) for each in caught}
        self.files = {file.name for file in folder.rglob("*") if file.is_file()}
        with open(folder / "log/version_0/metrics.csv") as file:
            self.rows = list(csv.DictReader(file))
        self.found = dict(Record.latest)

    def differences(self, without: "Run") -> list[str]:
        """What is not as in the training without callbacks."""
        weights, before = self.found["weights"], without.found["weights"]
        same = {
            "weights": weights.keys() == before.keys() and all(torch.equal(weights[k], before[k]) for k in before),
            "steps": self.found["steps"] == without.found["steps"],
            "metrics": all(str(self.found["metrics"].get(k)) == str(v) for k, v in without.found["metrics"].items()),
            "generators": self.found["generators"] == without.found["generators"],
            "logged rows": list(self._rows_of(without.rows[0])) == list(without._rows_of(without.rows[0])),
        }
        return [what for what, is_same in same.items() if not is_same]

    def _rows_of(self, columns: Iterable[str]) -> Iterable[list[str | None]]:
        """The logged rows, without the columns that a callback has added."""
        own = [name for name in columns if name != "step"]
        for row in self.rows:
            if any(row.get(name) for name in own if name != "epoch"):
                yield [row["step"], *(row.get(name) for name in own)]


def made(table: str, given: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """All callbacks by name, as they leave a training alone."""
    options: dict[str, dict[str, Any]] = {
        "EmbeddingPCA": {"module": table},
        "LRFinder": {"num_steps": 20, "trial_steps": 30, "apply": False},
        "StepDecay": {"milestones": []},
        "StepsPerExecution": {"steps": 7},
    }
    names = [name for name in callbacks.__all__ if name not in NO_CALLBACKS]
    return {name: getattr(callbacks, name)(**options.get(name, {}), **given.get(name, {})) for name in names}


def check(
    train: Train,
    libraries: list[str],
    table: str,
    given: dict[str, dict[str, Any]] | None = None,
    refused: dict[str, str] | None = None,
    leave_out: Collection[str] = (),
    title: str = "",
) -> None:
    """Compare, and print a line of the README's table.

    Args:
        train: trains the project anew with these callbacks and these options of the Trainer.
        libraries: to name with their versions.
        table: the embedding, or another weight with two dimensions, for EmbeddingPCA.
        given: further arguments by the callback.
        refused: a part of the message by the callback that refuses this project.
        leave_out: callbacks that the project has already.
        title: for a project without libraries.
    """
    given, refused = given or {}, refused or {}
    without, said, wrong = Run(train, []), [], []
    names = [name for name in made(table, given) if name not in leave_out]
    for tried in [*([name] for name in names), [name for name in names if name not in refused]]:
        what = tried[0] if len(tried) == 1 else "all"
        try:
            run = Run(train, [each for name, each in made(table, given).items() if name in tried])
        except Exception as error:
            if refused.get(what, "\0") not in str(error):
                wrong.append(f"{what}: {type(error).__name__}: {error}")
            else:
                said.append(f"{what} refuses {refused[what]}")
            continue
        wrong += [f"{what}: other {difference}" for difference in run.differences(without)]
        new = sorted(run.warnings - without.warnings)
        said += [f"{what} warns" for _ in new[:1] if what != "all"]
        print(f"{what}: files {sorted(run.files - without.files)}, warnings {new}", file=sys.stderr)
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in libraries)
    result = "same" if not wrong else "; ".join(wrong)
    print(f"| {versions or title} | {PACKAGE} | {without.found['steps']} | {result} | {'; '.join(said)} |")
