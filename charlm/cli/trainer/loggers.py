"""The loggers of `charlm fit`, the first of which has the run's own directory, and what that is called."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import yaml
from jsonargparse import ArgumentError, Namespace
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.loggers import Logger, WandbLogger

from charlm.callbacks.shared.whole_file import write_text
from charlm.cli.trainer.save_config import config_text
from charlm.runs.load_checkpoint import Checkpoint
from charlm.runs.logger import OfRun, RunLogger, SilentLogger
from charlm.runs.naming import words_of
from charlm.runs.settings import training_settings, words_for

_WANDB_ID = "wandb_id.txt"


def add_name(parser: LightningArgumentParser) -> None:
    """Add the options --name and --note."""
    parser.add_argument(
        "--name",
        type=str | None,
        help="with fit: what the new run is called, after its number; by default its model and what differs from"
        " the model's shipped config",
    )
    parser.add_argument("--note", type=str | None, help="with fit: a text about the run, for summary and dashboard")


def loggers_of_new_run(root: Path, words: str, given: Any) -> list[Logger]:
    """The logger of a new run in `root`/lightning_logs, before those that the user gives.

    Args:
        root: the directory above lightning_logs.
        words: what follows the number in the run's name.
        given: the option trainer.logger, instantiated; false: the run logs nothing.
    """
    others = _as_list(given)
    if any(isinstance(logger, OfRun) for logger in others):
        return others
    return [SilentLogger(root, words=words)] if given is False else [RunLogger(root, words=words), *others]


def loggers_of(run: Path, checkpoint: Checkpoint | None, given: Any) -> list[Logger]:
    """The loggers of a resumed run, from its checkpoint if it has one; W&B goes on by the id in its folder."""
    if (run / _WANDB_ID).is_file():
        os.environ.setdefault("WANDB_RUN_ID", (run / _WANDB_ID).read_text(encoding="utf-8").strip())
    resumed = (checkpoint.step, checkpoint.saved) if checkpoint else (0, 0.0)
    if given is False:
        return [SilentLogger(run=run)]
    others = [logger for logger in _as_list(given) if not isinstance(logger, OfRun)]
    return [RunLogger(run.parent.parent, run.parent.name, run.name, resumed), *others]


def keep_wandb_id(trainer: pl.Trainer) -> None:
    """Write the id that W&B gave the run into the run's directory, for `loggers_of`."""
    run = own_logger(trainer)
    ids = [str(logger.version) for logger in trainer.loggers if isinstance(logger, WandbLogger)]
    if run is not None and ids:
        write_text(Path(run.log_dir) / _WANDB_ID, f"{ids[0]}\n")


def _as_list(given: Any) -> list[Logger]:
    return given if isinstance(given, list) else [given] if isinstance(given, Logger) else []


def own_logger(trainer: pl.Trainer) -> RunLogger | SilentLogger | None:
    """The logger of the run's own directory; None in a trial run."""
    return next((logger for logger in trainer.loggers if isinstance(logger, OfRun)), None)


def words_of_run(parser: LightningArgumentParser, config: Namespace, files: tuple[str, ...]) -> str:
    """The words that name a new run.

    Args:
        parser: of `fit`.
        config: all settings.
        files: the config files that were given.
    """
    base: Mapping[str, Any] = {}
    exits, parser.exit_on_error = parser.exit_on_error, False
    try:
        base = yaml.safe_load(config_text(parser, parser.parse_args([f"--config={file}" for file in files])))
    except ArgumentError:  # they are not complete without the options
        base = config.as_dict()
    finally:
        parser.exit_on_error = exits
    own = yaml.safe_load(config_text(parser, config))
    names = [words_of(file.parent) if file.name == "config.yaml" else file.stem for file in map(Path, files)]
    return words_for(training_settings(own), training_settings(base), names)
