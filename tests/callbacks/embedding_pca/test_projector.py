"""What TensorBoard's projector is given; tests/dashboard opens its page."""

import lightning.pytorch as pl
import pytest
import torch
from google.protobuf import text_format
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from charlm.callbacks.embedding_pca.projector import markers_of, send_to_projector


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
    assert send_to_projector(trainer, "net.a", TABLE, ["a", "b", "c"], ["u", "v", "u"], 7) == {}
    assert send_to_projector(trainer, "net.b/x", torch.ones(2, 5), ["p", "q"], [], 7) == {}
    assert listed(tmp_path) == {"net.a:00007": (3, 3, "label\tkind"), "net.b/x:00007": (2, 5, "label\trow")}


@pytest.mark.parametrize("place", ["projector_config.pbtxt", "00007"])
def test_nothing_is_written_through_a_link(tmp_path, place):
    logger, outside = logger_in(tmp_path), tmp_path / "outside"
    outside.mkdir() if place == "00007" else outside.write_text("mine")
    (tmp_path / "run" / place).symlink_to(outside)
    (error,) = send_to_projector(trainer_with(logger), "net", TABLE, ["a", "b", "c"], [], 7).values()
    assert "is a link" in str(error)
    assert not list(outside.iterdir()) if outside.is_dir() else outside.read_text() == "mine"


def test_every_row_is_one_line_whatever_its_label(tmp_path):
    labels = ["\r", "\x0b", "\x85", "\u2028", "a\tb", "", " x", "\n", "ok"]
    send_to_projector(trainer_with(logger_in(tmp_path)), "net", torch.ones(9, 3), labels, labels, 0)
    lines = (tmp_path / "run" / "00000" / "net" / "metadata.tsv").read_text().splitlines()
    assert len(lines) == 10
    assert all(line.count("\t") == 1 for line in lines)
    assert lines[-2:] == ["'\\n'\t'\\n'", "ok\tok"]


def test_a_letter_has_a_mark_in_the_colour_of_its_kind_and_words_have_none():
    markers = markers_of(["a", "b", "."], ["vowel", "consonant", "boundary"])
    assert markers.shape == (3, 3, 48, 48)
    colors = [(213, 94, 0), (0, 114, 178), (0, 0, 0)]
    for marker, color in zip(markers, colors, strict=True):
        colored = (marker * 255 - torch.tensor(color)[:, None, None]).abs().amax(0) < 1
        assert 0.2 < colored.float().mean() < 0.8
        assert marker[:, 0, 0].tolist() == pytest.approx([1, 1, 1])
    assert markers_of(["word", "b"], []) is None
