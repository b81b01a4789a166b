"""scripts/bench/bench.py: its arithmetic and its words. The measured values are not tested."""

import json
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def rows(script):
    return script("rows")


@pytest.fixture(scope="module")
def bench(script, rows):
    return script("bench")


@pytest.fixture
def measurement(rows):
    """A measurement of two rows with given values, and the order in which they were asked for."""
    asked = []

    def values(kind, *pairs):
        remaining = iter(pairs)

        def measure(case):
            asked.append(kind)
            return next(remaining)

        return measure

    ours = values("ours", (2.0, 30.0), (9.0, 40.0), (3.0, 80.0))
    peer = values("peer", (4.0, 10.0), (3.0, 20.0), (10.0, 20.0))
    return rows.Measurement(
        (rows.Row("first", "a|b", 0.5), rows.Row("second", "two", 2.5, unit="B")), ours, peer
    ), asked


def test_ours_and_the_peer_alternate_and_the_ratio_is_the_median_of_the_pairs(bench, measurement, tmp_path):
    made, asked = measurement
    first, second = bench.measure(made, str(tmp_path), 3)
    assert asked == ["ours", "peer"] * 3
    assert first["pairs"] == [[2.0, 4.0], [9.0, 3.0], [3.0, 10.0]]
    assert first["ratio"] == pytest.approx(0.5)  # the median of 0.5, 3.0 and 0.3; the medians' own ratio is 3 / 4
    assert (first["ours"], first["peer"], first["goal"], first["met"]) == (3.0, 4.0, "<= 0.5", True)
    assert (second["ratio"], second["goal"], second["met"]) == (3.0, "<= 2.5", False)  # the median of 3, 2 and 4


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
