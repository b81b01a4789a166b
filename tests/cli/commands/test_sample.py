import csv
import json
import math
import os
import re
import string
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from charlm.cli.commands.sample import sample
from charlm.data.splits import load_splits
from charlm.inference.sampling import sample_names
from charlm.runs.load_checkpoint import load_checkpoint


def lines(capsys):
    return capsys.readouterr().out.splitlines()


def sure_of(run, after):
    """Set the run's bigram: the logits after each id, of the boundary (0) or of letters from a (1) on."""
    path = run / "checkpoints" / "best.ckpt"
    content = torch.load(path, weights_only=True)
    weights = torch.full_like(content["state_dict"]["net.W"], -100.0)
    for before, chances in after.items():
        for follows, chance in chances.items():
            weights[before, follows] = math.log(chance)
    content["state_dict"]["net.W"] = weights
    torch.save(content, path)


def learnt_by_heart(run, name):
    """Make the run's bigram give one name only; its letters must differ."""
    ids = [0, *[ord(ch) - ord("a") + 1 for ch in name], 0]
    sure_of(run, {before: {after: 1.0} for before, after in pairwise(ids)})


def test_it_prints_the_names_that_the_library_draws_and_nothing_else(write_run, capsys):
    loaded = load_checkpoint(write_run())
    sample(n=7, seed=3, suffix="a", min_length=3)
    assert lines(capsys) == sample_names(loaded.net, loaded.tokenizer, 7, seed=3, suffix="a", min_length=3)


def test_each_call_has_a_new_seed_and_says_it(write_run, capsys):
    run = str(write_run())
    sample(run, n=9)
    first = capsys.readouterr()
    sample(run, n=9)
    assert lines(capsys) != first.out.splitlines()
    seed = re.fullmatch(r"seed (\d+); --seed \1 gives these names again\n", first.err)[1]
    sample(run, n=9, seed=int(seed))
    assert capsys.readouterr() == (first.out, "")


def test_a_sorted_sample_has_the_same_names(write_run, capsys):
    write_run("Bigram")
    sample(n=30, seed=1, log_prob=True)
    drawn = [line.split("\t") for line in lines(capsys)]
    for sort, key in (("name", lambda row: row[0]), ("length", lambda row: len(row[0]))):
        sample(n=30, seed=1, log_prob=True, sort=sort)
        assert [line.split("\t") for line in lines(capsys)] == sorted(drawn, key=key)
    sample(n=30, seed=1, sort="score", log_prob=True)
    scores = [float(line.split("\t")[1]) for line in lines(capsys)]
    assert scores == sorted(scores, reverse=True)


