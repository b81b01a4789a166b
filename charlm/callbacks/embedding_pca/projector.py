"""A table in TensorBoard's projector. Dimension key: V rows, C columns."""

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from lightning.fabric.utilities.cloud_io import get_filesystem
from lightning.pytorch import Trainer
from torch import Tensor

from charlm.callbacks.shared.logger_adapters import Failed, attempt, write_file

_CONFIG = "projector_config.pbtxt"


def send_to_projector(
    trainer: Trainer, name: str, table: Tensor, labels: Sequence[str], kinds: Sequence[str] | None
) -> Failed:
    """Write a table for the projector of each TensorBoard logger, replacing an earlier one of that name.

    The files are those of SummaryWriter.add_embedding, written in a quarter of the time. That method also drops the
    tables that another writer has listed in the directory, such as the one of a run that is resumed; here they stay.

    Args:
        trainer: its loggers are used.
        name: of the table.
        table: (V, C), on the CPU.
        labels: V texts, shown by repr if they have white space at an end or nothing visible.
        kinds: V texts to colour by; None: the row numbers.

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
    """Write six digits of each value, and columns of zeros if there are fewer than three: the projector needs three."""
    padded = torch.nn.functional.pad(table.float(), (0, max(0, 3 - table.shape[1])))
    line = "\t".join(["%.6g"] * padded.shape[1]) + "\n"
    return "".join(line % tuple(row) for row in padded.tolist()).encode()


def metadata_tsv(labels: Sequence[str], kinds: Sequence[str] | None) -> bytes:
    """Write a header, which the projector needs for two columns, and a line for each row."""
    seconds = range(len(labels)) if kinds is None else map(_visible, kinds)
    lines = [f"{_visible(label)}\t{second}\n" for label, second in zip(labels, seconds, strict=True)]
    return f"label\t{'row' if kinds is None else 'kind'}\n{''.join(lines)}".encode()


def _visible(label: str) -> str:
    return label if label.isprintable() and label and label == label.strip() else repr(label)


def _write(
    trainer: Trainer, directory: str, name: str, table: Tensor, labels: Sequence[str], kinds: Sequence[str] | None
) -> None:
    folder, files, listed = f"projector/{name}", get_filesystem(directory), ""
    if files.exists(f"{directory}/{_CONFIG}"):
        listed = files.cat_file(f"{directory}/{_CONFIG}").decode()
    paths = {"tensor_name": name, "tensor_path": f"{folder}/tensors.tsv", "metadata_path": f"{folder}/metadata.tsv"}
    entry = "".join(f"  {field}: {json.dumps(value)}\n" for field, value in paths.items())
    entry = f"embeddings {{\n{entry}}}\n"  # a ProjectorConfig in protobuf's text format
    failed = write_file(trainer, f"{directory}/{folder}", "tensors.tsv", tensors_tsv(table))
    failed |= write_file(trainer, f"{directory}/{folder}", "metadata.tsv", metadata_tsv(labels, kinds))
    if entry not in listed:
        failed |= write_file(trainer, directory, _CONFIG, (listed + entry).encode())
    for error in failed.values():
        raise error
