"""What TensorBoard's projector is given, asked for as its page asks."""

import json
import re
import urllib.request
from urllib.parse import quote

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard import program

from charlm.callbacks.embedding_pca.projector import metadata_tsv, send_to_projector, tensors_tsv


def trainer_with(*loggers):
    return pl.Trainer(accelerator="cpu", logger=list(loggers), enable_checkpointing=False)


def logger_in(folder):
    logger = TensorBoardLogger(folder, name="", version="run")
    logger.log_metrics({"loss": 1.0}, 0)
    return logger


def served(folder):
    """A function that asks a TensorBoard in this process for a page."""
    board = program.TensorBoard()
    board.configure(argv=[None, "--logdir", str(folder), "--host", "127.0.0.1", "--port", "0"])
    address = board.launch()

    def ask(page):
        with urllib.request.urlopen(f"{address}data/plugin/projector/{page}", timeout=20) as answer:
            return answer.read()

    return ask


TABLE = torch.tensor([[1.5, -2.0], [0.0, 1e-9], [3.25, 12345.678]])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_tensorboard_serves_every_table_with_its_labels_and_kinds(tmp_path):
    """A 2-column table gets a third one; a label of white space stays in its line; a second table is listed too."""
    logger = logger_in(tmp_path)
    trainer = trainer_with(logger, CSVLogger(tmp_path, "csv"))
    assert send_to_projector(trainer, "net.a", TABLE, ["\n", " ", "x"], ["u", "v\t", "u"]) == {}
    assert send_to_projector(trainer, "net.b/x", torch.ones(2, 5), ["p", ""], None) == {}
    logger.experiment.flush()
    ask = served(tmp_path)
    assert json.loads(ask("runs")) == ["run"]
    shapes = {e["tensorName"]: e["tensorShape"] for e in json.loads(ask("info?run=run"))["embeddings"]}
    assert shapes == {"net.a": [3, 3], "net.b/x": [2, 5]}
    tensor = torch.frombuffer(bytearray(ask("tensor?run=run&name=net.a")), dtype=torch.float32).view(3, 3)
    assert torch.allclose(tensor, torch.nn.functional.pad(TABLE, (0, 1)), rtol=1e-5)
    assert ask("metadata?run=run&name=net.a").decode() == "label\tkind\n'\\n'\tu\n' '\t'v\\t'\nx\tu\n"
    assert ask(f"metadata?run=run&name={quote('net.b/x')}").decode() == "label\trow\np\t0\n''\t1\n"


def test_a_new_writer_keeps_what_is_listed_and_takes_the_place_of_its_own(tmp_path):
    first = logger_in(tmp_path)
    first.experiment.add_embedding(torch.ones(3, 3), metadata=["a", "b", "c"], tag="users", global_step=7)
    send_to_projector(trainer_with(first), "net.a", TABLE, ["a", "b", "c"], None)
    first.experiment.close()
    send_to_projector(trainer_with(logger_in(tmp_path)), "net.a", 2 * TABLE, ["a", "b", "c"], None)
    listed = (tmp_path / "run" / "projector_config.pbtxt").read_text()
    assert re.findall(r'tensor_name: "(.*)"', listed) == ["users:00007", "net.a"]
    assert (tmp_path / "run" / "projector" / "net.a" / "tensors.tsv").read_text().startswith("3\t-4\t0\n")


def test_values_are_written_to_six_digits_and_three_columns():
    assert tensors_tsv(torch.tensor([[1 / 3, -1e-12, 0.0, 1e30]])) == b"0.333333\t-1e-12\t0\t1e+30\n"
    assert tensors_tsv(torch.ones(1, 1)) == b"1\t0\t0\n"


def test_every_row_is_one_line_whatever_its_label():
    labels = ["\r", "\x0b", "\x85", "\u2028", "a\tb", "", " x", "ok"]
    lines = metadata_tsv(labels, labels).decode()
    assert len(lines.splitlines()) == 9
    assert all(line.count("\t") == 1 for line in lines.splitlines())
