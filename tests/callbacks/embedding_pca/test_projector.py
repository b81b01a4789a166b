"""What TensorBoard's projector is given; tests/dashboard opens its page."""

import lightning.pytorch as pl
import torch
from google.protobuf import text_format
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from charlm.callbacks.embedding_pca.projector import metadata_tsv, send_to_projector, tensors_tsv


def trainer_with(*loggers):
    return pl.Trainer(accelerator="cpu", logger=list(loggers), enable_checkpointing=False)


def logger_in(folder):
    logger = TensorBoardLogger(folder, name="", version="run")
    logger.log_metrics({"loss": 1.0}, 0)
    return logger


TABLE = torch.tensor([[1.5, -2.0], [0.0, 1e-9], [3.25, 12345.678]])


def listed(folder):
    """Name and shape of each table, as TensorBoard's projector reads them from its config and the files named there."""
    config = text_format.Parse((folder / "run" / "projector_config.pbtxt").read_text(), ProjectorConfig())
    tables = {}
    for entry in config.embeddings:
        lines = (folder / "run" / entry.tensor_path).read_text().splitlines()
        labelled = (folder / "run" / entry.metadata_path).read_text().splitlines()
        tables[entry.tensor_name] = (len(lines), lines[0].count("\t") + 1, labelled[0])
    return tables


def test_every_table_is_listed_with_its_labels_and_kinds(tmp_path):
    """A 2-column table gets a third one, which the projector needs."""
    trainer = trainer_with(logger_in(tmp_path), CSVLogger(tmp_path, "csv"))
    assert send_to_projector(trainer, "net.a", TABLE, ["a", "b", "c"], ["u", "v", "u"]) == {}
    assert send_to_projector(trainer, "net.b/x", torch.ones(2, 5), ["p", "q"], []) == {}
    assert listed(tmp_path) == {"net.a": (3, 3, "label\tkind"), "net.b/x": (2, 5, "label\trow")}


def test_a_new_writer_keeps_what_is_listed_and_takes_the_place_of_its_own(tmp_path):
    first = logger_in(tmp_path)
    first.experiment.add_embedding(torch.ones(3, 3), metadata=["a", "b", "c"], tag="users", global_step=7)
    send_to_projector(trainer_with(first), "net.a", TABLE, ["a", "b", "c"], [])
    first.experiment.close()
    send_to_projector(trainer_with(logger_in(tmp_path)), "net.a", 2 * TABLE, ["a", "b", "c"], [])
    assert list(listed(tmp_path)) == ["users:00007", "net.a"]
    assert (tmp_path / "run" / "projector" / "net.a" / "tensors.tsv").read_text().startswith("3\t-4\t0\n")


def test_values_are_written_to_six_digits_and_three_columns():
    assert tensors_tsv(torch.tensor([[1 / 3, -1e-12, 0.0, 1e30]])) == b"0.333333\t-1e-12\t0\t1e+30\n"
    assert tensors_tsv(torch.ones(1, 1)) == b"1\t0\t0\n"


def test_every_row_is_one_line_whatever_its_label():
    labels = ["\r", "\x0b", "\x85", "\u2028", "a\tb", "", " x", "ok"]
    lines = metadata_tsv(labels, labels).decode().splitlines()
    assert len(lines) == 9
    assert all(line.count("\t") == 1 for line in lines)
    assert metadata_tsv(["\n", "x"], []).decode() == "label\trow\n'\\n'\t0\nx\t1\n"
