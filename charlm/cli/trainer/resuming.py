"""`charlm fit --resume [RUN]`: which run is continued, and from which of its checkpoints."""

import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import lightning.pytorch as pl
import yaml
from lightning.pytorch.cli import LightningArgumentParser

from charlm.callbacks.internals.trainer_attributes import is_trial
from charlm.callbacks.run_checkpoint import RunCheckpoint
from charlm.callbacks.shared.trainer_state import time_is_up
from charlm.cli.trainer.checkpoint_settings import weights_alone
from charlm.cli.trainer.options import Options
from charlm.runs.directory import checkpoints_of, newest_first, read_results, refuse_closed
from charlm.runs.load_checkpoint import Checkpoint, load_checkpoint
from charlm.runs.logger import OfRun
from charlm.runs.naming import RUNS, place_of

log = logging.getLogger(__name__)

OPTION, AUTO, START = "--resume", "auto", "--init_from"


def add_starts(parser: LightningArgumentParser) -> None:
    """Add the options --resume and --init_from."""
    parser.add_argument(
        OPTION,
        type=str | None,
        help="with fit: continue this run, by default the newest, from its last state; auto: the newest unfinished run"
        " with the same config, or else start a new one",
    )
    parser.add_argument(START, type=str | None, help="with fit: start from this run's weights on other names")


@dataclass(frozen=True)
class Resumed:
    """A run to continue.

    Args:
        run: its directory.
        checkpoint: the newest one that can be read; None: the run was stopped before it wrote one.
    """

    run: Path
    checkpoint: Checkpoint | None


def check_start(command: str, given: Options) -> None:
    """Check that --init_from begins a new run.

    Raises:
        ValueError: another command, or a run or checkpoint to go on from is given as well.
    """
    if given.last(START) in (None, "null"):
        return
    if command != "fit":
        raise ValueError(f"{START} begins a training; use it with `charlm fit`")
    for name, value in given.pairs:
        if name in (OPTION, "--ckpt_path") and value not in (AUTO, "null"):
            raise ValueError(f"{START} begins a new run, and {name} goes on with one; leave one of the two out")


def take_resume(given: Options) -> tuple[bool, str | None, Options]:
    """Whether --resume is given, the run that it names if it names one, and the other options.

    Raises:
        ValueError: a checkpoint is asked for as well, or the name is empty or given twice.
    """
    named = [value for name, value in given.pairs if name == OPTION]
    if len(named) > 1:
        raise ValueError(f"{OPTION} is given twice; give it once, as only one run can go on")
    if named and given.last("--ckpt_path") is not None:
        raise ValueError(f"{OPTION} goes on with a run from its newest checkpoint; leave --ckpt_path out")
    if named == [""]:
        raise ValueError(f"{OPTION} has an empty name; give a run, or leave the name out for the newest one")
    return bool(named), named[0] if named else None, given.without(OPTION)


def find_resumed(named: str | None, root: Path) -> Resumed:
    """The run and its newest readable checkpoint; unreadable ones are logged.

    Args:
        named: a run's directory, or its name or number in `root`; None: the run in `root` that was written last.
        root: the directory of the runs.

    Raises:
        FileNotFoundError: no such run.
        ValueError: several runs have the name, the run is not in `root`, or none of its checkpoints can be read.
    """
    run = _named_run(named, root) if named is not None else next(iter(newest_first(root)), None)
    if run is None:
        refuse_closed(root)
        raise FileNotFoundError(f"no run under {root} to go on with; start one with `charlm fit`")
    return _from_newest_checkpoint(run)


def find_unfinished(config: str, root: Path) -> Resumed | None:
    """The newest run in `root` with this very config that has not come to its end; None: there is none.

    A run ends with its report, which leaves the number of its steps. Where torchrun starts the processes again, the
    run that they worked at is meant, even if they had just finished.

    Args:
        config: the text of a config.yaml.
        root: the directory of the runs.
    """
    wanted, restarted = _comparable(config), int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0
    for run in newest_first(root):
        if _config_of(run) != wanted:
            continue
        resumed, ended = _from_newest_checkpoint(run), _ended(run)
        if restarted or ended is None or (resumed.checkpoint is not None and resumed.checkpoint.step > ended):
            return resumed
    return None


