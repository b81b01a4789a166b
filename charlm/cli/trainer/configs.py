"""Config files: where each one is found, and what it holds. Each is read once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from charlm.messages import did_you_mean

CONFIGS = Path(__file__).parents[2] / "configs"
CONFIG_FILES = (".yaml", ".yml", ".json")


@dataclass(frozen=True)
class Config:
    """A config that has been read.

    Args:
        source: what the parser is to read: the path of a file, or the text itself.
        settings: what it holds.
        note: what the user should know about it, or "".
    """

    source: str
    settings: dict[str, Any]
    note: str = ""


def config_names() -> list[str]:
    """The bare names of the shipped configs."""
    return sorted(file.stem for file in CONFIGS.glob("*.yaml"))


def read_config(value: str) -> Config:
    """Read what --config names: a shipped config by its bare name, a file, a pipe, or settings in JSON.

    A bare name means the shipped config, also where the working directory has a file of that name; a path to a file
    has a slash or an ending.

    Raises:
        OSError: a file that cannot be read.
        ValueError: neither a file nor a shipped config, or a file without settings.
    """
    if value.lstrip().startswith("{"):
        return Config(value, _settings(value, "--config"))
    file, names = Path(value).expanduser(), config_names()
    if value in names:
        note = f"--config {value} is the shipped config; for the file in this directory write ./{value}"
        return Config(str(CONFIGS / f"{value}.yaml"), _read(CONFIGS / f"{value}.yaml")[1], note * file.is_file())
    if not file.exists():
        listed = ", ".join(names) + did_you_mean(value, names)
        raise ValueError(f"there is no config file {value}, nor a shipped config of that name: {listed}")
    text, settings = _read(file)
    return Config(str(file) if file.is_file() else text, settings)  # a pipe can be read only once


def as_config(settings: dict[str, Any]) -> str:
    """Settings as the text of a config, with escapes for all letters that YAML would not take as they are."""
    return yaml.safe_dump(settings, default_flow_style=True, sort_keys=False, width=float("inf")).strip()


def class_name(model: object) -> str | None:
    """Class in what a config or an option says about the model; of charlm's own without the module."""
    path = model.get("class_path") if isinstance(model, dict) else model
    if not isinstance(path, str) or Path(path).suffix in CONFIG_FILES:
        return None
    return path.rpartition(".")[2] if path.startswith("charlm.") else path


def _read(file: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not YAML (not UTF-8 text); correct it, or give another config") from error
    return text, _settings(text, str(file))


def _settings(text: str, where: str) -> dict[str, Any]:
    try:
        settings = yaml.safe_load(text)
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        cause = f"line {place.line + 1}: {getattr(error, 'problem', '')}" if place else "not text"
        raise ValueError(f"{where} is not YAML ({cause}); correct it, or give another config") from error
    except RecursionError:
        raise ValueError(f"{where} has too many brackets in each other; correct it, or give another config") from None
    if not isinstance(settings, dict):
        raise ValueError(f"{where} holds no settings such as `model: LitGRU`; correct it, or give another config")
    return settings