def test_json_and_csv_have_what_text_has(write_run, tmp_path, capsys):
    options = {"checkpoint": str(write_run("Bigram")), "n": 70, "seed": 1, "log_prob": True, "mark": True}
    sample(**options)
    text = [line.split("\t") for line in lines(capsys)]
    sample(format="json", **options)
    rows = [json.loads(line) for line in lines(capsys)]
    assert [[row["name"], f"{row['log_prob']:.2f}", row["mark"]] for row in rows] == text
    sample(format="csv", out="sub/names.csv", **options)
    assert capsys.readouterr() == ("", "Written to sub/names.csv\n")
    with open("sub/names.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [[row["name"], row["mark"]] for row in rows] == [[name, mark] for name, _, mark in text]
    assert [float(row["log_prob"]) for row in rows] == pytest.approx([float(row[1]) for row in text], abs=0.01)


def test_names_that_are_found_are_written_though_there_are_too_few(write_run, capsys):
    learnt_by_heart(write_run("Bigram"), "mia")
    os.mkfifo("pipe")  # which stays one, as does /dev/null
    reader = os.open("pipe", os.O_RDWR)
    with pytest.raises(ValueError, match=r"only 1 of [\d,]+ drawn names are distinct, and 2 were asked for"):
        sample(n=2, distinct=True, out="pipe")
    assert os.read(reader, 99) == b"mia\n"
    os.close(reader)
    Path("link").symlink_to("other.txt")  # which may lead out of a folder of somebody else
    sample(n=1, out="link")
    assert (Path("link").read_text(), Path("other.txt").exists()) == ("mia\n", False)
    with open("other.txt", "w") as shell:  # as in (echo before; charlm sample --out /dev/stdout) > other.txt
        print("before", file=shell, flush=True)
        sample(n=1, out=f"/dev/fd/{shell.fileno()}")
    assert Path("other.txt").read_text() == "before\nmia\n"
    with pytest.raises(
        ValueError, match=r"--out is \./other\.txt, a list of names that would be lost; give another file"
    ):
        sample(n=1, not_in="other.txt", out="./other.txt")
    with pytest.raises(ValueError, match="no name of at most 64 characters"):
        sample(suffix="zz", match="^z$", out="none.txt")
    assert not Path("none.txt").exists()


def test_names_in_a_file_are_not_drawn(write_run, tmp_path, capsys):
    sure_of(write_run("Bigram"), {0: {1: 0.5, 2: 0.4, 3: 0.1}, 1: {0: 1.0}, 2: {0: 1.0}, 3: {0: 1.0}})
    (tmp_path / "known.txt").write_bytes(b"a\n\xe9\n\0\n")
    (tmp_path / "known.csv").write_text("id,name\n1,b\n2,x\n")
    with pytest.raises(ValueError, match=r"line 2: byte 0xe9 is not UTF-8; .* as in `encoding` cp1252"):
        sample(n=50, not_in="known.txt")
    sample(n=50, not_in="known.txt", encoding="cp1252", bad_lines="skip", seed=0)
    assert set(lines(capsys)) == {"b", "c"}
    sample(n=50, not_in="known.csv", column="name", seed=0)
    assert set(lines(capsys)) == {"a", "c"}
    with pytest.raises(ValueError, match=r"known.csv looks like a table: .* as in `column` name, or `column` 0"):
        sample(n=50, not_in="known.csv")


def test_names_are_written_as_soon_as_they_are_drawn(write_run, monkeypatch, capsys):
    run = str(write_run())
    monkeypatch.setattr("charlm.inference.candidates._FIRST_BATCHES", (3, 3, 3))
    written = []
    monkeypatch.setattr("builtins.print", lambda text, **_: written.append(text.count("\n")))
    sample(run, n=7, seed=0)
    assert written == [3, 3, 1]


def test_names_of_the_other_splits_are_new(write_run, names_file, capsys):
    run = write_run("Bigram")
    splits = load_splits(str(names_file), alphabet="abcdefghijklmnopqrstuvwxyz", split=(0.6, 0.2, 0.2))
    held_out = next(name for name in splits.names("val") + splits.names("test") if len(set(name)) == len(name))
    learnt_by_heart(run, held_out)
    sample(n=1, mark=True, new_only=True)
    assert lines(capsys) == [f"{held_out}\tnew"]


def test_a_checkpoint_that_learnt_a_table_as_lines_still_knows_its_names(write_run, names_file, capsys):
    names_file.write_text(names_file.read_text().replace("\n", ",7\n"))
    write_run(alphabet=string.ascii_lowercase + ",7")
    sample(n=2, new_only=True)
    assert len(lines(capsys)) == 2


def test_log_probabilities_are_the_models_own_whatever_is_drawn_from(write_run, monkeypatch, capsys):
    """P(ab) = 1/2 * 1/4 = 1/8: a or b first, after a a b or the end; a cut "b" could have ended with 1/10."""
    run = write_run("Bigram")
    sure_of(run, {0: {1: 0.5, 2: 0.5}, 1: {0: 0.75, 2: 0.25}, 2: {0: 0.1, 3: 0.9}, 3: {3: 1.0}})
    monkeypatch.setattr("charlm.cli.commands.sample.longest_name", lambda checkpoint: 2)
    sample(n=200, seed=0, log_prob=True)
    assert set(lines(capsys)) == {
        f"a\t{math.log(0.5 * 0.75):.2f}",
        f"ab\t{math.log(0.5 * 0.25 * 0.1):.2f}",
        f"b\t{math.log(0.5 * 0.1):.2f}",
        f"bc\t{math.log(0.5 * 0.9) - 100:.2f}",
    }
    sample(n=40, log_prob=True, top_p=0.5, prefix="a", temperature=0.5, top_k=1)
    assert set(lines(capsys)) == {f"a\t{math.log(0.5 * 0.75):.2f}"}


def test_a_name_that_fills_all_positions_of_the_net_has_no_log_probability(write_run, capsys):
    write_run("Transformer", block_size=4, n_layer=1, n_head=1, n_embd=4)
    sample(n=300, log_prob=True, seed=0)
    shown = [line.split("\t") for line in lines(capsys)]
    lengths = {len(name) for name, _ in shown}
    assert min(lengths) < max(lengths) == 4
    assert all((logp == "-") == (len(name) == 4) for name, logp in shown)
    names = [name for name, _ in shown]
    sample(n=300, seed=0)
    assert lines(capsys) == names


@pytest.mark.parametrize(("data", "longest"), [({}, 64), ({"max_length": 9}, 9)])
def test_names_are_as_long_as_training_accepted_them(data, longest, write_run, capsys):
    sure_of(write_run("Bigram", data=data), {0: {1: 1.0}, 1: {1: 1.0}})
    sample(n=1)
    assert lines(capsys) == ["a" * longest]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda file: file.unlink(), "cannot be read: there is no names file"),
        (lambda file: file.write_text("emma\nava\nmia\nlia\nlea\nella\n"), "has changed since .* was trained on it"),
    ],
)
def test_without_the_training_names_there_are_no_marks(spoil, reason, write_run, names_file, capsys):
    run = str(write_run())
    spoil(names_file)
    with pytest.raises(ValueError, match=f"{reason}.*; or sample without --new-only"):
        sample(n=2, new_only=True, checkpoint=run)
    sample(n=2, mark=True, checkpoint=run)
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 2
    assert "\t" not in shown.out
    assert shown.err.startswith("new names cannot be told from others: ")
    sample(n=2, seed=0, checkpoint=run)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"alphabet": None}, "has another alphabet or other labels than"),
        ({"path": None}, "was trained on the names of an older charlm, which this one no longer has"),
        ({"split": [0.5, 0.5]}, "cannot be read: split is"),
        ({"path": "https://example.org/names.txt"}, r"names\.txt is an address.*; or sample without --new-only"),
    ],
)
def test_settings_that_do_not_give_the_training_names_are_refused(data, reason, write_run):
    write_run(data=data)
    with pytest.raises(ValueError, match=reason):
        sample(new_only=True)
