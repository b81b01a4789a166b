import csv
import io

from charlm.cli.table import Table, render

TABLE = Table(("run", "model", "loss", "size"), [("a|b", "MLP", 2.19996, 11897), ("a, c", None, None, 7)])


def test_text_is_aligned_numbers_to_the_right():
    assert render(TABLE).splitlines() == [
        "run   model    loss    size",
        "a|b   MLP    2.2000  11,897",
        "a, c  -           -       7",
    ]
    assert render(Table(("run", "loss"), [])) == "run  loss"
    assert render(Table(("loss",), [(6.71e20,), (999_999.5,)])).split() == ["loss", "6.7100e+20", "999999.5000"]


def test_markdown_and_csv_which_leaves_out_what_is_not_known():
    assert render(TABLE, "markdown").splitlines()[1:] == [
        "| --- | --- | ---: | ---: |",
        "| a\\|b | MLP | 2.2000 | 11,897 |",
        "| a, c | - | - | 7 |",
    ]
    rows = list(csv.reader(io.StringIO(render(TABLE, "csv"))))
    assert rows == [list(TABLE.header), ["a|b", "MLP", "2.2000", "11897"], ["a, c", "", "", "7"]]


def test_a_narrow_terminal_gets_narrower_gaps_and_then_the_end_of_the_first_cells():
    table = Table(("run", "loss"), [("lightning_logs/version_1", 2.5), ("漢字漢字", 2.5), ("abcdeफि", 2.5)])
    numbered = Table(("run", "loss"), [("old/007-mlp-steps2000", 2.5), ("old/runs/008-mlp", 2.5)])
    assert render(numbered, width=16).splitlines()[1:] == ["007-mlp.. 2.5000", "..008-mlp 2.5000"]
    assert render(table, width=31).splitlines()[1] == "lightning_logs/version_1 2.5000"
    shortened = ["..sion_1 2.5000", "漢字漢字 2.5000", "abcdeफि  2.5000"]
    assert render(table, width=15).splitlines()[1:] == shortened
    assert render(table, width=12).splitlines()[2:] == ["..字  2.5000", "..eफि 2.5000"]


def test_cells_cannot_steer_a_terminal_nor_run_in_a_spreadsheet():
    table = Table(("run", "loss"), [("\x1b[2J\n\u202eMLP", -1.5), ("=1+2", 2.5), ("-", None)])
    assert render(table).splitlines()[1:] == [
        r"\x1b[2J\n\u202eMLP  -1.5000",
        r"=1+2                 2.5000",
        r"-                         -",
    ]
    assert [row[0] for row in csv.reader(io.StringIO(render(table, "csv")))][2:] == ["'=1+2", "-"]
