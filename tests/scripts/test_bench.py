"""scripts/bench/bench.py: its arithmetic and its words. The measured values are not tested."""

import json
import os
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parents[2]


def test_the_ratio_of_a_row_is_the_median_of_its_pairs(python, tmp_path):
    (tmp_path / "few.txt").write_text("emma\nolivia\nava\nisabella\nsophia\nmia\n" * 4)
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    options = ["--only", "contexts-3", "--pairs", "3", "--data", "few.txt", "--format", "markdown"]
    done = python(ROOT / "scripts/bench/bench.py", *options, PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "lightning_logs/bench.json").read_text())["rows"]
    assert (row["name"], len(row["pairs"])) == ("contexts-3", 3)
    assert min(min(pair) for pair in row["pairs"]) > 0
    assert row["ratio"] == pytest.approx(median(ours / peer for ours, peer in row["pairs"]))
    assert [row["ours"], row["peer"]] == pytest.approx([median(times) for times in zip(*row["pairs"], strict=True)])
    assert row["met"] == (row["ratio"] <= float(row["goal"].removeprefix("<= ")))
    assert done.stdout.splitlines()[2].startswith("| names to contexts of 3, all splits | ")
