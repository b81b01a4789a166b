"""Lightning's parser with charlm's error messages."""

from typing import Any

from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import LightningArgumentParser

from charlm.cli.short_errors import ShortErrors, subclasses
from charlm.cli.trainer.configs import config_names
from charlm.messages import parameters_of
from charlm.models.registry import MODELS


class TrainerParser(ShortErrors, LightningArgumentParser):
    """Lightning's parser with short errors, which suggest arguments of all models, and models and callbacks."""

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
