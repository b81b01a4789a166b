"""What follows a training or a test: the report, and the losses that are added to the run."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.loggers import TensorBoardLogger

from charlm.callbacks.internals.trainer_attributes import callbacks_of
from charlm.callbacks.run_checkpoint import RunCheckpoint
from charlm.callbacks.shared.trainer_state import time_is_up
from charlm.cli.trainer.losses_picture import log_losses
from charlm.cli.trainer.report import finish
from charlm.cli.trainer.run_facts import RunFacts
from charlm.cli.trainer.verdict import Validations, log_verdict
from charlm.data.datamodule import NamesDataModule
from charlm.runs.directory import read_results, run_directory, write_results
from charlm.runs.load_checkpoint import Checkpoint, load_checkpoint
from charlm.runs.logger import RunLogger, log_later

_FEWEST = 4  # validations without which the losses are not much of a curve


def report_on_run(trainer: pl.Trainer, datamodule: NamesDataModule) -> None:
    """Print the report on the best checkpoint of a training, and add its test loss to the log of the run.

    Raises:
        WorseThanGuessing: after the report.
    """
    saver = next((c for c in trainer.checkpoint_callbacks if isinstance(c, RunCheckpoint)), None)
    kept = (saver.best_model_path or saver.last_model_path) if saver is not None else ""
    if not kept:
        print("\nThere is no report: no checkpoint was kept.")
        return
    checkpoint, run = load_checkpoint(kept), run_directory(Path(kept))
    before: dict[str, Any] = {}
    with suppress(ValueError):  # damaged, and about to be written anew
        before = read_results(run)
    callbacks = callbacks_of(trainer)
    validations = next(callback for callback in callbacks if isinstance(callback, Validations))
    events = any(isinstance(logger, TensorBoardLogger) for logger in trainer.loggers)
    patience = trainer.early_stopping_callback
    ended_itself = patience is not None and patience.wait_count >= patience.patience  # when val had stopped falling
    parts, seen = datamodule.whole_splits(), [] if ended_itself else validations.all
    lengths = trainer.global_step, trainer.check_val_every_n_epoch
    facts = next(callback for callback in callbacks if isinstance(callback, RunFacts)).results(datamodule)
    earlier = {name: before[name] for name in before if name in ("settings", "last_train", "last_val", "new")}
    losses, said = finish(checkpoint, parts, datamodule.splits, {**earlier, **facts}, events, seen, *lengths)
    _log_end(trainer, checkpoint, losses, facts["seconds"], validated=bool(validations.all))
    has_curves = len(validations.all) >= _FEWEST and any(isinstance(each, RunLogger) for each in trainer.loggers)
    if before.get("ended") != trainer.global_step:  # else an earlier process has logged them
        if has_curves:
            log_losses(run, trainer.global_step - 1)
        if said:
            log_verdict(trainer, said)
    if not time_is_up(trainer):  # last of all, for `--resume auto`
        write_results(run, {**read_results(run), "ended": trainer.global_step})
    validations.check(losses, checkpoint.tokenizer.vocab_size)


def _log_end(
    trainer: pl.Trainer, checkpoint: Checkpoint, losses: dict[str, float], seconds: float, validated: bool
) -> None:
    """Log the best checkpoint's losses that are not in the log yet, and figures for the HParams tab."""
    parts = ["test"] + ["val"] * (not validated)  # a short run has no validation
    last = {f"loss/{part}": losses[part] for part in parts if part in losses}
    last |= {"best/step": float(checkpoint.step), "best/val": losses["val"]} if "val" in losses else {}
    last |= {"summary/steps": float(trainer.global_step), "summary/seconds": seconds}
    for logger in trainer.loggers:
        if isinstance(logger, RunLogger):
            log_later(Path(logger.log_dir), last, checkpoint.step - 1)
        else:
            logger.log_metrics(last, step=checkpoint.step - 1)
            logger.finalize("success")


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
