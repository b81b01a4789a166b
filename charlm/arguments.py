"""What `charlm fit ...` means before Lightning reads it: bare names of configs and models, settings of a checkpoint.

Plain functions from one list of arguments to another.
"""

import difflib
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charlm.checkpoints import Checkpoint, load_checkpoint
from charlm.runs import find_checkpoint

CONFIGS = Path(__file__).with_name("configs")
FROM_DATA = ("alphabet", "block_size")
"""Arguments of the models that the data give."""


TRAINER_COMMANDS = {
    "fit": "train a model, then show its losses and ten names",
    "validate": "losses and accuracy of a checkpoint on the val split",
    "test": "losses and accuracy of a checkpoint on the test split",
    "predict": "write what a checkpoint makes of every character of the test split to a CSV file",
}
COMMANDS = {
    "sample": "draw names from a checkpoint",
    "score": "how surprising given names are to a checkpoint, and where",
    "summary": "hyperparameters and losses of runs, side by side",
    "compare-counts": "a bigram checkpoint against counting",
}
DEFAULT_MODEL = "MLP"
_RELATIVE = ("last", "best")  # Lightning's words for a checkpoint; here: of the newest run


@dataclass(frozen=True)
class Prepared:
    """A command line that Lightning can take.

    Args:
        args: the arguments.
        checkpoint: the loaded file of --ckpt_path, if there is one.
        kind: class name of the checkpoint's model; "" without a checkpoint.
        complete: whether no trainer command was given, so that help or completion is wanted.
    """

    args: list[str]
    checkpoint: Checkpoint | None = None
    kind: str = ""
    complete: bool = False


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
    command, rest = args[0], spell_out_models(spell_out_configs(args[1:]), kinds)
    refuse_linked(rest)
    asks = any(arg in ("-h", "--help") or arg.startswith(("--print_config", "--model.help")) for arg in rest)
    where = value_of(rest, "--ckpt_path") or _path_in_configs(rest)
    if (where is None and (command == "fit" or asks)) or where == "null":
        return Prepared([command, *_preset(command, rest, None), *rest])
    checkpoint = load_checkpoint(_checkpoint_file(command, where, rest))
    kind = kinds[type(checkpoint.net).__name__]
    rest = _without(rest, "--ckpt_path")
    own = ["--config", checkpoint_config(checkpoint, f"charlm.lightning_modules.{kind}")]
    preset = _preset(command, rest, type(checkpoint.net).__name__)
    return Prepared([command, *preset, *own, *rest, "--ckpt_path", str(checkpoint.path)], checkpoint, kind)


def _preset(command: str, rest: list[str], model: str | None) -> list[str]:
    """The shipped config of the model, where a fit names no config."""
    if command != "fit" or value_of(rest, "--config", "-c") is not None:
        return []
    named = value_of(rest, "--model", "--model.class_path")
    name = (model or (named or DEFAULT_MODEL).rsplit(".", 1)[-1].removeprefix("Lit")).lower()
    return ["--config", str(CONFIGS / f"{name}.yaml")] if name in config_names() else []


def _checkpoint_file(command: str, where: str | None, rest: list[str]) -> Path:
    """The file that is meant: to go on training the last of a run, else its best."""
    runs = Path(value_of(rest, "--trainer.default_root_dir") or ".") / "lightning_logs"
    last = where == "last" or (command == "fit" and where != "best")
    prefer = ("last", "best") if last else ("best", "last")
    return find_checkpoint(None if where in (None, *_RELATIVE) else where, runs, prefer)


def config_names() -> list[str]:
    """The shipped configs, by bare name."""
    return sorted(file.stem for file in CONFIGS.glob("*.yaml"))


def spell_out_configs(args: list[str]) -> list[str]:
    """Replace a shipped config's bare name by its path: `--config mlp`.

    Raises:
        ValueError: neither a file nor a shipped config.
    """
    return _map_values(args, ("--config", "-c"), _config_path)


