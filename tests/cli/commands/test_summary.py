import csv
import io
import pickle
import zipfile
from pathlib import Path

import pytest

from charlm.cli.commands.summary import FACTS, summary, summary_table
from charlm.cli.main import main
from charlm.runs.checkpoint_facts import checkpoint_facts
from charlm.runs.directory import write_results

COLUMNS = ["run", "model", "block_size", "n_embd", "n_hidden", "parameters", "train", "val", "test"]


@pytest.fixture
def runs(write_run):
    """A bigram, two MLPs, and one of them without results."""
    bigram = write_run("Bigram", "version_0")
    small = write_run("MLP", "version_1", block_size=3, n_embd=2, n_hidden=5)
    lost = write_run("MLP", "version_2", block_size=3, n_embd=10, n_hidden=200)
    write_results(bigram, {"train": 2.451, "val": 2.46, "test": 2.47, "checkpoint": "best.ckpt", "step": 12})
    write_results(small, {"train": 2.1, "val": 2.2, "test": None})
    return bigram, small, lost


def test_the_table_has_sizes_and_losses_the_best_first(runs, capsys):
    summary(format="csv")
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert rows == [
        COLUMNS,
        ["version_1", "MLP", "3", "2", "5", str(27 * 2 + 6 * 5 + 5 + 5 * 27 + 27), "2.1000", "2.2000", ""],
        ["version_0", "Bigram", "1", "", "", "729", "2.4510", "2.4600", "2.4700"],
        ["version_2", "MLP", "3", "10", "200", "11897", "", "", ""],
    ]


def test_runs_of_the_same_name_are_told_apart_by_their_path(write_run, capsys):
    write_run("Bigram", "one/version_0")
    write_run("Bigram", "two/version_0")
    summary(format="csv")
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == ["lightning_logs/one/version_0", "lightning_logs/two/version_0"]


def test_a_damaged_checkpoint_leaves_its_results(runs):
    (runs[0] / "checkpoints" / "best.ckpt").write_bytes(b"")
    row = summary_table([runs[0]]).rows[0]
    assert row == ["version_0", *[None] * len(FACTS), 2.451, 2.46, 2.47]


def test_damaged_results_cost_the_losses_of_their_run_only(runs, capsys):
    (runs[1] / "results.json").write_text("[1]")
    summary()
    shown = capsys.readouterr()
    rows = {line.split()[0]: line.split()[1:] for line in shown.out.splitlines()[1:]}
    assert rows["version_1"] == ["MLP", "3", "2", "5", "251", "-", "-", "-"]
    assert rows["version_0"][-3:] == ["2.4510", "2.4600", "2.4700"]
    assert len(rows) == 3
    file = Path("lightning_logs/version_1/results.json")
    assert shown.err == f"{file} is not a table of results in JSON; delete it, or write it again\n"


def test_results_of_another_make_are_unknown(runs, capsys):
    write_results(runs[1], {"val": [2.0], "train": {"a": 1}, "test": 2, "n_embd": None})
    summary()
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("version_1"))
    assert row.split()[1:] == ["MLP", "3", "2", "5", "251", "-", "-", "2"]


def test_without_runs_the_message_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="lightning_logs is not a directory; train one with `charlm fit`"):
        summary()
    with pytest.raises(FileNotFoundError, match="holds no run"):
        summary([str(tmp_path)])


def test_results_and_names_of_runs_cannot_steer_a_terminal(write_run, capsys):
    for name, text in {"v\x1b1": '{"model": "\\u001b[2J\\u001b]0;owned\\u0007"}', "v\x1b2": "[1]"}.items():
        (write_run("Bigram", name) / "results.json").write_text(text)
    main(["summary"])
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    assert r"\x1b[2J" in said.out
    assert r"v\x1b2/results.json is not a table of results in JSON" in said.err


def test_a_checkpoint_is_summed_up_without_torch_and_with_little_memory(write_run, tmp_path):
    facts = {"model": "MLP", "block_size": 3, "parameters": 11897, "n_embd": 10, "n_hidden": 200}
    file = write_run("MLP", block_size=3, n_embd=10, n_hidden=200) / "checkpoints" / "best.ckpt"
    assert checkpoint_facts(file) == facts
    bombs = [pickle.dumps({"charlm": print}), b"\x80\x02r\xff\xff\xff\x7f.", b"\x80\x05\x96" + b"\xff" * 6 + b"\0\0."]
    for content in (*bombs, b""):
        with zipfile.ZipFile(tmp_path / "bomb.ckpt", "w") as archive:
            archive.writestr("archive/data.pkl", content)
        with pytest.raises(ValueError, match="is not a checkpoint"):
            checkpoint_facts(tmp_path / "bomb.ckpt")
