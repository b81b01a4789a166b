"""scripts/bench/sizes.py measures what it says. The times depend on the machine and are not tested."""


def test_it_measures_steps_and_starts(script, capsys, tmp_path, monkeypatch):
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
