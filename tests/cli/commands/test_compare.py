import json
import re

import pytest
from matplotlib.image import imread
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from charlm.cli.commands.compare import compare
from charlm.cli.commands.plot import plot

CONFIG = "model:\n  class_path: charlm.LitMLP\n  init_args:\n    n_hidden: {n_hidden}\n    lr: 0.1\n"


@pytest.fixture
def write(write_run):
    """Write a run with a checkpoint, curves and results."""

    def write(name, val, **sizes):
        run = write_run(version=name, **sizes)
        (run / "config.yaml").write_text(CONFIG.format(**sizes))
        (run / "results.json").write_text(json.dumps({"val": val, "train": 2.0, "step": 12, "sha256": "of names"}))
        with SummaryWriter(str(run)) as writer:
            for step in range(4):
                writer.add_scalar("loss/train", 3.0 - step / 10, step)
                writer.add_scalar("loss/val", val + 0.3 - step / 10, step)
        return run

    return write


@pytest.fixture
def two(write):
    return write("001-mlp", 2.5, n_hidden=20), write("002-mlp-hidden40", 2.25, n_hidden=40)


def page(run):
    """The text and the pictures that TensorBoard has of a comparison."""
    events = EventAccumulator(str(run)).Reload()
    (text,) = events.Tensors("compare/text_summary")
    return text.tensor_proto.string_val[0].decode(), events.Images("compare/losses")


def test_what_differs_stands_side_by_side(two, tmp_path, capsys):
    compare(["1", "2"], n=3)
    out = capsys.readouterr().out
    settings, losses, names, places = (part.splitlines() for part in re.split(r"\n\n(?=\S.*:\n|Picture)", out))
    rows = {line.split("  ")[0]: line.split()[1:] for line in [*settings[2:], *losses[2:]]}
    assert settings[2].split() == ["001-mlp", "002-mlp-hidden40"]
    assert rows["n_hidden"] == ["20", "40"]
    assert "lr" not in rows, "it does not differ"
    assert rows["val"] == ["2.5000", "2.2500"]
    assert rows["val above the lowest"][-2:] == ["0.2500", "0.0000"]
    assert len(names) == 3 + 3
    assert imread("compare.png").shape[2] == 4
    assert max(map(len, out.splitlines()[:-1])) <= 80
    assert places[-1] == "TensorBoard  lightning_logs/compare-001-002"


def test_tensorboard_gets_the_tables_and_the_picture_as_a_run_of_its_own_once(two, capsys):
    for _ in range(2):
        compare(["001-mlp", str(two[1])], n=3)
    text, pictures = page(two[0].parent / "compare-001-002")
    assert "| n_hidden | 20 | 40 |" in text.replace("n&#95;hidden", "n_hidden")
    assert len(pictures) == 1
    plot([str(two[0].parent)], out="all.svg")
    assert "compare" not in capsys.readouterr().err, "it is no run without losses"


def test_losses_of_different_lists_are_not_compared_and_a_run_without_a_checkpoint_has_no_names(write, capsys):
    runs = write("001-mlp", 2.5, n_hidden=20), write("003-mlp", 2.25, n_hidden=40)
    (runs[1] / "results.json").write_text(json.dumps({"val": 2.0, "sha256": "of others", "parameters": 3}))
    (runs[1] / "checkpoints" / "best.ckpt").unlink()
    compare([str(run) for run in runs], out="picture.svg")
    out, err = capsys.readouterr()
    assert "not to be compared: the names or their splits differ" in out
    assert "above the lowest" not in out
    assert "no names of 003-mlp" in err


def test_mistakes_are_a_sentence(two, capsys):
    with pytest.raises(ValueError, match="compare takes 2 to 6 runs, not 1; `charlm summary`"):
        compare(["1", "001-mlp"])
    with pytest.raises(FileNotFoundError, match="nowhere is not a directory"):
        compare(["1", "nowhere"])
    with pytest.raises(ValueError, match="has no known format"):
        compare(["1", "2"], out="picture.doc")
