"""What a run tells its loggers about itself, and what its results.json says besides losses."""

import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from jsonargparse import Namespace
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from charlm.callbacks.internals.trainer_attributes import datamodule_of
from charlm.callbacks.lr_finder.callback import LRFinder
from charlm.callbacks.shared.logger_adapters import send_name, send_text, tell
from charlm.cli.trainer.checkpoint_settings import FROM_DATA
from charlm.cli.trainer.loggers import keep_wandb_id, own_logger
from charlm.data.datamodule import NamesDataModule
from charlm.runs.settings import Setting, training_settings


class RunFacts(Callback):
    """Give a run's settings, name and note to its loggers, and keep what its results are to say.

    Args:
        settings: that change the training.
        note: of the user, or None.
        logs: whether the loggers get the settings.
        names: whether they get the name; not where the user has given them another one.
        left_open: arguments of the model that were not given, some of which it chooses.
    """

    def __init__(
        self,
        settings: Mapping[str, Setting],
        note: str | None,
        *,
        logs: bool,
        names: bool,
        left_open: Collection[str] = (),
    ) -> None:
        self.left_open = left_open
        self.settings, self.note, self.logs, self.names = dict(settings), note, logs, names
        self.has_trained = False
        self._latest: Mapping[str, float] = {}  # of the run's logger
        self._last: dict[str, float] = {}  # what results.json takes of it, as far as a resumed training had come
        self._lr: float | None = None  # that a resumed training began with, which LRFinder may have changed since
        self._before = 0.0
        self._began: float | None = None

    @property
    def seconds(self) -> float:
        """How long the training has taken, with those that this one resumes."""
        return self._before + (0.0 if self._began is None else time.monotonic() - self._began)

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds, "last": self._last_logged(), "lr": self.settings.get("model.lr")}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._before = float(state_dict["seconds"])
        self._last, self._lr = state_dict.get("last", {}), state_dict.get("lr")  # older checkpoints lack them

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        run = own_logger(trainer)
        self._latest = run.latest if run is not None else {}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._began = time.monotonic()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._before, self._began = self.seconds, None

    @rank_zero_only
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the settings before the first metrics, with the learning rate of LRFinder and the model's own sizes."""
        self.has_trained = True
        own = {f"model.{key}": value for key, value in pl_module.hparams.items() if key in self.left_open}
        self.settings |= {key: value for key, value in own.items() if isinstance(value, int | float)}
        if "model.lr" in self.settings and "lr" in pl_module.hparams:
            self.settings["model.lr"] = pl_module.hparams["lr"] if self._lr is None else self._lr
        data: NamesDataModule = datamodule_of(trainer)
        # TensorBoard shows a column at first if its values differ, and one that is missing does not count
        corpus = data.splits.corpus
        known = {"data.path": Path(corpus.source).name, "data.names": len(corpus), "step_decay.milestones": "none"}
        for logger in trainer.loggers if self.logs else ():
            logger.log_hyperparams(known | self.settings)
        keep_wandb_id(trainer)
        run = own_logger(trainer)
        failed = send_name(trainer, Path(run.log_dir).name) if run is not None and self.names else {}
        if self.note:
            failed |= send_text(trainer, self.note, "note", 0)
        tell("charlm fit", failed, set())

    def results(self, data: NamesDataModule) -> dict[str, Any]:
        """What results.json says besides the losses of a checkpoint."""
        corpus = data.splits.corpus
        return {
            **{"source": corpus.source, "sha256": corpus.sha256, "names": len(corpus)},
            **({"settings": self.settings} if self.has_trained else {}),
            **{"note": self.note, "seconds": round(self.seconds, 1)},
            **self._last_logged(),
        }

    def _last_logged(self) -> dict[str, float]:
        names = {"loss_mean/train": "last_train", "loss/val": "last_val", "samples/new": "new"}
        return self._last | {name: float(self._latest[tag]) for tag, name in names.items() if tag in self._latest}


def add_facts(callbacks: list[Callback], config: Namespace) -> None:
    """Add RunFacts where LRFinder has chosen the rate and nothing has been logged."""
    given = config.as_dict()
    loggers = given["trainer"]["logger"]
    arguments = [
        spec.get("init_args") or {}
        for spec in (loggers if isinstance(loggers, list) else [loggers])
        if isinstance(spec, dict)
    ]
    named = any(spec.get("name") not in (None, "lightning_logs") or spec.get("run_name") for spec in arguments)
    logs = config.trainer.enable_autolog_hparams
    of_model = given["model"].get("init_args") or {}
    left_open = [key for key, value in of_model.items() if value is None and key not in FROM_DATA]
    facts = RunFacts(training_settings(given), config.note, logs=logs, names=not named, left_open=left_open)
    finders = [at for at, callback in enumerate(callbacks) if isinstance(callback, LRFinder)]
    callbacks.insert(finders[-1] + 1 if finders else 1, facts)  # GracefulStop is the first
