"""Where the settings of `charlm fit` come from, before the parser reads them; the README has the order in a table."""

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from charlm.cli.subcommands import TRAINER_COMMANDS
from charlm.cli.trainer.checkpoint_settings import FROM_DATA, checkpoint_settings, net_settings
from charlm.cli.trainer.configs import (
    CONFIG_FILES,
    CONFIGS,
    Config,
    as_config,
    class_name,
    config_names,
    option_value,
    read_config,
    refuse_nothing,
)
from charlm.cli.trainer.options import Options
from charlm.cli.trainer.own_modules import check_model, find_own_modules, is_model
from charlm.cli.trainer.prepared import Prepared
from charlm.cli.trainer.resuming import AUTO, OPTION, START, check_start, find_resumed, take_resume
from charlm.messages import did_you_mean
from charlm.runs.directory import BEST, LAST, find_checkpoint, run_directory
from charlm.runs.load_checkpoint import Checkpoint, load_checkpoint

log = logging.getLogger(__name__)

DEFAULT_MODEL = "MLP"
_TRAINING = ("fit", "lr-find")
_ASKS = ("-h", "--help", "--print_config", "--model.help")
_STEPS, _EPOCHS = "--trainer.max_steps", "--trainer.max_epochs"
_ORDER = {"--model.order": "--data.block_size"}


def prepare(args: list[str], kinds: Mapping[str, str]) -> Prepared:
    """Put the settings of the model's shipped config, of a run and of a checkpoint before those that the user gives.

    Args:
        args: as the user gave them, the command first.
        kinds: class name of each model by its short name.

    Raises:
        OSError: no such checkpoint.
        ValueError: no such config or model, a bad checkpoint, or an option that would be ignored.
    """
    if args[0] not in TRAINER_COMMANDS:
        return Prepared(args, complete=True)
    return _CommandLine(args[0], args[1:], kinds).prepared()


