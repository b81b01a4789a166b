"""Lightning's parser with charlm's error messages."""

from argparse import SUPPRESS, Action
from typing import Any

from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import LightningArgumentParser

from charlm.cli.short_errors import ShortErrors, subclasses
from charlm.cli.subcommands import TRAINER_COMMANDS
from charlm.cli.trainer.configs import config_names
from charlm.cli.trainer.short_help import short_help
from charlm.data.datamodule import NamesDataModule
from charlm.messages import parameters_of
from charlm.models.registry import MODELS


class TrainerParser(ShortErrors, LightningArgumentParser):
    """Lightning's parser with a short help, and short errors that suggest arguments of models, models and callbacks."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_argument("--help-all", action=_HelpAll)

    def format_help(self, formatter: Any = None) -> str:
        """The help of a command, without most options of the Trainer."""
        command = self.prog.rpartition(" ")[2]
        if command not in TRAINER_COMMANDS:
            return str(super().format_help())
        model = self.get_default("model")["class_path"]
        return short_help(f"charlm {command}", TRAINER_COMMANDS[command], self.options(), model)

    def full_help(self) -> str:
        """The help with every option."""
        return str(super().format_help())

    def add_argument(self, *args: Any, **kwargs: Any) -> Any:
        """Lightning's --config with a help that names the shipped configs."""
        if "--config" in args:
            kwargs["help"] = f"A config file, or one of the shipped configs: {', '.join(config_names())}."
        return super().add_argument(*args, **kwargs)

    def option_names(self) -> list[str]:
        """The parser's options and, after `model.`, the arguments of the models."""
        of_models = {f"model.{name}" for kind in MODELS.values() for name in parameters_of(kind)}
        return super().option_names() + sorted(of_models)

    def class_names(self) -> list[str]:
        """Short names of the models and of all callbacks."""
        return [*(kind.__name__ for kind in MODELS.values()), *(kind.__name__ for kind in subclasses(Callback))]


def options_of_arguments() -> dict[str, str]:
    """The option of each argument of the data and of the models, which take what both have from the data."""
    of_models = {name: f"--model.{name}" for kind in MODELS.values() for name in parameters_of(kind)}
    return of_models | {name: f"--data.{name}" for name in parameters_of(NamesDataModule)}


class _HelpAll(Action):
    """Prints every option of a command."""

    def __init__(self, option_strings: list[str], dest: str, **_: Any) -> None:
        super().__init__(option_strings, dest=dest, default=SUPPRESS, nargs=0, help="show every option, in full")

    def __call__(self, parser: Any, *_: Any) -> None:
        print(parser.full_help(), end="")
        parser.exit()
