"""`charlm fit|validate|test|predict`: LightningCLI with its traps closed."""

from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
from jsonargparse import set_parsing_settings
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import Tensor

from charlm.callbacks.graceful_stop import Stopped
from charlm.callbacks.process_guard import ProcessGuard
from charlm.callbacks.run_checkpoint import RunCheckpoint
from charlm.cli.command_parser import command_parser
from charlm.cli.short_errors import ShortErrors, subclasses
from charlm.cli.subcommands import COMMANDS
from charlm.cli.trainer.callbacks import add_showing, callbacks_of, plugins_of
from charlm.cli.trainer.checkpoint_settings import refuse_conflicts
from charlm.cli.trainer.lr_find import SweepTrainer, sweep_directory
from charlm.cli.trainer.predictions import write_predictions
from charlm.cli.trainer.report import finish, print_go_on
from charlm.cli.trainer.resuming import OPTION
from charlm.cli.trainer.sources import DEFAULT_MODEL, Prepared, prepare
from charlm.cli.trainer.threads import choose_threads
from charlm.data.datamodule import NamesDataModule
from charlm.messages import parameters_of
from charlm.models.registry import MODELS, LitCharLM
from charlm.runs.checkpoint import Checkpoint, load_checkpoint
from charlm.runs.directory import read_results, run_directory, write_results
from charlm.runs.logger import RunLogger, SaveConfig, its_own_run, log_later, quiet

DEFAULT_SEED = 42


class TrainerParser(ShortErrors, LightningArgumentParser):
    """Lightning's parser with short errors that know the arguments of every model and the callbacks."""

    def option_names(self) -> list[str]:
        """The parser's options and, after `model.`, the arguments of the models."""
        of_models = {f"model.{name}" for kind in MODELS.values() for name in parameters_of(kind)}
        return super().option_names() + sorted(of_models)

    def class_names(self) -> list[str]:
        """Short names of the models and of all callbacks."""
        return [*(kind.__name__ for kind in MODELS.values()), *(kind.__name__ for kind in subclasses(Callback))]


