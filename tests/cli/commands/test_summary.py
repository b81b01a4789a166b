import csv
import io
import pickle
import re
import zipfile

import pytest

from charlm.cli.commands.summary import read_run, summary, summary_table
from charlm.cli.main import main
from charlm.runs.checkpoint_facts import checkpoint_facts
from charlm.runs.directory import write_results
from charlm.runs.load_checkpoint import load_checkpoint

COLUMNS = ["run", "model", "block_size", "n_embd", "n_hidden", "parameters", "train", "val", "test"]
ASKED = {"source": "x/names.txt", "sha256": "a" * 64, "names": 4002}


def rows(text):
    return {row[0]: row for row in csv.reader(io.StringIO(text))}


@pytest.fixture
def runs(write_run):
    """A bigram, two MLPs, and one of them without results."""
    bigram = write_run("Bigram", "version_0")
    small = write_run("MLP", "version_1", block_size=3, n_embd=2, n_hidden=5)
    lost = write_run("MLP", "version_2", block_size=3, n_embd=10, n_hidden=200)
    write_results(bigram, {"train": 2.451, "val": 2.46, "test": 2.47, "checkpoint": "best.ckpt", "step": 12})
    write_results(small, {"train": 2.1, "val": 2.2, "test": None})
    return bigram, small, lost


@pytest.fixture
def trained(write_run):
    """Runs of this charlm on two lists of names: (settings, results) by name."""

    def trained(**runs):
        for name, (settings, results) in runs.items():
            every = {"data.path": "names.txt", "model": "MLP", "step_decay.gamma": 0.1, **settings}
            sizes = {"block_size": 3, "n_embd": 2, "n_hidden": 5}
            run = write_run("MLP", name.replace("_", "-"), **sizes)
            write_results(run, {"train": 2.1, "test": 2.2, **sizes, **ASKED, "settings": every, **results})

    return trained


def test_the_losses_of_a_few_labels_are_shown_and_those_of_many_are_not(trained, capsys):
    few, many = ({f"L{number}": 2.0 + number for number in range(count)} for count in (2, 13))
    trained(r001=({}, {"val": 2.1, "val_by_label": few}), r002=({}, {"val": 2.1, "val_by_label": many}))
    summary(["r001", "r002"])
    out = capsys.readouterr().out
    assert re.search(r"val L0 +val L1 ", out)
    assert "L2" not in out


def test_what_runs_have_in_common_is_said_once_and_the_best_is_marked(trained, capsys):
    better, worse = {"val": 2.1, "step": 60, "ended": 80, "new": 0.9}, {"val": 2.3, "step": 80, "ended": 80, "new": 0.9}
    note = {"note": "a bold \x1b try"}
    trained(r001_mlp=({"model.lr": 0.1}, worse), r002_fast=({"model.lr": 0.0273}, better | note))
    summary()
    assert capsys.readouterr().out.splitlines() == [
        "names.txt (4,002 names): model MLP, block_size 3, n_embd 2, n_hidden 5,",
        "parameters 251, gamma 0.1, steps 80, new 90%",
        "",
        "run        lr      best_step   train     val    test",
        "r002-fast  0.0273         60  2.1000  2.1000  2.2000  *",
        "r001-mlp   0.1            80  2.1000  2.3000  2.2000",
        "",
        r"r002-fast: a bold \x1b try",
    ]
    summary(sort="lr")
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[4:6]] == ["r002-fast", "r001-mlp"]
    summary(sort="run")
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[4:6]] == ["r001-mlp", "r002-fast"]
    with pytest.raises(ValueError, match=r"--sort is 'vall'; the columns are run, train, .*lr.*Did you mean val\?"):
        summary(sort="vall")


