import csv
import io
import json
import math
import sys
from pathlib import Path

import pytest

from charlm.cli.commands.score import bracketed, score
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
    assert bracketed(NameScore(name, nats), guess=3.3) == shown


def test_a_line_has_the_name_its_nats_and_the_marks(write_run, capsys):
    write_run("Bigram")  # untrained: every character ln 27
    score(["emma", "jo"])
    header, emma, jo, mean = lines(capsys)
    assert header.split() == ["name", "nats/character", "nats", "surprising"]
    assert emma.split()[:3] == ["emma", f"{math.log(27):.4f}", f"{5 * math.log(27):.4f}"]
    assert jo.split()[:3] == ["jo", f"{math.log(27):.4f}", f"{3 * math.log(27):.4f}"]
    assert mean == f"mean over 2 names: {math.log(27):.4f} nats/character, {4 * math.log(27):.4f} nats a name"


def test_a_name_that_does_not_fit_gets_a_line_of_its_own_with_one_that_fits(write_run, capsys):
    write_run("Bigram")
    score(["emma", "Emma", "josé", "x-ä", "李明"])
    rows = [line.split(maxsplit=3) for line in lines(capsys)]
    nats = math.log(27)
    assert rows[2] == ["Emma", "-", "-", f"'E' is not in the alphabet; emma has {5 * nats:.1f} nats"]
    assert rows[3] == ["josé", "-", "-", f"'é' is not in the alphabet; jose has {5 * nats:.1f} nats"]
    assert rows[4] == ["x-ä", "-", "-", f"'-', 'ä' are not in the alphabet; xa has {3 * nats:.1f} nats"]
    assert rows[5] == ["李明", "-", "-", "'李', '明' are not in the alphabet"]
    assert " ".join(rows[6]).endswith(f"{nats:.4f} nats/character, {5 * nats:.4f} nats a name; 4 could not be scored")


def test_if_no_name_fits_the_status_is_1(write_run, capsys):
    write_run("Bigram")
    with pytest.raises(ValueError, match="no name could be scored; use a model that was trained on such") as error:
        score(["李"])
    assert error.value.exit_status == 1
    assert lines(capsys)[1].split()[0] == "李"


def test_a_name_may_be_too_long_for_the_model(write_run, monkeypatch, capsys):
    write_run("Bigram")
    monkeypatch.setattr("charlm.cli.commands.score.positions_of", lambda net: 5)
    score(["emma", "olivia"])
    assert lines(capsys)[2].split(maxsplit=3)[3] == "6 characters, and the model reads at most 4"


@pytest.mark.parametrize("format", ["json", "csv"])
def test_json_and_csv_have_the_rows_and_the_mean_is_apart(format, write_run, monkeypatch, capsys):
    monkeypatch.setattr("charlm.cli.commands.score._AT_ONCE", 2)
    score(["emma", "Eva", "jo"], str(write_run("Bigram")), format=format)
    shown = capsys.readouterr()
    text = shown.out.splitlines()
    rows = [json.loads(line) for line in text] if format == "json" else list(csv.DictReader(text))
    assert [row["name"] for row in rows] == ["emma", "Eva", "jo"]
    assert float(rows[2]["nats"]) == pytest.approx(3 * math.log(27), abs=1e-4)
    assert rows[1]["nats"] in (None, "")
    assert rows[1]["problem"].startswith("'E' is not in the alphabet; eva has ")
    assert shown.err.startswith("mean over 2 names: ")


def test_a_table_is_read_as_training_reads_it(write_run, tmp_path, capsys):
    run = str(write_run("Bigram"))
    (tmp_path / "data.csv").write_bytes("id;name\n1;emma\n2;mi\x07a\n3;jos\xe9\n".encode("cp1252"))
    with pytest.raises(ValueError, match=r"^data.csv, line 4: .* give its encoding, as in `encoding` cp1252"):
        score(["data.csv"], run, column=2)
    with pytest.raises(ValueError, match=r"^data.csv, line 3: .* or give `bad_lines` skip$"):
        score(["data.csv"], run, encoding="cp1252", column=2)
    with pytest.raises(ValueError, match=r"data.csv looks like a table: .* as in `column` name, or `column` 0"):
        score(["data.csv"], run, encoding="cp1252")
    score(["data.csv"], run, encoding="cp1252", column="name", bad_lines="skip")
    shown = capsys.readouterr()
    assert [line.split()[0] for line in shown.out.splitlines()[1:-1]] == ["emma", "josé"]
    assert shown.err.startswith(
        "data.csv: the names are column 2, 'name'; the line of titles is left out, 1 bad line skipped"
    )


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


def test_a_name_may_look_like_a_file_and_a_file_that_is_missing_is_no_name(write_run, tmp_path, capsys):
    write_run("Bigram", version="001-old")
    (tmp_path / "emma").write_text("mia\n")
    score(["emma", "./emma"])
    assert [line.split()[0] for line in lines(capsys)[1:-1]] == ["emma", "mia"]
    for file in ("gone.txt", "./gone"):
        with pytest.raises(FileNotFoundError, match="there is no names file gone"):
            score([file])
    score(["m/a"], checkpoint=str(write_run("Bigram", alphabet="am/")))
    assert lines(capsys)[1].startswith("m/a")


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