def spell_out_models(args: list[str], models: Iterable[str]) -> list[str]:
    """Replace a model's short name by its class: `--model MLP` is LitMLP.

    Raises:
        ValueError: no such model.
    """
    models = list(models)

    def spelled(name: str) -> str:
        if name in models:
            return f"Lit{name}"
        if "." in name or "{" in name or name in {f"Lit{model}" for model in models} or Path(name).suffix:
            return name
        raise ValueError(f"there is no model {name!r}; the models are {_listed(models, name)}")

    return _map_values(args, ("--model", "--model.class_path", "--model.help"), spelled)


def refuse_linked(args: list[str]) -> None:
    """Refuse what would be ignored without a word: model arguments that come from the data.

    Raises:
        ValueError: one of them is given for the model.
    """
    for arg in args:
        key = arg.split("=")[0]
        for name in FROM_DATA:
            if key in (f"--model.{name}", f"--model.init_args.{name}"):
                raise ValueError(f"{key} comes from the data; give --data.{name} instead")


def value_of(args: list[str], *options: str) -> str | None:
    """The last value given for one of `options`, as `--option value` or `--option=value`; None if there is none."""
    return next(reversed(_values_of(args, *options)), None)


def _values_of(args: list[str], *options: str) -> list[str]:
    found = []
    for i, arg in enumerate(args):
        option, equals, value = arg.partition("=")
        if option in options and (equals or i + 1 < len(args)):
            found.append(value if equals else args[i + 1])
    return found


def _path_in_configs(args: list[str]) -> str | None:
    """The `ckpt_path` of the last config that has one."""
    import yaml  # type: ignore[import-untyped]

    for config in reversed(_values_of(args, "--config", "-c")):
        with suppress(OSError, yaml.YAMLError):  # the parser has better words for a bad file
            content = yaml.safe_load(config if config.lstrip().startswith("{") else Path(config).read_text("utf-8"))
            if isinstance(content, dict) and content.get("ckpt_path"):
                return str(content["ckpt_path"])
    return None


def _without(args: list[str], option: str) -> list[str]:
    kept, skip = [], False
    for arg in args:
        if not skip and arg.partition("=")[0] != option:
            kept.append(arg)
        skip = not skip and arg == option
    return kept


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
    fixed = {"alphabet", "vocab_size", "block_size", "n_embd", "n_hidden"}
    fixed |= {"optimizer", "lr", "weight_decay"} if fit else set()
    for key in sorted(fixed & set(checkpoint.hyperparameters) & set(given_args)):
        if given_args[key] != checkpoint.hyperparameters[key]:
            where = "data" if key in FROM_DATA else "model"
            raise ValueError(
                f"--{where}.{key} is {given_args[key]!r}, and {checkpoint.path} was trained with"
                f" {checkpoint.hyperparameters[key]!r}; leave the option out, or start a new run without the checkpoint"
            )


def _map_values(args: list[str], options: tuple[str, ...], change: Callable[[str], str]) -> list[str]:
    changed = list(args)
    for i, arg in enumerate(args):
        option, equals, value = arg.partition("=")
        if option in options and equals:
            changed[i] = f"{option}={change(value)}"
        elif option in options and i + 1 < len(args) and not args[i + 1].startswith("--"):
            changed[i + 1] = change(args[i + 1])
    return changed


def _config_path(name: str) -> str:
    if Path(name).exists() or name.lstrip().startswith("{"):
        return name
    if name in config_names():
        return str(CONFIGS / f"{name}.yaml")
    raise ValueError(
        f"there is no config file {name}, nor a shipped config of that name: {_listed(config_names(), name)}"
    )


def _listed(names: list[str], wanted: str) -> str:
    close = difflib.get_close_matches(wanted.lower(), [name.lower() for name in names], n=1)
    meant = next((name for name in names if close and name.lower() == close[0]), None)
    return ", ".join(names) + (f". Did you mean {meant}?" if meant else "")
