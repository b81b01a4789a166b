import csv
import io

from charlm.commands.table import Table, render

TABLE = Table(("run", "model", "loss", "size"), [("a|b", "MLP", 2.19996, 11897), ("a, c", None, None, 7)])


def test_text_is_aligned_numbers_to_the_right():
    assert render(TABLE).splitlines() == [
        "run   model    loss    size",
        "a|b   MLP    2.2000  11,897",
        "a, c  -           -       7",
    ]


def test_markdown():
    assert render(TABLE, "markdown").splitlines() == [
        "| run | model | loss | size |",
        "| --- | --- | ---: | ---: |",
        "| a\\|b | MLP | 2.2000 | 11,897 |",
        "| a, c | - | - | 7 |",
    ]


def test_csv_leaves_out_what_is_not_known():
    rows = list(csv.reader(io.StringIO(render(TABLE, "csv"))))
    assert rows == [list(TABLE.header), ["a|b", "MLP", "2.2000", "11897"], ["a, c", "", "", "7"]]


def test_a_narrow_terminal_gets_narrower_gaps_and_then_the_end_of_the_first_cells():
    table = Table(("run", "loss"), [("lightning_logs/version_1", 2.5)])
    assert render(table, width=40).splitlines()[1] == "lightning_logs/version_1  2.5000"
    assert render(table, width=31).splitlines()[1] == "lightning_logs/version_1 2.5000"
    assert render(table, width=20).splitlines() == ["run             loss", "..s/version_1 2.5000"]


def test_a_table_without_rows_has_its_header():
    assert render(Table(("run", "loss"), [])) == "run  loss"
