"""`charlm fit|validate|test|predict`: LightningCLI with its traps closed."""

import inspect
import logging
import warnings
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
from jsonargparse import set_parsing_settings
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, ProgressBar
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import Tensor

from charlm.arguments import COMMANDS, TRAINER_COMMANDS, Prepared, prepare, refuse_conflicts
from charlm.callbacks.embedding_pca import EmbeddingPCA
from charlm.callbacks.step_bar import StepProgressBar
from charlm.callbacks.step_decay import StepDecay
from charlm.checkpoints import Checkpoint, load_checkpoint, read_results, run_directory, write_results
from charlm.commands.line import command_parser
from charlm.commands.predictions import write_predictions
from charlm.data.datamodule import NamesDataModule
from charlm.lightning_modules import MODELS, LitCharLM
from charlm.loggers import RunLogger
from charlm.parsers import ShortErrors
from charlm.report import finish

DEFAULT_SEED = 42
OWN_CALLBACKS = (StepDecay, EmbeddingPCA)
"""Imported so that the command line knows them by their short names."""


class TrainerParser(ShortErrors, LightningArgumentParser):
    """Lightning's parser with short errors that know the arguments of every model and the callbacks."""

    def option_names(self) -> list[str]:
        """The parser's options and, after `model.`, the arguments of the models."""
        of_models = {f"model.{name}" for kind in MODELS.values() for name in inspect.signature(kind).parameters}
        return super().option_names() + sorted(of_models)

    def class_names(self) -> list[str]:
        """Short names of the models and of all callbacks."""
        return [*MODELS, *(kind.__name__ for kind in _subclasses(Callback))]


class SaveConfig(SaveConfigCallback):
    """config.yaml in the run's directory, for `fit` with a logger only; on TensorBoard's Text tab as well."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Save, unless nothing is to be kept of this run."""
        if stage == "fit" and trainer.logger is not None:
            super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """The same text for TensorBoard."""
        if isinstance(trainer.logger, RunLogger):
            trainer.logger.experiment.add_text("config", f"```yaml\n{self.parser.dump(self.config)}\n```", 0)


