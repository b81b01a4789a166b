"""A table in TensorBoard's projector. Dimension key: V rows, C columns."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from lightning.fabric.utilities.cloud_io import get_filesystem
from lightning.pytorch import Trainer
from torch import Tensor

from charlm.callbacks.shared.loggers import Failed, attempt, write_file

_CONFIG = "projector_config.pbtxt"


def send_to_projector(
    trainer: Trainer, name: str, table: Tensor, labels: Sequence[str], kinds: Sequence[str] | None
) -> Failed:
    """Write a table for the projector of each TensorBoard logger; it takes the place of an earlier one of that name.

    The files are those that SummaryWriter.add_embedding writes, in a quarter of its time. That method forgets what
    another writer has listed in the directory, as that of a run which is resumed; here all other tables stay.

    Args:
        trainer: its loggers are used.
        name: of the table.
        table: (V, C), on the CPU.
        labels: V texts; shown by repr where they have white space or nothing to see.
        kinds: V texts, to colour by; None for the row numbers.

    Returns:
        What failed.
    """
    failed: Failed = {}
    for logger in trainer.loggers:
        experiment: Any = getattr(logger, "experiment", None)
        directory = getattr(experiment, "log_dir", None)
        if hasattr(experiment, "add_embedding") and isinstance(directory, str):
            write = partial(_write, trainer, directory, name, table, labels, kinds)
            failed |= attempt("TensorBoard's projector", write)
    return failed


def tensors_tsv(table: Tensor) -> bytes:
    """Six digits of each value; with columns of zeros up to three, as the projector shows nothing for fewer."""
    padded = torch.nn.functional.pad(table.float(), (0, max(0, 3 - table.shape[1])))
    line = "\t".join(["%.6g"] * padded.shape[1])
    return "".join(line % tuple(row) + "\n" for row in padded.tolist()).encode()


def metadata_tsv(labels: Sequence[str], kinds: Sequence[str] | None) -> bytes:
    """A header, as two columns have to have, and a line for each row."""
    seconds = range(len(labels)) if kinds is None else map(_seen, kinds)
    lines = [f"{_seen(label)}\t{second}\n" for label, second in zip(labels, seconds, strict=True)]
    return f"label\t{'row' if kinds is None else 'kind'}\n{''.join(lines)}".encode()


def _seen(label: str) -> str:
    return label if label.isprintable() and label and label == label.strip() else repr(label)


def _write(
    trainer: Trainer, directory: str, name: str, table: Tensor, labels: Sequence[str], kinds: Sequence[str] | None
) -> None:
    from google.protobuf import text_format
    from tensorboard.plugins.projector import ProjectorConfig

    folder = f"projector/{name}"
    config, files = ProjectorConfig(), get_filesystem(directory)
    if files.exists(f"{directory}/{_CONFIG}"):
        with files.open(f"{directory}/{_CONFIG}", "r") as file:
            text_format.Parse(file.read(), config)
    others = [info for info in config.embeddings if info.tensor_name != name]
    del config.embeddings[:]
    config.embeddings.extend(others)
    config.embeddings.add(tensor_name=name, tensor_path=f"{folder}/tensors.tsv", metadata_path=f"{folder}/metadata.tsv")
    written = {
        f"{directory}/{folder}": {"tensors.tsv": tensors_tsv(table), "metadata.tsv": metadata_tsv(labels, kinds)},
        directory: {_CONFIG: text_format.MessageToString(config).encode()},
    }
    for place, contents in written.items():
        for file_name, content in contents.items():
            for error in write_file(trainer, place, file_name, content).values():
                raise error