class TrainerCLI(LightningCLI):
    """The subcommands that need a Trainer.

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
            trainer_class=SweepTrainer,
            save_config_callback=SaveConfig,
            save_config_kwargs={"overwrite": True, "save_to_log_dir": False},
            seed_everything_default=DEFAULT_SEED,
            # options in full only: `prepare` would not know a shortened --ckpt_path
            parser_kwargs={"prog": "charlm", "allow_abbrev": False},
            parser_class=TrainerParser,
            subclass_mode_model=True,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            args=prepared.args,
        )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]  # static in the base, called on this
        """The one that is called, as each takes a tenth of a second to make; for the help all, lr-find among them."""
        every = {**LightningCLI.subcommands(), "lr-find": {"model", "datamodule"}}
        return {name: every[name] for name in self.prepared.args[:1] if name in every} or every

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The model takes its alphabet and block size from the data; the best and the last checkpoint are kept."""
        self._parsers.append(parser)
        kind = self.prepared.model or MODELS[DEFAULT_MODEL].__name__
        parser.set_defaults({"model": {"class_path": f"charlm.{kind}"}})
        parser.link_arguments("data.alphabet", "model.init_args.alphabet", apply_on="instantiate")
        parser.link_arguments("data.block_size", "model.init_args.block_size")
        parser.add_argument(
            OPTION, type=str | None, help="fit: go on with this run, by default the newest one, from its last state"
        )
        add_showing(parser)
        parser.add_lightning_class_args(RunCheckpoint, "checkpoint")
        parser.set_defaults({"checkpoint.monitor": "loss/val"})

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse what `prepare` made of the command line."""
        self.config = parser.parse_args(self.prepared.args)

    def _parse_ckpt_path(self) -> None:
        checkpoint = self.prepared.checkpoint
        if checkpoint is not None:
            config = self.config[self.config.subcommand]
            model, data = config.model.as_dict(), config.data.as_dict()
            refuse_conflicts(checkpoint, self.prepared.kind, model, data, fit=self.config.subcommand == "fit")
        self.prepared.say()

    def _add_subcommands(self, parser: LightningArgumentParser, **kwargs: Any) -> None:
        super()._add_subcommands(parser, **kwargs)
        action = parser._subcommands_action
        if self.prepared.complete and action is not None:
            for name, text in COMMANDS.items():
                action.add_subcommand(name, command_parser(name), help=text)

    def before_instantiate_classes(self) -> None:
        """Keep the checkpoint callback to the runs that are to write checkpoints.

        Raises:
            ValueError: the split to evaluate on has no share.
        """
        config = self.config[self.subcommand]
        choose_threads(config.data.batch_size)
        part = {"validate": 1, "test": 2, "predict": 2}.get(str(self.subcommand), 0)
        if part and config.data.split[part] == 0:
            raise ValueError(f"data.split is {list(config.data.split)}, so there is nothing to {self.subcommand} on")
        if self.subcommand != "fit" or config.trainer.enable_checkpointing is False:
            for parser in self._parsers:
                parser.callback_keys.remove("checkpoint")
        elif config.data.split[1] == 0:  # nothing to choose by
            config.checkpoint.monitor = None

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Lightning's trainer with our logger and callbacks, unless others are asked for."""
        options = self.config_init[self.subcommand]
        config, callbacks = options.trainer, callbacks_of(str(self.subcommand), options)
        root = Path(config.default_root_dir or ".")
        if self.subcommand == "lr-find":
            kwargs |= self._of_a_sweep(root)
        elif config.logger in (None, True) and not config.fast_dev_run and not config.barebones:
            kwargs["logger"] = self._logger(root)
        if self.config[self.subcommand].data.split[1] == 0:
            kwargs["limit_val_batches"] = 0
        trainer = super().instantiate_trainer(callbacks=callbacks, plugins=plugins_of(options), **kwargs)
        for callback in callbacks:
            if isinstance(callback, ProcessGuard):
                callback.watch(trainer)
        return trainer

    def _of_a_sweep(self, root: Path) -> dict[str, Any]:
        """A trainer that only sweeps, which leaves the trainings' files alone."""
        left_out = ("fast_dev_run", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
        without = dict.fromkeys(left_out, False) | {"min_steps": None, "min_epochs": None, "limit_val_batches": 0}
        return without | {"logger": DummyLogger(), "default_root_dir": str(sweep_directory(root))}

    def _logger(self, root: Path) -> RunLogger | bool:
        """A new run for `fit`, or the one that goes on; an evaluation makes none, see `after_test`."""
        if self.subcommand != "fit":
            return False
        run, checkpoint = self.prepared.run, self.prepared.checkpoint
        place = (root, run.parent.name, run.name, checkpoint.step if checkpoint else 0) if run is not None else (root,)
        logger = RunLogger(*place)
        of_data = {key: self.datamodule.hparams[key] for key in ("batch_size", "split_by", "sampling")}
        logger.log_hyperparams({"model": type(self.model.net).__name__, **of_data})
        return logger

    def fit(self, model: LitCharLM, **kwargs: Any) -> None:
        """Train; a new run that is refused leaves no directory."""
        with its_own_run(self.trainer):
            self.trainer.fit(model, **kwargs)

    @rank_zero_only
    def after_fit(self) -> None:
        """The report on the checkpoint with the lowest val loss, or on the last one where there is no val split."""
        saver = next((c for c in self.trainer.checkpoint_callbacks if isinstance(c, RunCheckpoint)), None)
        kept = (saver.best_model_path or saver.last_model_path) if saver is not None else ""
        if not kept or self.trainer.logger is None:
            kind = "no checkpoint was kept" if not kept else f"the checkpoint {kept} belongs to no run (no logger)"
            print(f"\nThere is no report: {kind}.")
            return
        checkpoint = load_checkpoint(kept)
        before = read_results(run_directory(checkpoint.path))  # of a run that had ended already
        events = any(isinstance(logger, TensorBoardLogger) for logger in self.trainer.loggers)
        losses = finish(checkpoint, self.datamodule.whole_splits(), self.datamodule.splits, events)
        parts = ["test"] + ["val"] * ("loss/val" not in self.trainer.callback_metrics)  # a short run has no validation
        last = {f"loss/{part}": losses[part] for part in parts if part in losses}
        if last and before.get("step") != checkpoint.step:
            self.trainer.logger.log_metrics(last, step=checkpoint.step - 1)
            self.trainer.logger.finalize("success")

    @rank_zero_only
    def after_test(self) -> None:
        """Put the test losses where the run's other ones are, if it is the same names that were split the same way."""
        checkpoint, metrics = self.prepared.checkpoint, self.trainer.callback_metrics
        whole = not self._is_trial() and self.config_init.test.trainer.limit_test_batches is None
        in_run = checkpoint is not None and checkpoint.path.parent.name == "checkpoints"
        if checkpoint is None or not whole or not in_run or not self._is_own_data(checkpoint):
            return
        run, name = run_directory(checkpoint.path).absolute(), checkpoint.path.name
        log_later(run, {key: value.item() for key, value in metrics.items()}, checkpoint.step - 1)
        results = {"checkpoint": name, "step": checkpoint.step, **read_results(run)}
        if results["checkpoint"] == name:  # the losses of one row are of one checkpoint
            write_results(run, {**results, "test": metrics["loss/test"].item()})

    def _is_trial(self) -> bool:
        return bool(self.config_init[self.subcommand].trainer.fast_dev_run)

    def _is_own_data(self, checkpoint: Checkpoint) -> bool:
        settings = ("block_size", "split", "split_by", "split_seed", "pad")
        same = all(checkpoint.data.get(key) == self.datamodule.hparams[key] for key in settings)
        return same and checkpoint.data_sha256 == self.datamodule.splits.corpus.sha256

    def predict(self, model: LitCharLM, datamodule: NamesDataModule, **kwargs: Any) -> None:
        """Write one row a character to predictions.csv in the checkpoint's run.

        Raises:
            ValueError: several processes, of which each would have a part of the rows.
        """
        if self.trainer.world_size > 1:
            raise ValueError("predict writes one file from one process; give --trainer.devices 1")
        batches = cast("list[dict[str, Tensor]]", self.trainer.predict(model, datamodule=datamodule, **kwargs))
        if self.prepared.checkpoint is not None and batches and not self._is_trial():
            file = run_directory(self.prepared.checkpoint.path) / "predictions.csv"
            print(f"Predictions  {write_predictions(batches, model.tokenizer, file)}")


def run_trainer(args: list[str]) -> None:
    """Run `charlm ARGS...` for a command that needs a Trainer."""
    set_parsing_settings(add_print_completion_argument=True)
    with quiet():
        try:
            TrainerCLI(prepare(args, {name: kind.__name__ for name, kind in MODELS.items()}))
        except Stopped as stopped:
            if stopped.code:
                print_go_on(stopped.step, stopped.file)
            raise
