"""What follows a training or a test: the report, and the losses that are added to the run."""

import math
from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger

from charlm.callbacks.run_checkpoint import RunCheckpoint
from charlm.callbacks.shared.trainer_state import is_of_fit, time_is_up
from charlm.cli.trainer.report import finish
from charlm.data.datamodule import NamesDataModule
from charlm.runs.checkpoint_file import Checkpoint, load_checkpoint
from charlm.runs.directory import read_results, run_directory, write_results
from charlm.runs.logger import RunLogger, log_later


class WorseThanGuessing(ArithmeticError):
    """No loss of a training since its first validation was below that of guessing all characters evenly."""

    exit_status = 4
    """Of `charlm fit`."""


class LossesSinceValidation(Callback):
    """Keep the losses of a training since its first validation, in nats per character.

    These are the losses of the validations, and the mean training loss between each two of them: overfitting alone
    raises only the former.
    """

    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if is_of_fit(trainer):
            names = ("loss/val", "loss_mean/train") if self.losses else ("loss/val",)
            self.losses += [float(trainer.callback_metrics.get(name, 0.0)) for name in names]

    def check(self, vocab_size: int) -> None:
        """Refuse a training that has learned nothing since its first validation.

        Raises:
            WorseThanGuessing: it has not.
        """
        lowest, evenly = min(self.losses, default=0.0), math.log(vocab_size)
        if len(self.losses) > 1 and lowest > evenly:
            raise WorseThanGuessing(
                f"training has failed: its lowest loss since the first validation is {lowest:.4g}, and guessing all"
                f" {vocab_size} characters evenly has {evenly:.4f}; take a lower learning rate (--model.lr)"
            )


def report_on_run(trainer: pl.Trainer, datamodule: NamesDataModule) -> None:
    """Print the report on the best checkpoint of a training, and add its test loss to the log of the run.

    Raises:
        WorseThanGuessing: after the report.
    """
    saver = next((c for c in trainer.checkpoint_callbacks if isinstance(c, RunCheckpoint)), None)
    kept = (saver.best_model_path or saver.last_model_path) if saver is not None else ""
    if not kept or trainer.logger is None:
        kind = "no checkpoint was kept" if not kept else f"the checkpoint {kept} belongs to no run (no logger)"
        print(f"\nThere is no report: {kind}.")
        return
    checkpoint = load_checkpoint(kept)
    events = any(isinstance(logger, TensorBoardLogger) for logger in trainer.loggers)
    losses = finish(checkpoint, datamodule.whole_splits(), datamodule.splits, events)
    parts = ["test"] + ["val"] * ("loss/val" not in trainer.callback_metrics)  # a short run has no validation
    last = {f"loss/{part}": losses[part] for part in parts if part in losses}
    if isinstance(trainer.logger, RunLogger):
        log_later(Path(trainer.logger.log_dir), last, checkpoint.step - 1)
    elif last:
        trainer.logger.log_metrics(last, step=checkpoint.step - 1)
        trainer.logger.finalize("success")
    if not time_is_up(trainer):
        run = run_directory(checkpoint.path)
        write_results(run, {**read_results(run), "ended": trainer.global_step})  # last of all, for `--resume auto`
    for callback in trainer.callbacks:  # type: ignore[attr-defined]  # set from outside the class
        if isinstance(callback, LossesSinceValidation):
            callback.check(checkpoint.tokenizer.vocab_size)


def store_test_losses(trainer: pl.Trainer, datamodule: NamesDataModule, checkpoint: Checkpoint | None) -> None:
    """Add the losses of `charlm test` to the log and the results of the checkpoint's run.

    Nothing is stored if the checkpoint is in no run, or if the test used other names or another split than training.
    """
    if checkpoint is None or checkpoint.path.parent.name != "checkpoints" or not _is_own_data(checkpoint, datamodule):
        return
    metrics = {key: value.item() for key, value in trainer.callback_metrics.items()}
    run, name = run_directory(checkpoint.path).absolute(), checkpoint.path.name
    log_later(run, metrics, checkpoint.step - 1)
    results = {"checkpoint": name, "step": checkpoint.step, **read_results(run)}
    if results["checkpoint"] == name:  # the results of a run are the losses of one checkpoint
        write_results(run, {**results, "test": metrics["loss/test"]})


def _is_own_data(checkpoint: Checkpoint, datamodule: NamesDataModule) -> bool:
    settings = ("block_size", "split", "split_by", "split_seed", "pad")
    same = all(checkpoint.data.get(key) == datamodule.hparams[key] for key in settings)
    return same and checkpoint.data_sha256 == datamodule.splits.corpus.sha256