def _comparable(config: str) -> object:
    """The settings of a config.yaml; one of an older charlm lacks options that are null in a newer one."""
    settings = yaml.safe_load(config)
    is_table = isinstance(settings, dict)
    return {key: value for key, value in settings.items() if value is not None} if is_table else settings


def _config_of(run: Path) -> object:
    try:
        return _comparable((run / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):  # the files of another run are damaged
        return None


def _ended(run: Path) -> int | None:
    """After how many steps the run came to its end, if it has."""
    with suppress(OSError, ValueError):
        ended = read_results(run).get("ended")
        return ended if type(ended) is int else None
    return None


def _from_newest_checkpoint(run: Path) -> Resumed:
    bad = []
    for file in checkpoints_of(run):
        try:
            checkpoint = load_checkpoint(file)
        except (OSError, ValueError) as error:
            bad.append(str(error))
            continue
        if not checkpoint.is_whole:
            bad.append(weights_alone(checkpoint))
            continue
        for reason in bad:
            log.info(f"{reason}. Going on from {file.name} instead")
        return Resumed(run, checkpoint)
    if bad:
        raise ValueError(f"{run} cannot go on from any of its checkpoints: {bad[0]}")
    return Resumed(run, None)


def say_where_checkpoints_are(trainer: pl.Trainer) -> None:
    """Log how to go on with a training whose checkpoints are where --resume does not look."""
    saver = next((c for c in trainer.checkpoint_callbacks if isinstance(c, RunCheckpoint)), None)
    place = Path(trainer.log_dir or trainer.default_root_dir)
    runs = Path(trainer.default_root_dir) / RUNS
    in_runs = isinstance(trainer.logger, OfRun) and os.path.realpath(place.parent) == os.path.realpath(runs)
    if saver is not None and not is_trial(trainer) and not (in_runs and saver.dirpath is None):
        last = Path(saver.dirpath or place / "checkpoints") / "last.ckpt"
        log.info(f"{OPTION} will not find this training, which is no run in {runs}; go on with --ckpt_path {last}")


def why_nothing_was_trained(trainer: pl.Trainer) -> str:
    """Why a training that was to go on has ended without a step, and what to do."""
    if time_is_up(trainer):
        return "its max_time is used up; give a longer --trainer.max_time, or null"
    if 0 <= trainer.max_steps <= trainer.global_step:
        return f"max_steps {trainer.max_steps:,} was reached; give a higher --trainer.max_steps"
    if trainer.max_epochs is not None and 0 <= trainer.max_epochs <= trainer.current_epoch:
        return f"max_epochs {trainer.max_epochs:,} was reached; give a higher --trainer.max_epochs"
    return "a callback had ended it, such as EarlyStopping; start a new run without that callback"


def _named_run(named: str, root: Path) -> Path:
    place = place_of(named, root)
    if place.is_file():
        raise ValueError(f"{named} is a file; give the directory of its run, or take the file by --ckpt_path")
    if not place.is_dir():
        raise FileNotFoundError(f"there is no run {named}, neither here nor in {root}; `charlm summary` lists them")
    if place.name == "checkpoints":
        place = place.parent
    config = place / "config.yaml"
    if not config.is_file() and list(place.glob("*/config.yaml")):
        raise ValueError(f"{place} holds several runs; name one of them")
    if not config.is_file():
        raise FileNotFoundError(
            f"{place} has no config.yaml, so it is no run of `charlm fit`, or one that had not begun; give the"
            " directory of a run, or start a new one"
        )
    # a config may name any code, so the run must be one's own
    if not place.parent.resolve().is_relative_to(root.resolve()):
        raise ValueError(
            f"{place} is not in {root}, where the runs of this folder are, and its settings can name any code;"
            " go on from the folder it was trained in, or give --trainer.default_root_dir"
        )
    return place
