"""What `charlm fit ...` means before Lightning reads it: which config it starts from, which checkpoint it takes."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charlm.cli.subcommands import TRAINER_COMMANDS
from charlm.cli.trainer.options import (
    CONFIGS,
    FROM_DATA,
    config_names,
    model_in,
    model_in_configs,
    path_in_configs,
    refuse_linked,
    spell_out_configs,
    spell_out_data,
    spell_out_models,
    value_of,
    without,
)
from charlm.cli.trainer.resuming import OPTION, find_resumed, take_resume
from charlm.runs.checkpoint import Checkpoint, load_checkpoint
from charlm.runs.directory import find_checkpoint, run_directory

log = logging.getLogger(__name__)

_TRAINING = ("fit", "lr-find")
DEFAULT_MODEL = "MLP"
_RELATIVE = ("last", "best")  # Lightning's words for a checkpoint; here: of the newest run


@dataclass(frozen=True)
class Prepared:
    """A command line that Lightning can take.

    Args:
        args: the arguments.
        checkpoint: the loaded file of --ckpt_path, if there is one.
        kind: class name of the checkpoint's model; "" without a checkpoint.
        model: class name of the model that is named, "" if none is: what the parser is to start from, since it keeps
            those defaults of the class it started from that another class has too.
        run: the directory of the run that goes on; None: a new one.
        complete: whether no trainer command was given, so that help or completion is wanted.
    """

    args: list[str]
    checkpoint: Checkpoint | None = None
    kind: str = ""
    model: str = ""
    run: Path | None = None
    complete: bool = False

    def say(self) -> None:
        """What the training or evaluation starts from, to be said when nothing can be refused any more."""
        run, checkpoint = self.run, self.checkpoint
        if run is not None and checkpoint is None:
            log.info(f"{run} was stopped before its first checkpoint: it begins again")
        elif run is not None and checkpoint is not None:
            log.info(f"Going on with {run} after {checkpoint.step:,} steps, from {checkpoint.path.name}")
        elif checkpoint is not None:
            log.info(f"{checkpoint.path}: {self.kind} after {checkpoint.step:,} steps")


def prepare(args: list[str], kinds: Mapping[str, str]) -> Prepared:
    """Spell out bare names, start from the model's shipped config, put a checkpoint's settings behind the user's.

    Args:
        args: as the user gave them, the command first.
        kinds: class name of each model by its short name.

    Raises:
        OSError: no such checkpoint.
        ValueError: no such config or model, a bad checkpoint, or an option that would be ignored.
    """
    if args[0] not in TRAINER_COMMANDS:
        return Prepared(args, complete=True)
    command, rest = args[0], spell_out_data(spell_out_models(spell_out_configs(args[1:]), kinds))
    refuse_linked(rest)
    resumes, named, rest = take_resume(rest)
    if resumes:
        return _resumed(command, named, rest, kinds)
    asks = any(arg in ("-h", "--help") or arg.startswith(("--print_config", "--model.help")) for arg in rest)
    where = value_of(rest, "--ckpt_path") or path_in_configs(rest)
    if (where is None and (command in _TRAINING or asks)) or where == "null":
        if command in _TRAINING and not asks:
            _say_whose_settings(rest)
        args = [command, *_preset(command, rest, None), *rest]
        return Prepared(args, model=_model(args, kinds))
    checkpoint = load_checkpoint(_checkpoint_file(command, where, rest))
    kind = kinds[type(checkpoint.net).__name__]
    rest = without(rest, "--ckpt_path")
    own = ["--config", checkpoint_config(checkpoint, f"charlm.models.windows.{kind}")]
    preset = _config_of_run(command, rest, checkpoint) or _preset(command, rest, type(checkpoint.net).__name__)
    return Prepared([command, *preset, *own, *rest, "--ckpt_path", str(checkpoint.path)], checkpoint, kind, kind)


def _resumed(command: str, named: str | None, rest: list[str], kinds: Mapping[str, str]) -> Prepared:
    """A run goes on by its own config; what the user gives now comes after it."""
    if command != "fit":
        raise ValueError(f"{OPTION} goes on with a training; use it with `charlm fit`")
    if value_of(rest, "--trainer.fast_dev_run") not in (None, "false", "0"):
        raise ValueError(f"{OPTION} goes on with a run, and fast_dev_run leaves none; leave one of the two out")
    resumed = find_resumed(named, _runs(rest))
    run, checkpoint = resumed.run, resumed.checkpoint
    args = [command, *spell_out_configs(["--config", str(run / "config.yaml")])]
    if checkpoint is None:
        args += rest
        return Prepared(args, model=_model(args, kinds), run=run)
    kind = kinds[type(checkpoint.net).__name__]
    own = ["--config", checkpoint_config(checkpoint, f"charlm.models.windows.{kind}")]
    return Prepared([*args, *own, *rest, "--ckpt_path", str(checkpoint.path)], checkpoint, kind, kind, run)


def _model(args: list[str], kinds: Mapping[str, str]) -> str:
    named = model_in(args)
    return named if named is not None and named in kinds.values() else ""


def _say_whose_settings(rest: list[str]) -> None:
    """A config's optimizer and rates stay where another model is named beside it, which is seldom meant."""
    if value_of(rest, "--model", "--model.class_path") is None:
        return
    whose, named = model_in_configs(rest), model_in(rest)
    if whose is not None and whose != named:
        whose, named = whose.removeprefix("Lit"), str(named).removeprefix("Lit")
        log.warning(f"The config's settings are {whose}'s, and the model is {named}; leave --config out for its own")