def test_runs_on_different_lists_or_splits_have_a_table_each(trained, capsys):
    other = {"sha256": "b" * 64, "names": 99}
    trained(a=({}, {"val": 2.3}), b=({}, {"val": 1.0, **other}), c=({"data.path": "copy.txt"}, {"val": 2.4}))
    trained(d=({"data.split_by": "pair"}, {"val": 1.1}))
    summary()
    tables = capsys.readouterr().out.split("\n\n")
    assert [text.partition(":")[0] for text in tables[::2]] == [
        "names.txt (99 names)",
        "names.txt (4,002 names, split_by pair)",
        "names.txt (4,002 names)",
    ]
    assert [re.findall(r"^\w\b.*[*\d]$", text, re.MULTILINE) for text in tables[1::2]] == [
        ["b    2.1000  1.0000  2.2000  *"],
        ["d    2.1000  1.1000  2.2000  *"],
        ["a    2.1000  2.3000  2.2000  *", "c    2.1000  2.4000  2.2000"],
    ]
    summary(csv=True)
    found = rows(capsys.readouterr().out)
    assert list(found) == ["run", "b", "d", "a", "c"]
    assert [row[-2] for row in found.values()][1:4:2] == ["names.txt (99 names)", "names.txt (4,002 names)"]


def test_in_80_columns_those_that_matter_most_stay_and_csv_has_all(trained, capsys):
    many = [{f"data.very_long_option_{i}": i + run for i in range(5)} | {"model.lr": run} for run in range(2)]
    trained(r001_mlp=(many[0], {"val": 2.1, "seconds": 3.5}), r002_mlp=(many[1], {"val": 2.2, "seconds": 4.5}))
    summary()
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    assert re.search(r"^run +very_long_option_0 +very_long_option_1 +lr +train +val +test$", said, re.MULTILINE)
    assert "Not shown here: seconds, very_long_option_4, very_long_option_3," in said
    summary(format="csv")
    header, *_ = csv.reader(io.StringIO(capsys.readouterr().out))
    assert {"seconds", "very_long_option_4", "lr"} <= set(header)


def test_runs_of_an_older_charlm_have_their_sizes_and_losses_the_best_first(runs, capsys):
    summary(format="csv")
    assert [row[:9] for row in rows(capsys.readouterr().out).values()] == [
        COLUMNS,
        ["version_1", "MLP", "3", "2", "5", str(27 * 2 + 6 * 5 + 5 + 5 * 27 + 27), "2.1", "2.2", ""],
        ["version_0", "Bigram", "1", "", "", "729", "2.451", "2.46", "2.47"],
        ["version_2", "MLP", "3", "10", "200", "11897", "", "", ""],
    ]


def test_a_damaged_checkpoint_leaves_its_results(runs):
    (runs[0] / "checkpoints" / "best.ckpt").write_bytes(b"")
    row = summary_table([runs[0]]).rows[0]
    assert row == ["version_0", None, None, 2.451, 2.46, 2.47]


def test_without_a_report_only_a_best_checkpoint_tells_the_best_step(write_run):
    checkpoint = write_run() / "checkpoints" / "best.ckpt"
    assert read_run(checkpoint.parents[1]).facts["best_step"] == 12
    checkpoint.rename(checkpoint.with_name("last.ckpt"))
    assert "best_step" not in read_run(checkpoint.parents[1]).facts


def test_results_of_another_make_are_unknown(runs, capsys):
    odd = {"val": [2.0], "train": {"a": 1}, "test": 2, "n_embd": None, "settings": [1], "names": "x", "sha256": 3}
    write_results(runs[1], odd)
    summary(csv=True)
    assert rows(capsys.readouterr().out)["version_1"][1:9] == ["MLP", "3", "", "5", "251", "", "", "2"]


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
    assert checkpoint_facts(file) == {**facts, "step": 12, "sha256": load_checkpoint(file).data_sha256}
    for content in (pickle.dumps({"charlm": print}), b""):
        with zipfile.ZipFile(tmp_path / "other.ckpt", "w") as archive:
            archive.writestr("archive/data.pkl", content)
        with pytest.raises(ValueError, match="is not a checkpoint"):
            checkpoint_facts(tmp_path / "other.ckpt")