class TrainerCLI(LightningCLI):
    """The four subcommands that need a Trainer.

    Overrides of Lightning's private methods, all of them here: `_add_subcommands` (charlm's own commands belong to the
    help and the completion) and `_parse_ckpt_path` (Lightning's lets the checkpoint override the command line).

    Args:
        prepared: the arguments after `prepare`, and the checkpoint they name.
    """

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self._parsers: list[LightningArgumentParser] = []
        super().__init__(
            LitCharLM,
            NamesDataModule,
            save_config_callback=SaveConfig,
            save_config_kwargs={"overwrite": True},
            seed_everything_default=DEFAULT_SEED,
            parser_kwargs={"prog": "charlm", **{name: {"prog": f"charlm {name}"} for name in TRAINER_COMMANDS}},
            parser_class=TrainerParser,
            subclass_mode_model=True,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            args=prepared.args,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The model takes its alphabet and block size from the data; the best and the last checkpoint are kept."""
        self._parsers.append(parser)
        parser.set_defaults({"model": {"class_path": "charlm.lightning_modules.LitMLP"}})
        parser.link_arguments("data.alphabet", "model.init_args.alphabet", apply_on="instantiate")
        parser.link_arguments("data.block_size", "model.init_args.block_size")
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.set_defaults(
            {
                "checkpoint.monitor": "loss/val",
                "checkpoint.filename": "best-step{step:06d}-val{loss/val:.4f}",
                "checkpoint.auto_insert_metric_name": False,
                "checkpoint.save_last": True,
            }
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse what `prepare` made of the command line."""
        self.config = parser.parse_args(self.prepared.args)

    def _parse_ckpt_path(self) -> None:
        checkpoint = self.prepared.checkpoint
        if checkpoint is not None:
            config = self.config[self.config.subcommand]
            model, data = config.model.as_dict(), config.data.as_dict()
            refuse_conflicts(checkpoint, self.prepared.kind, model, data, fit=self.config.subcommand == "fit")

    def _add_subcommands(self, parser: LightningArgumentParser, **kwargs: Any) -> None:
        super()._add_subcommands(parser, **kwargs)
        action = parser._subcommands_action
        if self.prepared.complete and action is not None:
            for name, text in COMMANDS.items():
                action.add_subcommand(name, command_parser(name), help=text)

    def before_instantiate_classes(self) -> None:
        """Keep the checkpoint callback to the runs that are to write checkpoints."""
        config = self.config[self.subcommand]
        if self.subcommand != "fit" or config.trainer.enable_checkpointing is False:
            for parser in self._parsers:
                parser.callback_keys.remove("checkpoint")
        elif config.data.split[1] == 0:  # nothing to choose by
            config.checkpoint.monitor, config.checkpoint.filename = None, "step{step:06d}"

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Lightning's trainer with our logger and a progress bar that fits 80 columns, unless others are asked for."""
        config = self.config_init[self.subcommand].trainer
        callbacks = config.callbacks or []
        callbacks = list(callbacks) if isinstance(callbacks, list) else [callbacks]
        if config.enable_progress_bar is not False and not any(isinstance(c, ProgressBar) for c in callbacks):
            callbacks.append(StepProgressBar())
        if config.logger in (None, True) and not config.fast_dev_run:
            kwargs["logger"] = self._logger(Path(config.default_root_dir or "."))
        if self.config[self.subcommand].data.split[1] == 0:
            kwargs["limit_val_batches"] = 0
        return super().instantiate_trainer(callbacks=callbacks, **kwargs)

    def _logger(self, root: Path) -> RunLogger | bool:
        """A new run for `fit`; an evaluation makes none, see `after_test`."""
        if self.subcommand != "fit":
            return False
        logger = RunLogger(str(root))
        logger.log_hyperparams({key: self.datamodule.hparams[key] for key in ("batch_size", "split_by", "sampling")})
        return logger

    @rank_zero_only
    def after_fit(self) -> None:
        """The report on the checkpoint with the lowest val loss, or on the last one where there is no val split."""
        saver = self.trainer.checkpoint_callback
        if not isinstance(saver, ModelCheckpoint) or not saver.best_model_path or self.trainer.logger is None:
            print("\nNo checkpoint of this run was kept, so there is nothing to report on.")
            return
        data = self.datamodule
        loaders = {"train": data.train_in_order(), "val": data.val_dataloader(), "test": data.test_dataloader()}
        checkpoint = load_checkpoint(saver.best_model_path)
        losses = finish(checkpoint, {part: loader for part, loader in loaders.items() if loader}, data.splits)
        if "test" in losses:
            self.trainer.logger.log_metrics({"loss/test": losses["test"]}, step=checkpoint.step - 1)
            self.trainer.logger.finalize("success")

    @rank_zero_only
    def after_test(self) -> None:
        """Put the test losses where the run's other ones are, if it is the same names that were split the same way."""
        checkpoint, metrics = self.prepared.checkpoint, self.trainer.callback_metrics
        if checkpoint is None or self._is_trial() or not self._is_own_data(checkpoint):
            return
        run = run_directory(checkpoint.path).absolute()
        logger = TensorBoardLogger(str(run.parent.parent), run.parent.name, run.name, default_hp_metric=False)
        logger.log_metrics({key: value.item() for key, value in metrics.items()}, checkpoint.step - 1)
        logger.finalize("success")
        write_results(run, {**read_results(run), "test": metrics["loss/test"].item()})

    def _is_trial(self) -> bool:
        return bool(self.config_init[self.subcommand].trainer.fast_dev_run)

    def _is_own_data(self, checkpoint: Checkpoint) -> bool:
        settings = ("block_size", "split", "split_by", "split_seed", "pad")
        same = all(checkpoint.data.get(key) == self.datamodule.hparams[key] for key in settings)
        return same and checkpoint.data_sha256 == self.datamodule.splits.corpus.sha256

    def predict(self, model: LitCharLM, datamodule: NamesDataModule, **kwargs: Any) -> None:
        """Write one row a character to predictions.csv in the checkpoint's run."""
        batches = cast("list[dict[str, Tensor]]", self.trainer.predict(model, datamodule=datamodule, **kwargs))
        if self.prepared.checkpoint is not None and batches and not self._is_trial():
            file = run_directory(self.prepared.checkpoint.path) / "predictions.csv"
            print(f"Predictions  {write_predictions(batches, model.tokenizer, file)}")


def run_trainer(args: list[str]) -> None:
    """Run `charlm ARGS...` for a command that needs a Trainer."""
    set_parsing_settings(add_print_completion_argument=True)
    quieten()
    TrainerCLI(prepare(args, {name: kind.__name__ for name, kind in MODELS.items()}))


def quieten() -> None:
    """Drop Lightning's advertisements and the warnings that say nothing to a user; show our own notes."""
    noise = ("Tip:", "`Trainer.fit` stopped: `max_")
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: not any(text in record.getMessage() for text in noise)
    )
    warnings.filterwarnings("ignore", r".*isinstance\(treespec, LeafSpec\)", FutureWarning)  # Lightning PR 21326
    warnings.filterwarnings("ignore", r".*number of training batches .* smaller than the logging interval")
    warnings.filterwarnings(
        "ignore", r".*callbacks used to create the checkpoint need to be provided"
    )  # to evaluate, no
    notes = logging.StreamHandler()
    logging.getLogger("charlm").addHandler(notes)
    logging.getLogger("charlm").setLevel(logging.INFO)


def _subclasses(kind: type) -> list[type]:
    children: list[type] = kind.__subclasses__()
    return [found for child in children for found in (child, *_subclasses(child))]