def _config_of_run(command: str, rest: list[str], checkpoint: Checkpoint) -> list[str]:
    """The config that a run of one's own began with. Not of other runs: a config may name any code."""
    config = run_directory(checkpoint.path) / "config.yaml"
    own = config.resolve().is_relative_to(_runs(rest).resolve()) and config.is_file()
    if command != "fit" or not own or value_of(rest, "--config", "-c") is not None:
        return []
    log.info(f"Going on with the settings of {config}")
    return ["--config", str(config)]


def _runs(rest: list[str]) -> Path:
    return Path(value_of(rest, "--trainer.default_root_dir") or ".") / "lightning_logs"


def _preset(command: str, rest: list[str], model: str | None) -> list[str]:
    """The shipped config of the model, where a fit names no config."""
    if command not in _TRAINING or value_of(rest, "--config", "-c") is not None:
        return []
    named = value_of(rest, "--model", "--model.class_path")
    name = (model or (named or DEFAULT_MODEL).rsplit(".", 1)[-1].removeprefix("Lit")).lower()
    return ["--config", str(CONFIGS / f"{name}.yaml")] if name in config_names() else []


def _checkpoint_file(command: str, where: str | None, rest: list[str]) -> Path:
    """The file that is meant: to go on training the last of a run, else its best."""
    last = where == "last" or (command == "fit" and where != "best")
    prefer = ("last", "best") if last else ("best", "last")
    return find_checkpoint(None if where in (None, *_RELATIVE) else where, _runs(rest), prefer)


def checkpoint_config(checkpoint: Checkpoint, kind: str) -> str:
    """A checkpoint's own settings as a config, to stand before all others, so that what the user says wins.

    Args:
        checkpoint: the loaded file.
        kind: class path of its model.
    """
    init_args = {key: value for key, value in checkpoint.hyperparameters.items() if key not in FROM_DATA}
    data = {**checkpoint.data, "alphabet": checkpoint.tokenizer.alphabet}
    return json.dumps({"model": {"class_path": kind, "init_args": init_args}, "data": data})


def refuse_conflicts(checkpoint: Checkpoint, kind: str, model: dict[str, Any], data: dict[str, Any], fit: bool) -> None:
    """Refuse settings that the checkpoint's weights, or its optimizer, would override.

    Args:
        checkpoint: the loaded file.
        kind: class name of its model.
        model: {"class_path", "init_args"} as parsed.
        data: the data settings as parsed.
        fit: whether the run goes on training, so that the optimizer's state is restored too.

    Raises:
        ValueError: one of them differs.
    """
    given = model["class_path"].rsplit(".", 1)[-1]
    if given != kind:
        raise ValueError(
            f"{checkpoint.path} holds a {kind}, not a {given}; leave the model out, or give another checkpoint"
        )
    given_args = {**model.get("init_args", {}), **{key: data[key] for key in FROM_DATA if key in data}}
    given_args["alphabet"] = given_args.get("alphabet") or checkpoint.tokenizer.alphabet
    fixed = {"alphabet", *checkpoint.net_args} - {"dropout"}
    fixed |= {"optimizer", "lr", "weight_decay", "schedule", "warmup"} if fit else set()
    for key in sorted(fixed & set(checkpoint.hyperparameters) & set(given_args)):
        if given_args[key] != checkpoint.hyperparameters[key]:
            where = "data" if key in FROM_DATA else "model"
            raise ValueError(
                f"--{where}.{key} is {given_args[key]!r}, and {checkpoint.path} was trained with"
                f" {checkpoint.hyperparameters[key]!r}; leave the option out, or start a new run without the checkpoint"
            )
