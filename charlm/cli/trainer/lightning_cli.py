"""`charlm fit`, `validate`, `test`, `predict` and `lr-find`: a LightningCLI whose pitfalls are closed."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
from jsonargparse import Namespace, set_parsing_settings
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import Tensor

from charlm.callbacks.graceful_stop import Stopped
from charlm.callbacks.run_checkpoint import RunCheckpoint
from charlm.cli.command_parser import command_parser
from charlm.cli.options_named import options_named
from charlm.cli.subcommands import COMMANDS
from charlm.cli.terminal_text import visible_output
from charlm.cli.trainer.callbacks import add_showing, callbacks_of, plugins_of
from charlm.cli.trainer.checkpoint_settings import checkpoint_settings, refuse_conflicts
from charlm.cli.trainer.loggers import add_name, loggers_of, loggers_of_new_run, words_of_run
from charlm.cli.trainer.lr_find import SweepTrainer, sweep_logger
from charlm.cli.trainer.parser import TrainerParser, options_of_arguments
from charlm.cli.trainer.predictions import write_predictions
from charlm.cli.trainer.processes import LostProcess, add_timeout, is_of_other_process, processes_of
from charlm.cli.trainer.quiet import quiet
from charlm.cli.trainer.report import print_go_on
from charlm.cli.trainer.resuming import add_starts, find_unfinished, say_where_checkpoints_are, why_nothing_was_trained
from charlm.cli.trainer.run_facts import add_facts
from charlm.cli.trainer.run_results import report_on_run, store_test_losses
from charlm.cli.trainer.save_config import SaveConfig, config_text
from charlm.cli.trainer.settings import DEFAULT_MODEL, Prepared, prepare
from charlm.cli.trainer.threads import add_matmul_precision, choose_threads, use_matmul_precision
from charlm.cli.trainer.verdict import Validations
from charlm.data.datamodule import NamesDataModule
from charlm.models.registry import MODELS, LitCharLM
from charlm.models.start_from import start_from
from charlm.runs.directory import run_directory
from charlm.runs.logger import its_own_run
from charlm.runs.naming import RUNS, check_name

log = logging.getLogger(__name__)
DEFAULT_SEED = 42


class TrainerCLI(LightningCLI):
    """The subcommands that need a Trainer.

    It overrides two private methods of LightningCLI: `_add_subcommands`, to add charlm's own commands to the help and
    the completion, and `_parse_ckpt_path`, which would let the checkpoint override the command line.

    Args:
        prepared: what `prepare` made of the command line.
    """

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self._parsers: list[LightningArgumentParser] = []
        super().__init__(
            LitCharLM,
            NamesDataModule,
            trainer_class=SweepTrainer,
            save_config_callback=SaveConfig,
            save_config_kwargs={"overwrite": True, "save_to_log_dir": False, "taken": {}},
            seed_everything_default=DEFAULT_SEED,
            parser_kwargs={"prog": "charlm", "allow_abbrev": False},  # `prepare` knows whole options only
            parser_class=TrainerParser,
            subclass_mode_model=True,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            args=prepared.args,
        )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]  # static in the base, called on this
        """The command that is called, or all of them for the help; the parser of each takes 0.1 s to make."""
        every = {**LightningCLI.subcommands(), "lr-find": {"model", "datamodule"}}
        return {name: every[name] for name in self.prepared.args[:1] if name in every} or every

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Link what the model takes from the data, and add the options of the run and its callbacks."""
        self._parsers.append(parser)
        parser.set_defaults({"model": {"class_path": self.prepared.model or MODELS[DEFAULT_MODEL].__name__}})
        parser.link_arguments("data.block_size", "model.init_args.block_size")
        for name in ("alphabet", "labels"):
            parser.link_arguments(f"data.{name}", f"model.init_args.{name}", apply_on="instantiate")
        parser.link_arguments("data.splits", "model.init_args.train_names", lambda of: of.train_names, "instantiate")
        add_starts(parser)
        add_name(parser)
        add_timeout(parser)
        add_matmul_precision(parser)
        add_showing(parser)
        parser.add_lightning_class_args(RunCheckpoint, "checkpoint")
        parser.set_defaults({"checkpoint.monitor": "loss/val"})

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse the arguments that `prepare` made."""
        self.config = parser.parse_args(self.prepared.args)

    def _parse_ckpt_path(self) -> None:
        if not self.prepared.auto:
            self._check_checkpoint()

    def _check_checkpoint(self) -> None:
        checkpoint, kind = self.prepared.checkpoint, self.prepared.kind
        if checkpoint is not None:
            config = self.config[self.config.subcommand]
            taken = self.save_config_kwargs["taken"] = checkpoint_settings(checkpoint, kind)
            if self.prepared.auto and self.prepared.run:  # its config is this one, but LRFinder may have set the rate
                config.model.init_args.update(Namespace(taken["model"]["init_args"]))
            model, data = config.model.as_dict(), config.data.as_dict()
            refuse_conflicts(checkpoint, kind, model, data, fit=self.config.subcommand == "fit")
        self.prepared.say()

    def _add_subcommands(self, parser: LightningArgumentParser, **kwargs: Any) -> None:
        super()._add_subcommands(parser, **kwargs)
        action = parser._subcommands_action
        if self.prepared.complete and action is not None:
            for name, text in COMMANDS.items():
                action.add_subcommand(name, command_parser(name), help=text)

    def before_instantiate_classes(self) -> None:
        """Choose the number of threads, and leave the checkpoint callback out where nothing is to be saved.

        Raises:
            ValueError: the split to evaluate on is empty, an interval is 0, or --name cannot be a run's name.
        """
        config = self.config[self.subcommand]
        for name in ("val_check_interval", "check_val_every_n_epoch", "accumulate_grad_batches"):
            if isinstance(n := config.trainer[name], int | float) and n <= 0:
                raise ValueError(f"--trainer.{name} is {n}; give 1 or more (never: --trainer.limit_val_batches 0)")
        choose_threads(config.data.batch_size)
        use_matmul_precision(config.float32_matmul_precision, config.data.batch_size)
        part = {"validate": 1, "test": 2, "predict": 2}.get(str(self.subcommand), 0)
        if part and config.data.split[part] == 0:
            raise ValueError(f"--data.split is {list(config.data.split)}, so there is nothing to {self.subcommand} on")
        if self.subcommand != "fit" or config.trainer.enable_checkpointing is False:
            for parser in self._parsers:
                parser.callback_keys.remove("checkpoint")
        elif config.data.split[1] == 0:  # nothing to choose by
            config.checkpoint.monitor = None
        if self.subcommand == "fit" and config.name is not None:
            check_name(config.name)
        if self.prepared.auto:
            self._go_on(config)

    def _go_on(self, config: Namespace) -> None:
        """Let the newest unfinished run with this config go on, if there is one."""
        root = Path(config.trainer.default_root_dir or ".") / RUNS
        resumed = find_unfinished(config_text(self._parsers[0], config), root)
        if resumed is not None:
            kind = config.model.class_path
            self.prepared = replace(self.prepared, run=resumed.run, checkpoint=resumed.checkpoint, kind=kind)
            config.ckpt_path = str(resumed.checkpoint.path) if resumed.checkpoint is not None else None
        self._check_checkpoint()

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Lightning's Trainer with charlm's logger and callbacks, unless the user chose others."""
        options = self.config_init[self.subcommand]
        config, callbacks = options.trainer, callbacks_of(str(self.subcommand), options)
        root = Path(config.default_root_dir or ".")
        if self.subcommand == "fit":
            callbacks.append(Validations())
            add_facts(callbacks, self.config.fit)
            kwargs["enable_autolog_hparams"] = False
        if self.subcommand == "lr-find":
            kwargs |= self._of_a_sweep(root)
        elif not config.fast_dev_run and not config.barebones:
            kwargs["logger"] = self._loggers(root, config.logger)
        if self.config[self.subcommand].data.split[1] == 0:
            kwargs["limit_val_batches"] = 0
        kwargs["enable_model_summary"] = bool(config.enable_model_summary)  # `fit` describes the model in one line
        kwargs |= {"callbacks": callbacks, "plugins": plugins_of(options), **processes_of(options)}
        return super().instantiate_trainer(**kwargs)

    def _of_a_sweep(self, root: Path) -> dict[str, Any]:
        """Options of a Trainer that only sweeps the learning rate, with a folder of its own."""
        left_out = ("fast_dev_run", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
        without = dict.fromkeys(left_out, False) | {"min_steps": None, "min_epochs": None, "limit_val_batches": 0}
        return without | {"logger": sweep_logger(root), "enable_autolog_hparams": False}  # HParams has runs with losses

    def _loggers(self, root: Path, given: Any) -> Any:
        """For `fit` the run's own logger and those of the user; an evaluation has none by itself, see `after_test`."""
        if self.subcommand != "fit":
            return given or False
        config, prepared = self.config.fit, self.prepared
        if prepared.run is not None:
            return loggers_of(prepared.run, prepared.checkpoint, given)
        return loggers_of_new_run(root, config.name or words_of_run(self._parsers[0], config, prepared.configs), given)

    def fit(self, model: LitCharLM, **kwargs: Any) -> None:
        """Train; a new run that ends with an error before it logs anything leaves no directory."""
        counts = hasattr(model.net, "grows")  # counts are parameters, too, and nothing has been counted yet
        size = 0 if counts else sum(weights.numel() for weights in model.net.parameters())
        of_size = f" with {size:,} parameters" if size else ""
        log.info(f"{type(model).__name__.removeprefix('Lit')}{of_size} on {self.trainer.strategy.root_device}")
        begun, start = self.prepared.checkpoint, self.prepared.start
        with its_own_run(self.trainer):
            if start is not None and begun is None:
                new = start_from(model, start)
                log.info(f"Starting from the weights of {start.path}" + (f"; new letters: {new!r}" if new else ""))
            say_where_checkpoints_are(self.trainer)
            self.trainer.fit(model, **kwargs)
        if begun is not None and self.trainer.global_step == begun.step and not self._is_trial():
            log.warning(f"Nothing was trained: {why_nothing_was_trained(self.trainer)}")

    @rank_zero_only
    def after_fit(self) -> None:
        """Report on the checkpoint with the lowest validation loss, or on the last one without a validation split."""
        with visible_output():
            report_on_run(self.trainer, self.datamodule)

    @rank_zero_only
    def after_test(self) -> None:
        """Add the losses of a whole test to those of the checkpoint's run."""
        if not self._is_trial() and self.config_init.test.trainer.limit_test_batches is None:
            store_test_losses(self.trainer, self.datamodule, self.prepared.checkpoint)

    def _is_trial(self) -> bool:
        return bool(self.config_init[self.subcommand].trainer.fast_dev_run)

    def predict(self, model: LitCharLM, datamodule: NamesDataModule, **kwargs: Any) -> None:
        """Write predictions.csv, with a row for each character, into the checkpoint's run.

        Raises:
            ValueError: there are several processes, each of which would have only a part of the rows.
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
    with quiet(), options_named(options_of_arguments()):
        try:
            TrainerCLI(prepare(args, {name: kind.__name__ for name, kind in MODELS.items()}))
        except Stopped as stopped:
            if stopped.code:
                with visible_output():
                    print_go_on(stopped.step, stopped.file)
            raise
        except RuntimeError as error:
            if is_of_other_process(error):
                raise LostProcess from error
            raise
