"""scripts/bench/counting.py counts what it says. The times depend on the machine and are not tested."""


def test_it_measures_a_list_and_names_drawn_from_it(script, capsys, tmp_path):
    bench = script("counting")
    (tmp_path / "names.txt").write_text("\n".join(["ab", "ba", "abba", "baab", "aa", "bb"] * 20))
    for names, trained in ((0, range(60, 101)), (500, range(200, 501))):
        bench.main(str(tmp_path / "names.txt"), names, (1, 3))
        rows = [row.strip("| ").split(" | ") for row in capsys.readouterr().out.splitlines()[2:]]
        assert [row[0] for row in rows] == ["1", "3"]
        assert all(int(row[1].replace(",", "")) in trained and float(row[-1]) < 2 for row in rows)
        assert 3 * 3 >= int(rows[0][2]) < int(rows[1][2])
