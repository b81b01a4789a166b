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


def columns_of(lines, column):
    """The cell of the terminal in which a word of each line begins, by hand: what stands before it, wide ones twice."""
    wide = set("ミアあい漢字한글")
    marks = {"\u0302", "\u0941", "\u05b0"}
    return {sum(2 if ch in wide else ch not in marks for ch in line[: line.index(column)]) for line in lines}


def test_columns_line_up_behind_wide_characters_and_combining_marks():
    names = ["mia", "ミアあい", "漢字", "한글", "x\u0302y\u0302", "\u0915\u093f\u0941", "\u05e9\u05b0\u05dc", "Жук"]
    lines = render(Table(("name", "nats", "mark"), [(name, 1.5, "new") for name in names])).splitlines()
    assert columns_of(lines[1:], "1.5000") == {len("ミアあい") * 2 + 2}
    assert columns_of(lines[1:], "new") == {len("ミアあい") * 2 + 2 + len("1.5000") + 2}
    assert lines[0] == "name        nats  mark"


def test_wide_text_is_shortened_by_the_cells_it_takes():
    table = Table(("run", "loss"), [("漢字漢字", 2.5), ("abcdeफि", 2.5)])
    assert render(table, width=12).splitlines()[1:] == ["..字  2.5000", "..eफि 2.5000"]


def test_a_table_without_rows_has_its_header():
    assert render(Table(("run", "loss"), [])) == "run  loss"
