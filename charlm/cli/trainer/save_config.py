"""The config.yaml of a run."""

from enum import Enum
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import yaml
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback
from lightning.pytorch.loggers.logger import DummyLogger

from charlm.callbacks.shared.whole_file import write_text

_NO_VALUE = "Unable to serialize instance"
# such as the default of an argument of Lightning's Timer
yaml.SafeDumper.add_multi_representer(Enum, lambda dumper, member: dumper.represent_data(member.value))


class SaveConfig(SaveConfigCallback):
    """Write config.yaml to the run's directory, for `fit` with a logger.

    Args:
        taken: the settings that this process took from a checkpoint, as a config has them; {} without one.
        arguments: of Lightning's callback.
    """

    folder = ""
    before: bytes | None = None  # the config.yaml of a resumed run, until training starts

    def __init__(self, *arguments: Any, taken: dict[str, Any], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.taken = taken

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Save the config, unless the run has no logger."""
        if stage == "fit" and not isinstance(trainer.logger, DummyLogger | None):
            self.folder = str(trainer.log_dir)  # in every process, as Lightning broadcasts it
            file = Path(self.folder) / self.config_filename
            self.before = file.read_bytes() if trainer.is_global_zero and file.is_file() else None
            super().setup(trainer, pl_module, stage)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep what was saved, now that no option has been refused."""
        self.before = None

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Leave the run as it was if it could not go on."""
        if self.before is not None:
            write_text(Path(self.folder) / self.config_filename, self.before.decode())

    def save_config(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Write the file completely or not at all, without the checkpoint that this process resumes from.

        What a resumed run took from its checkpoint, such as the sizes that the model had chosen or the rate that
        LRFinder had found, the file says as before.
        """
        config, file = self.config.clone(), Path(self.folder) / self.config_filename
        if self.taken and file.is_file():
            before = yaml.safe_load(file.read_text(encoding="utf-8"))
            for section in ("data", "model"):
                _keep(before.get(section), config[section], self.taken[section])
        write_text(file, config_text(self.parser, config))


def _keep(before: Any, config: Any, taken: dict[str, Any]) -> None:
    """Restore the earlier value of each setting that still has the checkpoint's."""
    for key in before.keys() & taken.keys() if isinstance(before, dict) else ():
        if isinstance(taken[key], dict):
            _keep(before[key], config[key], taken[key])
        elif config[key] == taken[key]:
            config[key] = before[key]


def config_text(parser: LightningArgumentParser, config: Namespace) -> str:
    """The text of a run's config.yaml, without the checkpoint that a process resumes from."""
    config = config.clone()
    config["ckpt_path"] = None
    text: str = parser.dump(config, skip_none=False)
    if _NO_VALUE in text:  # jsonargparse cannot write objects; without an entry the option has its default
        text = yaml.safe_dump(_without_objects(yaml.safe_load(text)), sort_keys=False)
    return text


def _without_objects(values: Any) -> Any:
    if isinstance(values, dict):
        is_object = {key: isinstance(value, str) and _NO_VALUE in value for key, value in values.items()}
        return {key: _without_objects(value) for key, value in values.items() if not is_object[key]}
    return [_without_objects(value) for value in values] if isinstance(values, list) else values