class _CommandLine:
    """Makes the command line for Lightning's parser.

    Args:
        command: fit, validate, test, predict or lr-find.
        args: the arguments after it.
        kinds: class name of each model by its short name.
    """

    def __init__(self, command: str, args: list[str], kinds: Mapping[str, str]) -> None:
        self.command, self.kinds = command, kinds
        self.configs: list[dict[str, Any]] = []  # what the --config files hold
        self.files: list[str] = []  # those that are files
        self.trainer: dict[str, Any] = {}  # what configs and options say about the trainer
        self.given = Options.read(args).changed(self._spelled_out)
        self.runs = Path(str(self.trainer.get("default_root_dir") or ".")) / "lightning_logs"
        self.model_option = class_name(option_value(self.given.last("--model", "--model.class_path")))

    def prepared(self) -> Prepared:
        self._refuse_ignored()
        check_start(self.command, self.given)
        resumes, named, self.given = take_resume(self.given)
        if self.given.last(_STEPS) not in (None, "-1") and self.given.last(_EPOCHS) is None:
            self.given.pairs.append((_EPOCHS, "-1"))  # a length in steps replaces the config's length in epochs
        if resumes:
            self._check_resume(named)
        return self._resumed(named) if resumes and named != AUTO else replace(self._started(), auto=resumes)

    def _started(self) -> Prepared:
        asks = any(name.startswith(_ASKS) for name, _ in self.given.pairs)
        where = self.given.last("--ckpt_path") or self._in_configs("ckpt_path")
        if (where is None and (self.command in _TRAINING or asks)) or where == "null":
            if not asks:
                self._say_whose_settings()
            start = self._start()
            return replace(self._line(self._shipped(self.model_option or DEFAULT_MODEL)), start=start)
        checkpoint = load_checkpoint(self._checkpoint_file(where))
        config = self._config_of_run(checkpoint)
        kind = self._kind(checkpoint, config)
        return self._line(self._settings_of_run(config) or self._shipped(kind), checkpoint, kind)

    def _line(
        self, base: list[str], checkpoint: Checkpoint | None = None, kind: str = "", run: Path | None = None
    ) -> Prepared:
        """From the first settings to the last: `base`, those of the checkpoint, those that the user gives."""
        find_own_modules([*(value for _, value in self.given.pairs), *self.configs, kind])
        model = kind or self.model_option or self._model_of_configs() or ""
        if model.rpartition(".")[2] == "LitNGram":  # what n-grams call their order is the context of all models
            self.given = self.given.changed(lambda name, value: (_ORDER.get(name, name), value))
        files = (*base[1:], *self.files)
        if checkpoint is None:
            model = model if model in self.kinds.values() or is_model(model) else ""
            return Prepared([self.command, *base, *self.given.args()], model=model, run=run, configs=files)
        if kind not in self.kinds.values():
            check_model(kind, checkpoint.path)
        settings = checkpoint_settings(checkpoint, kind)
        if self.command == "fit" and run is None:  # a new run has a name and a note of its own
            settings |= {"name": None, "note": None, "init_from": None}
        own = ["--config", as_config(settings)]
        given = [*self.given.without("--ckpt_path").args(), "--ckpt_path", str(checkpoint.path)]
        return Prepared([self.command, *base, *own, *given], checkpoint, kind, kind, run, configs=files)

    def _check_resume(self, named: str | None) -> None:
        if self.command != "fit":
            raise ValueError(f"{OPTION} goes on with a training; use it with `charlm fit`")
        if self.given.last("--name") is not None and named != AUTO:
            raise ValueError(f"{OPTION} goes on with a run, which keeps its name; leave --name out")
        if option_value(self.trainer.get("fast_dev_run")):
            raise ValueError(
                f"{OPTION} goes on with a run, and --trainer.fast_dev_run leaves none; leave one of them out"
            )

    def _resumed(self, named: str | None) -> Prepared:
        """A run goes on by its own config and the settings of its checkpoint."""
        resumed = find_resumed(named, self.runs)
        config = read_config(str(resumed.run / "config.yaml"))
        seed = option_value(self.given.last("--seed_everything"))
        if resumed.checkpoint is not None and seed not in (None, config.settings.get("seed_everything")):
            raise ValueError(f"{OPTION} goes on with the run's random numbers; leave --seed_everything out")
        self.configs.insert(0, config.settings)
        kind = self._kind(resumed.checkpoint) if resumed.checkpoint is not None else ""
        start = self._start() if resumed.checkpoint is None else None
        return replace(self._line(["--config", config.source], resumed.checkpoint, kind, resumed.run), start=start)

    def _start(self) -> Checkpoint | None:
        """The checkpoint that --init_from names, whose model and sizes are the settings before those of the user."""
        where = self.given.last(START) or self._in_configs("init_from")
        if where in (None, "null"):
            return None
        start = load_checkpoint(find_checkpoint(where, self.runs))
        kind, named = self._kind(start), self.model_option or self._model_of_configs()
        if named is None:
            self.model_option = kind
        if named in (None, kind):
            self.given.pairs.insert(0, ("--config", as_config(net_settings(start, kind))))
        return start

    def _shipped(self, model: str) -> list[str]:
        """The shipped config of the model, where a training names no config."""
        name = model.removeprefix("Lit").lower().replace("mixture", "best")  # the one config of a Mixture
        if self.command not in _TRAINING or self.configs or name not in config_names():
            return []
        return ["--config", str(CONFIGS / f"{name}.yaml")]

    def _config_of_run(self, checkpoint: Checkpoint) -> Config | None:
        """The config that a run of one's own began with. Not of other runs: a config may name any code."""
        config = run_directory(checkpoint.path.absolute()) / "config.yaml"
        own = config.parents[1].resolve().is_relative_to(self.runs.resolve()) and config.is_file()
        return read_config(str(config)) if own else None

    def _settings_of_run(self, config: Config | None) -> list[str]:
        if self.command != "fit" or config is None or self.configs:
            return []
        log.info(f"Going on with the settings of {config.source}")
        self.configs.insert(0, config.settings)
        return ["--config", config.source]

    def _kind(self, checkpoint: Checkpoint, config: Config | None = None) -> str:
        """The class of a checkpoint's model; a class that is not charlm's has to be named elsewhere too.

        Raises:
            ValueError: neither the command line nor the run's own config names it.
        """
        held = checkpoint.kind
        if held in self.kinds.values():
            return held
        of_run = class_name(config.settings.get("model")) if config is not None else None
        for named in (self.model_option, self._model_of_configs(), of_run):
            if named is not None and named.rpartition(".")[2] == held.rpartition(".")[2]:
                return named
        raise ValueError(
            f"{checkpoint.path} holds a {held}, which is not one of charlm's models; if you trust that code, name the"
            " class with --model"
        )

    def _checkpoint_file(self, where: str | None) -> Path:
        """The file that is meant: to go on training the last one of a run, else its best one."""
        last = where == "last" or (self.command == "fit" and where != "best")
        return find_checkpoint(None if where in ("last", "best") else where, self.runs, LAST if last else BEST)

    def _spelled_out(self, name: str, value: str) -> tuple[str, str]:
        """An option with the bare name of a config or a model spelled out, or with names as `--data FILE`."""
        if name == "--data" and not value.startswith("{") and Path(value).suffix not in CONFIG_FILES:
            name = "--data.path"
        if name in ("--config", "-c", "--trainer", "--data", "--checkpoint"):
            config = read_config(value, name)
            if name in ("--config", "-c"):
                self.configs.append(config.settings)
                self.files += [config.source] * config.is_file
            if isinstance(trainer := config.settings.get("trainer"), dict):
                self.trainer |= trainer
            if config.note:
                log.info(config.note)
            return name if name == "-c" else "--config", config.source
        if name in ("--model", "--model.class_path", "--model.help"):
            return name, self._spelled_model(value)
        if name.startswith("--trainer."):
            self.trainer[name.removeprefix("--trainer.")] = value
        refuse_nothing(name, value)
        # of names; a Path would change an address
        return name, os.path.expanduser(value) if name == "--data.path" else value

    def _spelled_model(self, name: str) -> str:
        if name in self.kinds:
            return self.kinds[name]
        if "." in name or "{" in name or name in self.kinds.values():
            return name
        known = ", ".join(self.kinds)
        raise ValueError(f"there is no model {name!r}; the models are {known}{did_you_mean(name, self.kinds)}")

    def _refuse_ignored(self) -> None:
        """Refuse what would be ignored without a word: model arguments that come from the data."""
        for key in FROM_DATA:
            for name in (f"--model.{key}", f"--model.init_args.{key}"):
                if any(name == given for given, _ in self.given.pairs):
                    instead = "leave it out" if key == "train_names" else f"give --data.{key} instead"
                    raise ValueError(f"{name} comes from the data; {instead}")
        if self._in_configs("resume"):
            raise ValueError(f"{OPTION} is given on the command line; leave `resume` out of the config")

    def _in_configs(self, key: str) -> str | None:
        """The value of the last config that has one for `key`."""
        return next((str(config[key]) for config in reversed(self.configs) if config.get(key)), None)

    def _model_of_configs(self) -> str | None:
        """Class of the model in the last config that names one."""
        return next(filter(None, (class_name(config.get("model")) for config in reversed(self.configs))), None)

    def _say_whose_settings(self) -> None:
        """Warn that the config's optimizer and learning rates still apply although another model was named."""
        whose, named = self._model_of_configs(), self.model_option
        if whose is not None and named is not None and whose != named:
            whose, named = whose.removeprefix("Lit"), named.removeprefix("Lit")
            advice = "leave --config out for its own"
            log.warning(f"The config's settings are {whose}'s, and the model is {named}; {advice}")
