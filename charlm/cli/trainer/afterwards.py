"""What `charlm test` adds to the run of its checkpoint."""

import lightning.pytorch as pl

from charlm.data.datamodule import NamesDataModule
from charlm.runs.checkpoint import Checkpoint
from charlm.runs.directory import read_results, run_directory, write_results
from charlm.runs.logger import log_later


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
