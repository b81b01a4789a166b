"""Config files: where each one is found, and what it holds. Each is read once."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from charlm.messages import did_you_mean

CONFIGS = Path(__file__).parents[2] / "configs"
CONFIG_FILES = (".yaml", ".yml", ".json")
_SECTIONS = ("trainer", "data", "checkpoint")


class _Reader(yaml.SafeLoader):
    """Takes 1e-3 for a number, as jsonargparse's reader does; PyYAML takes it for a text."""


for _kind in (_Reader, yaml.SafeDumper):  # which writes a text that looks like a number in quotes
    _kind.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"[-+]?[0-9][0-9_]*\.?[0-9_]*[eE][-+]?[0-9]+$|\._[0-9_]*([eE][-+][0-9]+)?$"),
        list("-+.0123456789"),
    )


@dataclass(frozen=True)
class Config:
    """A config that has been read.

    Args:
        source: what the parser is to read: the path of a file, or the text itself.
        settings: what it holds.
        note: what the user should know about it, or "".
        is_file: whether the source is a file.
    """

    source: str
    settings: dict[str, Any]
    note: str = ""
    is_file: bool = True


def config_names() -> list[str]:
    """The bare names of the shipped configs."""
    return sorted(file.stem for file in CONFIGS.glob("*.yaml"))


def read_config(value: str, option: str = "--config") -> Config:
    """Read what --config names: a shipped config by its bare name, a file, a pipe, or settings in JSON.

    A bare name means the shipped config, also where the working directory has a file of that name; a path to a file
    has a slash or an ending. With `option` --trainer, --data or --checkpoint, the settings are those of this section.

    Raises:
        OSError: a file that cannot be read.
        ValueError: neither a file nor a shipped config, or a file without settings.
    """
    if option.removeprefix("--") in _SECTIONS:
        return _section(value, option.removeprefix("--"))
    if value.lstrip().startswith("{"):
        return Config(value, _settings(value, "--config"), is_file=False)
    file, names = Path(value).expanduser(), config_names()
    if value in names:
        note = f"--config {value} is the shipped config; for the file in this directory write ./{value}"
        return Config(str(CONFIGS / f"{value}.yaml"), _read(CONFIGS / f"{value}.yaml")[1], note * file.is_file())
    if not file.exists():
        listed = ", ".join(names) + did_you_mean(value, names)
        raise ValueError(f"there is no config file {value}, nor a shipped config of that name: {listed}")
    text, settings = _read(file)
    is_file = file.is_file()  # a pipe can be read only once
    return Config(str(file) if is_file else text, settings, is_file=is_file)


def as_config(settings: dict[str, Any]) -> str:
    """Settings as the text of a config, with escapes for all letters that YAML would not take as they are."""
    return yaml.safe_dump(settings, default_flow_style=True, sort_keys=False, width=float("inf")).strip()


def class_name(model: object) -> str | None:
    """Class in what a config or an option says about the model; of charlm's own without the module."""
    path = model.get("class_path") if isinstance(model, dict) else model
    if not isinstance(path, str) or Path(path).suffix in CONFIG_FILES:
        return None
    return path.rpartition(".")[2] if path.startswith("charlm.") else path


def option_value(value: object) -> object:
    """The value of an option, which is YAML; None where it is not, as the parser will say what is wrong with it."""
    try:
        return yaml.load(value, _Reader) if isinstance(value, str) else value
    except (yaml.YAMLError, ValueError):  # or a number that Python cannot read, such as `._`
        return None


def refuse_nothing(name: str, value: str) -> None:
    """Refuse a text that YAML takes for a comment or an anchor, and so for nothing.

    Raises:
        ValueError: such a text.
    """
    if value.startswith(("#", "&")) and option_value(value) is None:
        advice = "write ./ before a file, the number of a column, or other text first"
        raise ValueError(f"{name} begins with {value[0]!r}, and YAML reads {value!r} as nothing; {advice}")


def _section(value: str, section: str) -> Config:
    file = Path(value).expanduser()
    if value.lstrip().startswith("{"):
        settings = _settings(value, f"--{section}")
    elif file.exists():
        settings = _read(file)[1]
    else:
        raise ValueError(f"there is no config file {value}; --{section} takes a file with the settings of {section}")
    return Config(as_config({section: settings}), {section: settings})


def _read(file: Path) -> tuple[str, dict[str, Any]]:
    if file.is_dir():
        raise ValueError(f"{file} is a directory; give a config file")
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not YAML (not UTF-8 text); correct it, or give another config") from error
    return text, _settings(text, str(file))


def _settings(text: str, where: str) -> dict[str, Any]:
    try:
        settings = yaml.load(text, _Reader)
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        cause = f"line {place.line + 1}: {getattr(error, 'problem', '')}" if place else "not text"
        raise ValueError(f"{where} is not YAML ({cause}); correct it, or give another config") from error
    except ValueError as error:  # a number with thousands of digits, or the 31st of February
        raise ValueError(f"{where} has a value that cannot be read ({error}); correct it") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{where} holds no settings such as `model: LitGRU`; correct it, or give another config")
    for section in filter(settings.__contains__, _SECTIONS):
        value: object = settings[section]
        if not isinstance(value, dict | str) and (section != "trainer" or value is not None):
            raise ValueError(f"{where}: `{section}` is {value!r}; give it settings, or leave it out")
    return settings
