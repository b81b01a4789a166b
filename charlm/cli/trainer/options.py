"""Options in a list of arguments, and the bare names of shipped configs and models among their values."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from charlm.messages import did_you_mean

CONFIGS = Path(__file__).parents[2] / "configs"
_CONFIG_FILES = (".yaml", ".yml", ".json")
FROM_DATA = ("alphabet", "block_size")
"""Arguments of the models that the data give."""


def config_names() -> list[str]:
    """The shipped configs, by bare name."""
    return sorted(file.stem for file in CONFIGS.glob("*.yaml"))


def spell_out_configs(args: list[str]) -> list[str]:
    """Replace a shipped config's bare name by its path: `--config mlp`.

    Raises:
        OSError: a config that cannot be read.
        ValueError: neither a file nor a shipped config, or a file without settings.
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


def spell_out_data(args: list[str]) -> list[str]:
    """A list of names may be given as `--data FILE`, as charlm's scripts take it; `--data CONFIG` stays a config."""
    spelled = list(args)
    for i, arg in enumerate(args):
        option, equals, value = arg.partition("=")
        given = value if equals else "".join(args[i + 1 : i + 2])
        if (
            option == "--data"
            and given
            and not given.startswith(("{", "-"))
            and Path(given).suffix not in _CONFIG_FILES
        ):
            spelled[i] = f"--data.path{equals}{value}"
    return spelled


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


def path_in_configs(args: list[str]) -> str | None:
    """The `ckpt_path` of the last config that has one."""
    path = in_configs(args, "ckpt_path")
    return str(path) if path else None


def in_configs(args: list[str], key: str) -> Any:
    """What the last config that has a value for `key` has; None if there is none."""
    return next((value for config in _configs(args) if (value := config.get(key))), None)


def model_in(args: list[str]) -> str | None:
    """The class name, without its module, of the model that is named last: by an option, else in a config."""
    named = [_parsed(value) for value in _values_of(args, "--model", "--model.class_path")]
    return _class_name(reversed(named)) or model_in_configs(args)


def model_in_configs(args: list[str]) -> str | None:
    """The same of the last config that names a model."""
    return _class_name(config["model"] for config in _configs(args) if "model" in config)


def _class_name(models: Iterable[Any]) -> str | None:
    for model in models:
        path = model.get("class_path") if isinstance(model, dict) else model
        if isinstance(path, str):
            return path.rsplit(".", 1)[-1]
    return None


def _configs(args: list[str]) -> Iterator[dict[str, Any]]:
    """What the configs hold, the last one first."""
    for config in reversed(_values_of(args, "--config", "-c")):
        with suppress(OSError, UnicodeDecodeError):
            content = _parsed(config if config.lstrip().startswith("{") else Path(config).read_text("utf-8"))
            if isinstance(content, dict):
                yield content


def _parsed(text: str) -> Any:
    with suppress(yaml.YAMLError):  # of an option; the parser says so
        return yaml.safe_load(text)


def without(args: list[str], option: str) -> list[str]:
    """The arguments but for one option and its value."""
    kept, skip = [], False
    for arg in args:
        if not skip and arg.partition("=")[0] != option:
            kept.append(arg)
        skip = not skip and arg == option
    return kept


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
    if Path(name).exists():
        _check_config(Path(name))
        return name
    if name.lstrip().startswith("{"):
        return name
    if name in config_names():
        return str(CONFIGS / f"{name}.yaml")
    raise ValueError(
        f"there is no config file {name}, nor a shipped config of that name: {_listed(config_names(), name)}"
    )


def _check_config(file: Path) -> None:
    """Refuse a config that holds no settings at all; what they say is the parser's to judge.

    Raises:
        OSError: it cannot be read.
        ValueError: not YAML, or not of names with values.
    """
    try:
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        place = getattr(error, "problem_mark", None)
        cause = f"line {place.line + 1}: {getattr(error, 'problem', '')}" if place else "not text"
        raise ValueError(f"{file} is not YAML ({cause}); correct it there, or take another config") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{file} holds no settings, which look like `model: GRU`; correct it, or take another config")


def _listed(names: list[str], wanted: str) -> str:
    return ", ".join(names) + did_you_mean(wanted, names)
