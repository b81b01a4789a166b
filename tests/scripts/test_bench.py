"""scripts/bench/bench.py: its arithmetic and its words; no figure is tested, for they are the machine's."""

import json
import os
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def rows(script):
    return script("bench_rows")


@pytest.fixture(scope="module")
def bench(script, rows):
    return script("bench")


@pytest.fixture
def measurement(rows):
    """Values that were written down in place of measured ones: of two rows, and the order they were asked for."""
    asked = []

    def values(kind, *pairs):
        remaining = iter(pairs)

        def measure(case):
            asked.append(kind)
            return next(remaining)

        return measure

    ours = values("ours", (2.0, 30.0), (9.0, 40.0), (3.0, 80.0))
    peer = values("peer", (4.0, 10.0), (3.0, 20.0), (10.0, 20.0))
    two = (rows.Row("first", "a|b", 0.5), rows.Row("second", "two", 2.5, unit="/s", at_least=True))
    return rows.Measurement(two, ours, peer), asked


def test_ours_and_the_peer_take_turns_and_the_ratio_is_the_median_of_the_pairs(bench, measurement, tmp_path):
    made, asked = measurement
    first, second = bench.measure(made, str(tmp_path), 3)
    assert asked == ["ours", "peer"] * 3
    assert first["pairs"] == [[2.0, 4.0], [9.0, 3.0], [3.0, 10.0]]
    assert first["ratio"] == pytest.approx(0.5)  # of 0.5, 3.0 and 0.3; the medians' own ratio is 3 / 4
    assert (first["ours"], first["peer"], first["goal"], first["met"]) == (3.0, 4.0, "<= 0.5", True)
    assert (second["ratio"], second["goal"], second["met"]) == (3.0, ">= 2.5", True)  # of 3, 2 and 4


@pytest.mark.parametrize(
    ("settings", "pairs", "expected"),
    [
        pytest.param({"goal": 0.4}, [(1, 2)], {"ratio": 0.5, "goal": "<= 0.4", "met": False}, id="missed"),
        pytest.param({"goal": None}, [(1, 2)], {"ratio": 0.5, "goal": "-", "met": True}, id="for information"),
        pytest.param(
            {"goal": 2.5, "at_least": True}, [(4, 2)], {"ratio": 2.0, "goal": ">= 2.5", "met": False}, id="too slow"
        ),
        pytest.param(
            {"goal": 0.15, "difference": True},
            [(0.3, 0.2), (0.5, 0.1)],
            {"difference": pytest.approx(0.25), "goal": "<= 0.15 s", "met": False},
            id="difference",
        ),
    ],
)
def test_a_goal_is_met_or_missed(bench, rows, settings, pairs, expected):
    made = bench.compare(rows.Row("name", "what", **settings), pairs)
    assert {key: made[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (12.345, "s", "12.3 s"),
        (0.1234, "s", "123 ms"),
        (0.0000456, "s", "45.6 us"),
        (1234.5, "s", "1,234 s"),
        (24_912_345, "B", "24.9 MB"),
        (1_234_567.8, "/s", "1,234,568 /s"),
        (-0.002, "s", "-2.00 ms"),
        (0, "s", "0 us"),
    ],
)
def test_values_have_three_digits_and_a_unit(bench, value, unit, text):
    assert bench.spell(value, unit) == text


def run_main(bench, measurements, tmp_path, monkeypatch, **options):
    """The exit status and the JSON of a benchmark of other measurements."""
    monkeypatch.setattr(bench, "MEASUREMENTS", measurements)
    out = tmp_path / "new" / "bench.json"
    only = [row.name for measurement in measurements for row in measurement.rows]
    status = bench.main(**{"out": str(out), "pairs": 3, "only": only} | options)
    return status, json.loads(out.read_text())


@pytest.mark.parametrize("format", ["text", "markdown"])
def test_the_table_is_what_the_json_holds(bench, measurement, tmp_path, monkeypatch, capsys, format):
    status, report = run_main(bench, [measurement[0]], tmp_path, monkeypatch, format=format)
    assert status == 0
    lines = capsys.readouterr().out.splitlines()
    split = {"text": r" {2,}", "markdown": r"(?<!\\) ?\| ?"}[format]
    cells = [[cell for cell in re.split(split, line) if cell] for line in lines if "---" not in line]
    assert cells[0] == ["what", "ours", "notebook or peer", "ratio", "goal"]
    bar = "\\|" if format == "markdown" else "|"
    assert cells[1] == [f"a{bar}b", "3.00 s", "4.00 s", "0.500", "<= 0.5"]
    assert cells[2] == ["two", "40.0 /s", "20.0 /s", "3.000", ">= 2.5"]
    for row, shown in zip(report["rows"], cells[1:], strict=True):
        assert [f"{row['ours']:.3g}", f"{row['ratio']:.3f}", row["goal"]] == [
            f"{float(shown[1].split()[0]):.3g}",
            *shown[3:],
        ]
    assert [row["pairs"] for row in report["rows"]] == [[[2, 4], [9, 3], [3, 10]], [[30, 10], [40, 20], [80, 20]]]
    assert set(report["machine"]) == {"cpu", "cores", "system", "python", "torch", "lightning", "date"}
    assert all(report["machine"].values())


