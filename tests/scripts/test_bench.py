"""The scripts of scripts/bench measure what they say. The times depend on the machine and are not tested."""

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


def test_counting_measures_a_list_and_names_drawn_from_it(script, capsys, tmp_path):
    bench = script("counting")
    (tmp_path / "names.txt").write_text("\n".join(["ab", "ba", "abba", "baab", "aa", "bb"] * 20))
    for names, trained in ((0, range(60, 101)), (500, range(200, 501))):
        bench.main(str(tmp_path / "names.txt"), names, (1, 3))
        rows = [row.strip("| ").split(" | ") for row in capsys.readouterr().out.splitlines()[2:]]
        assert [row[0] for row in rows] == ["1", "3"]
        assert all(int(row[1].replace(",", "")) in trained and float(row[-1]) < 2 for row in rows)
        assert 3 * 3 >= int(rows[0][2]) < int(rows[1][2])


def test_sizes_measures_steps_and_starts(script, capsys, tmp_path, monkeypatch):
    bench = script("sizes")
    (tmp_path / "names.txt").write_text("\n".join(["ab", "ba", "abba", "baab", "aa", "bb"] * 3))
    few = [{"kind": "MLP", "batch_size": size} for size in (4, 8)]
    monkeypatch.setattr(bench, "STEPS", {"batch": few})
    monkeypatch.setattr(bench, "SECONDS", 0)
    bench.main(str(tmp_path / "names.txt"), (20, 60), ("batch", "NGram"))
    rows = [row.strip("| ").split(" | ") for row in capsys.readouterr().out.splitlines()]
    assert [row[:2] for row in rows if row[0] in ("batch", "NGram")] == [
        *(["batch", "4"], ["batch", "8"]),
        *(["NGram", "20"], ["NGram", "60"]),
    ]
    list_of_60 = bench.longer(tmp_path / "names.txt", 60)
    with open(list_of_60, encoding="utf-8") as file:
        names = file.read().splitlines()
    assert (len(names), names[:2], names[18:20]) == (60, ["ab", "ba"], ["aba", "baa"])


@pytest.mark.filterwarnings("ignore:Starting from v1.9.0")
def test_executions_measures_a_step_with_and_without_executions(script, capsys):
    script("executions").main(["linear", "byol"], pairs=1, seconds=0.05, accumulate=2)
    rows = [row.strip("| ").split(" | ") for row in capsys.readouterr().out.splitlines()[-2:]]
    assert [row[0] for row in rows] == ["linear layer, SGD", "BYOL on 28 x 28"]
    assert all(0 < float(value.removesuffix(" ms")) < 1000 for row in rows for value in row[1:])


def test_a_frame_of_all_rows_holds_all_of_the_variance_and_one_of_a_sample_nearly_all(script):
    bench = script("embedding_pca")
    small, large = bench.make_table(500, 20, 0.5), bench.make_table(30_000, 200, 0.5)
    for table, least in ((small, 1 - 1e-9), (large, 0.98)):
        rows = bench.choose_rows([], None, None, len(table), "table", max_rows=2000).drawn
        shown = bench.frame(table, rows, None)
        assert shown.points.shape == (min(len(table), 2000), 2)
        assert least < bench.share_held(table, shown.axes) < 1 + 1e-9
