"""The settings that change a training, from its config.yaml: they tell runs apart, and name them. Needs no torch."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

Setting = str | int | float | bool
"""A value; of a list its text, such as "0.5, 0.75"."""

_LEFT_OUT = ("alphabet", "labels", "train_names", "vocab_size", "eval_batch_size")
_DEFAULTS: dict[str, Setting] = {
    **{"data.split": "0.8, 0.1, 0.1", "data.split_by": "name", "data.split_seed": 42, "data.lowercase": False},
    **{"data.sampling": "epoch", "data.shuffle_seed": 0, "data.pad": True, "data.max_length": 64},
    **{"data.encoding": "utf-8", "data.bad_lines": "refuse", "data.min_batches": 1},
    **{"model.init": "default", "model.weight_decay": 0.0, "model.schedule": "constant", "model.warmup": 0.1},
    **{"model.label_smoothing": 0.0, "step_decay.unit": "step", "step_decay.over": "rate"},
    **{"trainer.max_epochs": -1, "trainer.max_steps": -1, "trainer.num_nodes": 1, "trainer.overfit_batches": 0.0},
    "trainer.accumulate_grad_batches": 1,
}
"""Values that need no mention."""
_TRAINED_BY = ("max_", "min_", "limit_train", "overfit", "accumulate", "gradient", "precision", "devices", "num_nodes")
"""How the names of the trainer's options begin that change the weights."""
_ONLY_WATCH = re.compile(
    r"StepsPerExecution|EmbeddingPCA|NameSamples|Dashboard|\w*Checkpoint|ExactResume|GracefulStop|FiniteLoss"
    r"|\w*ProgressBar|\w*Summary|\w*Monitor|\w*Printer"
)
_ONLY_SAID = ("verbose", "strict", "log_rank_zero_only")  # arguments of callbacks
_SHORT = {"batch_size": "batch", "seed_everything": "seed", "accumulate_grad_batches": "accumulate"}
_LONGEST = 40  # characters of a run's name after its number


def read_settings(run: Path) -> dict[str, Setting]:
    """The settings in a run's config.yaml; {} if there is none, or one that cannot be read."""
    try:
        file = run / "config.yaml"
        return training_settings(yaml.safe_load(file.read_text(encoding="utf-8"))) if file.is_file() else {}
    except (OSError, ValueError, TypeError, AttributeError, yaml.YAMLError):
        return {}


def training_settings(config: Mapping[str, Any]) -> dict[str, Setting]:
    """The settings that change a training, in the order of use, without those that have their usual value.

    Args:
        config: the settings of `charlm fit` as in a config.yaml.

    Example:
        >>> model = {"class_path": "charlm.LitMLP", "init_args": {"n_hidden": 200, "lr": 0.1, "alphabet": "ab"}}
        >>> decay = {"class_path": "charlm.callbacks.StepDecay", "init_args": {"milestones": [0.5, 0.75]}}
        >>> training_settings({"model": model, "data": {"pad": True}, "trainer": {"callbacks": [decay]}})
        {'model': 'MLP', 'model.n_hidden': 200, 'model.lr': 0.1, 'step_decay.milestones': '0.5, 0.75'}
    """
    settings = {key: _plain(value) for key, value in _entries(config) if value not in (None, "auto", {})}
    return {key: value for key, value in settings.items() if value != _DEFAULTS.get(key)}


def model_name(class_path: str) -> str:
    """The short name of a model: "MLP" for charlm.LitMLP."""
    return class_path.rpartition(".")[2].removeprefix("Lit")


def words_for(settings: Mapping[str, Setting], base: Mapping[str, Setting], configs: list[str]) -> str:
    """The words that name a run: its model, its configs, and how it differs from them.

    Args:
        settings: of the run.
        base: of its configs alone.
        configs: their names.

    Example:
        >>> mlp = {"model": "MLP", "model.lr": 0.1, "step_decay.gamma": 0.1}
        >>> words_for({"model": "MLP", "model.lr": 0.3}, mlp, ["mlp", "small"])
        'mlp-small-lr0.3-fixed'
    """
    model = str(settings.get("model", "run")).lower()
    words = [model, *(config.lower().removeprefix(f"{model}-") for config in configs if config.lower() != model)]
    changed = [key for key in {**settings, **base} if settings.get(key) != base.get(key) and key != "model"]
    if "trainer.max_epochs" not in settings:  # of a config, and left out for a length in steps
        changed = [key for key in changed if key != "trainer.max_epochs"]
    words += [_word(key, settings, base) for key in changed]
    name = ""
    for word in dict.fromkeys(re.sub(r"[^\w.-]+", "_", word).strip("._-") for word in words):
        if word and len(name) + len(word) < _LONGEST:
            name += f"-{word}" if name else word
    return name or "run"


def _entries(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each setting with its name on the command line; of a callback, with the name of its class before it."""
    data, model, trainer = (config.get(part) or {} for part in ("data", "model", "trainer"))
    for key, value in data.items():
        if key not in _LEFT_OUT:
            yield f"data.{key}", _file_names(value) if key == "path" and value else value
    yield "model", model_name(str(model.get("class_path", "")))
    for key, value in (model.get("init_args") or {}).items():
        if key not in (*_LEFT_OUT, "block_size"):  # of the data
            yield f"model.{key}", value
    for callback in _as_list(trainer.get("callbacks")):
        kind = callback["class_path"].rpartition(".")[2]
        arguments = {} if kind == "LRFinder" else callback.get("init_args")  # the rate that it found says all
        if not _ONLY_WATCH.fullmatch(kind):
            name = _snake(kind)
            kept = {key: value for key, value in (arguments or {}).items() if key not in _ONLY_SAID}
            yield from ((f"{name}.{key}", value) for key, value in kept.items()) if kept else [(name, True)]
    yield from ((f"trainer.{key}", value) for key, value in trainer.items() if key.startswith(_TRAINED_BY))
    yield "init_from", config.get("init_from")
    yield "seed_everything", config.get("seed_everything")


def _file_names(path: Any) -> str:
    return ", ".join(Path(str(file)).name for file in (path if isinstance(path, list) else [path]))


def _as_list(callbacks: Any) -> list[Any]:
    given = callbacks if isinstance(callbacks, list) else [callbacks]
    return [callback for callback in given if isinstance(callback, dict) and "class_path" in callback]


def _snake(kind: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", kind).lower()


def _plain(value: Any) -> Setting:
    if isinstance(value, list | tuple):
        return ", ".join(_number(part) for part in value)
    return value if isinstance(value, str | int | float) else str(value)


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _word(key: str, settings: Mapping[str, Setting], base: Mapping[str, Setting]) -> str:
    """How one setting differs, in a word; of a callback that is added or left out, its name."""
    owner, _, leaf = key.rpartition(".")
    value = settings.get(key, _DEFAULTS.get(key))
    if owner not in ("", "data", "model", "trainer"):  # a callback
        has, had = (any(other.startswith(f"{owner}.") for other in table) for table in (settings, base))
        if not has:
            return "fixed" if owner == "step_decay" else f"no_{owner}"
        if not had:
            return owner.replace("_", "")
    leaf = _SHORT.get(leaf, leaf.removeprefix("n_").removeprefix("max_"))
    if value is None or isinstance(value, bool):
        return leaf if value else f"no_{leaf}"
    if isinstance(value, str) and not value[:1].isdigit():
        return Path(value).stem.lower()
    return leaf + _number(value).replace(", ", "_").replace("+", "")