def test_rows_that_were_not_asked_for_are_left_out(bench, measurement, tmp_path, monkeypatch, capsys):
    _, report = run_main(bench, [measurement[0]], tmp_path, monkeypatch, only=["second"])
    assert [row["name"] for row in report["rows"]] == ["second"]
    assert "a|b" not in capsys.readouterr().out


def test_a_row_that_fails_is_said_and_the_others_go_on(bench, rows, measurement, tmp_path, monkeypatch, capsys):
    command = [sys.executable, "-c", "raise SystemExit('no such thing')"]
    processes = sys.modules["bench_processes"]
    failing = rows.Measurement(
        (rows.Row("bad", "what fails", 1),), lambda case: processes.run(command), lambda case: [1]
    )
    status, report = run_main(bench, [failing, measurement[0]], tmp_path, monkeypatch)
    assert status == 1
    assert report["rows"][0]["error"] == "exit status 1: no such thing (RuntimeError)"
    assert report["rows"][1]["ratio"] == 0.5
    out, err = capsys.readouterr()
    assert re.search(r"^what fails +failed +- +- +-$", out, re.M)
    assert "bad failed: exit status 1: no such thing (RuntimeError)\n" in err


def test_a_measured_process_has_a_folder_of_its_own_and_no_number_of_threads(bench, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    code = "import os; print(os.environ.get('OMP_NUM_THREADS'), os.environ.get('MINE'), os.listdir())"
    run = sys.modules["bench_processes"].run
    assert run([sys.executable, "-c", code]).output == "None None []\n"
    assert run([sys.executable, "-c", code], OMP_NUM_THREADS="2", MINE="here").output == "2 here []\n"


def test_the_loss_has_to_be_reached(rows, monkeypatch, tmp_path):
    done = sys.modules["bench_processes"].Done
    case = rows.Case("names.txt", tmp_path)
    for loss, expected in ((2.12, [6.5]), (2.121, None)):
        monkeypatch.setattr(rows, "charlm", lambda *args, loss=loss: done(6.5, "", {"val": loss}))
        if expected:
            assert rows.time_to_loss(case) == expected
        else:
            with pytest.raises(RuntimeError, match=r"the val loss is 2\.1210, and not 2\.12 as on names\.txt"):
                rows.time_to_loss(case)


@pytest.mark.parametrize("text", ["ab\ncde\nf\n", "ab\ncde\nf"])
def test_a_list_is_repeated_to_the_line(rows, tmp_path, text):
    names = tmp_path / "names.txt"
    names.write_text(text)
    file = rows.repeated(rows.Case(str(names), tmp_path), 7)
    assert file.read_text() == "ab\ncde\nf\n" * 2 + "ab\n"


def test_every_row_has_a_name_of_its_own_and_a_goal_or_a_dash(bench, rows):
    found = [row for measurement in rows.MEASUREMENTS for row in measurement.rows]
    assert len({row.name for row in found}) == len({row.what for row in found}) == len(found) == 21
    assert [row.name for row in found if bench.goal(row) == "-"] == ["lightning"]
    assert all(re.fullmatch(r"-|(<=|>=) \d+(\.\d+)?( s)?", bench.goal(row)) for row in found)
    longest = "  1,234,567 /s  notebook or peer  123.456  <= 1.15, missed"
    assert max(len(row.what) for row in found) + len(longest) <= bench.WIDTH


@pytest.mark.slow
def test_a_real_row_from_the_command_line(python, tmp_path):
    (tmp_path / "few.txt").write_text("emma\nolivia\nava\nisabella\nsophia\nmia\n" * 4)
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    options = ["--only", "contexts-3", "--pairs", "1", "--data", "few.txt", "--format", "markdown"]
    done = python(ROOT / "scripts/bench/bench.py", *options, PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "lightning_logs/bench.json").read_text())["rows"]
    assert row["name"] == "contexts-3"
    assert min(row["pairs"][0]) > 0
    assert done.stdout.splitlines()[2].startswith("| names to contexts of 3, all splits | ")
    assert done.stderr == "contexts-3 .\n"


def test_without_options_all_rows_are_measured_on_the_bundled_names(bench, rows, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bench.py"])
    given = bench.command_line()
    assert (given["only"], given["data"], given["pairs"]) == (list(rows.NAMES), None, 5)


def test_a_row_that_does_not_exist_is_refused(python):
    done = python(ROOT / "scripts/bench/bench.py", "--only", "fastest")
    assert done.returncode == 2
    assert "fastest" in done.stderr
