import io
import math
import sys
from pathlib import Path

import pytest

from charlm.cli.commands.score import marked, score
from charlm.inference.scoring import NameScore


def lines(capsys):
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("name", "nats", "shown"),
    [
        ("emqa", [1.0, 2.0, 1.0, 1.0, 2.5], "emqa[.]"),
        ("emqa", [1.0, 1.0, 6.0, 5.0, 3.3], "em[q][a][.]"),
        ("emma", [1.0, 1.0, 1.0, 1.0, 0.0], "[e][m][m][a]"),
        ("st.", [1.0, 1.0, 9.0, 1.0], "st[.]"),
        ("कि", [1.0, 2.0, 1.0], "क[\u25ccि]"),
        ("किं", [1.0, 1.0, 1.0, 2.0], "किं[.]"),
        ("x\u0302\u0323", [1.0, 2.0, 1.0, 1.0], "x[\u25cc\u0302]\u25cc\u0323"),
    ],
)
def test_the_most_surprising_characters_stand_in_brackets(name, nats, shown):
    assert marked(NameScore(name, nats), guess=3.3) == shown


def test_a_line_has_the_name_its_nats_and_the_marks(write_run, capsys):
    write_run("Bigram")  # untrained: every character ln 27
    score(["emma", "jo"])
    header, emma, jo, mean = lines(capsys)
    assert header.split() == ["name", "nats/character", "nats", "surprising"]
    assert emma.split()[:3] == ["emma", f"{math.log(27):.4f}", f"{5 * math.log(27):.4f}"]
    assert jo.split()[:3] == ["jo", f"{math.log(27):.4f}", f"{3 * math.log(27):.4f}"]
    assert mean == f"mean over 2 names: {math.log(27):.4f} nats/character, {4 * math.log(27):.4f} nats a name"


def test_many_names_are_scored_and_printed_part_by_part_as_if_at_once(write_run, monkeypatch, capsys):
    write_run("MLP", block_size=3, n_embd=2, n_hidden=5)
    names = ["emma", "ava", "jo", "mia", "eva"]
    score(names)
    whole = lines(capsys)
    monkeypatch.setattr("charlm.cli.commands.score._AT_ONCE", 2)
    score(names)
    assert lines(capsys) == whole


def test_names_files_and_standard_input_can_be_mixed(write_run, tmp_path, monkeypatch, capsys):
    write_run()
    (tmp_path / "few.txt").write_text("\ufeffmia\r\n\r\n lia \n")
    monkeypatch.setattr(sys, "stdin", io.StringIO("eva\n\n  ida\n"))
    score(["emma", "few.txt", "-"])
    assert [line.split()[0] for line in lines(capsys)[1:-1]] == ["emma", "mia", "lia", "eva", "ida"]


def test_a_name_may_be_called_like_a_file(write_run, tmp_path, capsys):
    write_run()
    (tmp_path / "emma").write_text("mia\n")
    score(["emma"])
    assert lines(capsys)[1].startswith("emma")
    score(["./emma"])
    assert lines(capsys)[1].startswith("mia")


@pytest.mark.parametrize("file", ["gone.txt", "./gone"])
def test_a_file_that_is_not_there_is_not_taken_for_a_name(file, write_run):
    write_run()
    with pytest.raises(FileNotFoundError, match="there is no names file gone"):
        score([file])


def test_a_name_with_a_slash_is_a_name_where_the_alphabet_has_one(write_run, tmp_path, capsys):
    write_run("Bigram", alphabet="a/s.")
    (tmp_path / "sass").write_text("sas\n")
    score(["a/s", "./sass"])
    assert [line.split()[0] for line in lines(capsys)[1:-1]] == ["a/s", "sas"]


def test_a_file_may_have_names_as_long_as_those_in_training(write_run, tmp_path, capsys):
    (tmp_path / "long.txt").write_text("a" * 100 + "\n")
    write_run("Bigram", data={"max_length": 100})
    score(["long.txt"])
    assert lines(capsys)[1].startswith("a" * 100 + " ")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\n \n", "there are no names to score"), (b"mi\xff\n", "standard input is not utf-8 text")],
)
def test_standard_input_without_names_or_that_is_not_text_is_refused(content, message, write_run, monkeypatch):
    write_run()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))
    with pytest.raises(ValueError, match=message):
        score(["-"])


@pytest.mark.parametrize(
    ("named", "said"),
    [(None, True), ("lightning_logs", True), ("2", False), ("lightning_logs/002-b/checkpoints/best.ckpt", False)],
)
def test_a_run_that_the_user_did_not_name_is_named_on_stderr(named, said, write_run, capsys):
    write_run("Bigram", version="002-b")
    score(["emma"], checkpoint=named)
    newest = f"From the newest run, {Path('lightning_logs/002-b')} (Bigram, step 12)\n"
    assert capsys.readouterr().err.removeprefix(str(Path.cwd())) == newest * said
