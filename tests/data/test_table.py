"""Which column of a table is read, and what is refused."""

import gzip
import re

import pytest

from charlm.data.corpus import read_corpus

NAMES = ["Emma", "Noah", "Zoë", "Ann Lee", "Liam", "Mia", "Jo", "Max", "Ida", "Kim", "Eva"]
SEXES = ["F", "M", "F", "F", "M", "F", "M", "M", "F", "M", "F"]


def rows(form, titles=""):
    cells = zip(NAMES, SEXES, range(20_000, 0, -1900), strict=True)
    return (titles and f"{titles}\n") + "".join(f"{form.format(*row)}\n" for row in cells)


TABLES = {  # the file: which column has the names, and which one the message suggests
    rows("{0},{1},{2}"): (1, "1"),
    rows("{0},{1},{2}", "Name,Sex,Count"): ("name", "Name"),
    rows("{2}\t{0}", "rank\tprénom"): ("prénom", "2"),  # words over numbers
    rows("{1},{0}", "genre,prenom"): (2, "2"),  # a word over labels
    rows("{0};{2},5", "Vorname;Anteil"): (1, "Vorname"),
    rows("{0}|{1}"): (1, "1"),
    rows('"{0}", "{1}", "{2:,}"', '"name", "sex", "n"'): (1, "name"),
    rows('{0},"He said ""{1}"",\nthen {2}."', "name,story"): ("NAME", "name"),
    rows('"{0}"'): (1, "1"),
    rows("{0:<10}{2:>8}  x", "First Name   Count  ."): (1, "1"),
    rows("{2:>8}  {0}"): (2, "2"),
    rows("{0},"): (1, "1"),
    rows('{0},{2},"x;{1}"'): (1, "1"),
    rows("{1},{0},x|{2}", "sex,name,others"): ("name", "name"),
    "".join(f"{name}{',x' * (1 + len(name) % 3)}\n" for name in NAMES): (1, "1"),  # rows of several lengths
}


@pytest.mark.parametrize("content", TABLES)
def test_a_table_is_refused_until_its_column_is_given(write, content):
    path, (column, suggested) = write(content), TABLES[content]
    first = content.partition("\n")[0].strip()
    said = f"{path} looks like a table: its first line is {first!r}. Give the column with the names, as in"
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        read_corpus(path)
    assert f" `column` {suggested}, or `column` 0 if the whole line is a name" in str(error.value)
    corpus = read_corpus(path, column=column)
    assert corpus.names() == NAMES
    assert corpus.note.startswith("the names are column ")
    assert ("line of titles is left out" in corpus.note) == (NAMES[0] not in first)


@pytest.mark.parametrize("content", ["Luke Sky\nHan Solo\nLeia\n", "R2\nIG 88\nA, Jr.\nYoda\n", "a  b\nc\n", ""])
def test_a_list_is_no_table(write, content):
    assert read_corpus(write(content + "Bo\n")).names() == [*content.split("\n")[:-1], "Bo"]


def test_names_with_commas_may_be_quoted_one_a_line(write):
    assert read_corpus(write('"Sky, Luke"\n"Solo, Han"\n"Leia"\n'), column=1).names() == [
        "Sky, Luke",
        "Solo, Han",
        "Leia",
    ]


def test_a_table_may_be_compressed_and_begin_with_excels_line(tmp_path):
    path = tmp_path / "names.csv.gz"
    path.write_bytes(gzip.compress(rows("{0},{1}", "sep=,").replace("\n", "\r\n").encode("utf-8-sig")))
    assert read_corpus(path, column=1).names() == NAMES
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(OSError, match=f"^{path} is damaged: gzip cannot decompress it"):
        read_corpus(path, column=1)


@pytest.mark.parametrize(
    ("content", "column", "message"),
    [
        (rows("{0},{1}", "sep=,") + "\nSource: us\n", 1, r", line 14: a row of 1 cells, where the table has 2 columns"),
        (rows("{0},{1}") + "\nb\u200b,F\n", 1, r", line 13: U\+200B is an invisible character"),
        (rows('{0},"{1}\n"') + '"a\nb",F\n', 1, r", line 23: a row with a name of two lines"),
        (rows("{0},{1}") + 'bo,"F\n', 1, ", line 12: a cell is not quoted as in a table"),
        (rows("{0},{1}"), -1, "^`column` is -1; .* has columns 1 to 2, or 0 for the whole line"),
        (rows("{0},{1}", "name,sex"), "n", " has no column 'n': its first row is 'name, sex'; give one of these"),
        (rows("{0}"), 1, "does not look like a table: its first line is 'Emma'; leave the option out"),
        (rows("{0},{1}"), {"column": 1, "weight": "n"}, " has no column 'n': .* titles in `weight`"),
        (rows("{0},{1}"), {"column": 1, "weight": 4}, "^`weight` is 4; .* has columns 1 to 2$"),
        (rows("{0}"), {"weight": 2}, "^`weight` is a column of a table, but .* is no table"),
        (rows("{0}"), {"column": 0, "weight": 2}, "^`weight` is a column .* with the names in `column`"),
        ("name,sex\n", 1, "no names in .*: it has titles only"),
        ("Emma, Noah, Mia\n", None, " has a single line, 'Emma, Noah, Mia'; give one name a line"),
    ],
)
def test_what_does_not_fit_the_table_is_refused(write, content, column, message):
    with pytest.raises(ValueError, match=message):
        read_corpus(write(content), **(column if isinstance(column, dict) else {"column": column}))


def test_a_table_may_say_how_often_each_name_counts(write):
    """As a number in any of the usual forms; the weights of blank and of bad rows are left out with them."""
    cells = {"Ab": "5", "Bo": "5,000,000", "  ": "x", "Cy": "0.002", "Di": "0.5 %", "Ed": "1 234.5", "Fo\u200b": "7"}
    bad = {"Gi": "0", "Hi": "-1", "In": "nan", "Jo": "", "Ka": "1e-300"}
    rows = [f"{weight};{name}\n" for name, weight in [*cells.items(), *bad.items(), ("Lu", "1")]]
    path = write("n;name\n" + "".join(rows))
    for weight in ("N", 1):
        corpus = read_corpus(path, column="name", weight=weight, bad_lines="skip")
        assert corpus.names() == ["Ab", "Bo", "Cy", "Di", "Ed", "Lu"]
        assert corpus.weights.tolist() == [5, 5_000_000, 0.002, 0.5, 1234.5, 1]
        assert "weights from 0.002 to 5,000,000, " in corpus.note
        assert "6 bad lines skipped, the first one: line 8: U+200B" in corpus.note
    other = write("n;name\n" + "".join(rows[:6] + rows[-1:]))
    assert len({corpus.sha256, read_corpus(other, column=2).sha256, read_corpus(other, column=2, weight=1).sha256}) == 2
    for name, weight in bad.items():
        with pytest.raises(ValueError, match=f"line 3: the weight is '{weight}'; a weight is a number above 0"):
            read_corpus(write(f"n;name\n1;Ab\n{weight};{name}\n1;Lu\n"), column=2, weight="n")
    with pytest.raises(ValueError, match="no names in"):
        read_corpus(write("n;name\n"), column=2, weight="n")


@pytest.mark.parametrize(
    ("cells", "weights", "note"),
    [
        ("3,318 0,001 2,5 1,035 1.234,5", [3.318, 0.001, 2.5, 1.035, 1234.5], "0.001 to 1,234.5 (with decimal commas)"),
        ("1.500 2.000 1.234.567 7", [1500, 2000, 1_234_567, 7], "7 to 1,234,567 (with decimal commas)"),
        ("3,318 0.24 1\u202f234 2\u2019345", [3318, 0.24, 1234, 2345], "0.24 to 3,318"),
        ("3,318 1.035", [3.318, 1035], "3.318 to 1,035 (read with decimal commas, as in other tables with semicolons)"),
        (
            "2.5 0,24 0.1",
            None,
            "decimal comma, as 0,24 has, and others a decimal point, as 2.5 has; write all of them in",
        ),
    ],
)
def test_whether_commas_are_decimal_is_the_same_in_a_whole_column(write, cells, weights, note):
    path = write("n;name\n" + "".join(f"{cell};Bo\n" for cell in cells.split(" ")))
    if weights is None:
        with pytest.raises(ValueError, match=note):
            read_corpus(path, column=2, weight=1)
        return
    corpus = read_corpus(path, column=2, weight=1)
    assert corpus.weights.tolist() == weights
    assert corpus.note.endswith(f", weights from {note}")


def test_weights_of_a_table_without_semicolons_are_english_where_nothing_decides(write):
    corpus = read_corpus(write("n\tname\n3,318\tBo\n1.035\tAda\n"), column=2, weight=1)
    assert corpus.weights.tolist() == [3318, 1.035]
    assert corpus.note.endswith("1.035 to 3,318 (read in English: a comma for thousands, a point for decimals)")


def test_a_table_may_give_names_labels(write):
    """Their order is that of the alphabet, or as given; two lists with other labels have other fingerprints."""
    path = write("sex,name\nM,Bo\nF,Ada\n M ,Cy\n")
    corpus = read_corpus(path, column="name", label="sex")
    assert (corpus.names(), corpus.labels, corpus.label_of.tolist()) == (["Bo", "Ada", "Cy"], ("F", "M"), [1, 0, 1])
    assert "labels F (1), M (2)" in corpus.note
    given = read_corpus(path, column=2, label=1, labels=["M", "X", "M", "F"])
    assert (given.labels, given.label_of.tolist()) == (("M", "X", "F"), [0, 2, 0])
    assert given.sha256 == corpus.sha256 != read_corpus(path, column=2).sha256
    for cell, labels, message in (
        ("", None, "line 5: the label is ''; a label has 1 to 64 printable characters"),
        ("X", ["F", "M"], "line 5: the label 'X' is not one of 'F, M'"),
    ):
        bad = write(f"sex,name\nM,Bo\nF,Ada\nM,Cy\n{cell},Di\n")
        with pytest.raises(ValueError, match=message):
            read_corpus(bad, column="name", label="sex", labels=labels)
        assert len(read_corpus(bad, column="name", label="sex", labels=labels, bad_lines="skip")) == 3
    many = write("".join(f"{number},Bo\n" for number in range(1001)))
    with pytest.raises(ValueError, match="more than 1,000 different labels; give a column with what many names share"):
        read_corpus(many, column=2, label=1)


def test_bad_rows_are_skipped_and_counted_with_their_lines(write):
    faults = ["Source: us", "b\u200bo,F", "q" * 65 + ",F", '"a\nb",F', 'bo,"F']
    path = write("Names of 2020\n" + rows('{0},"{1}\n"') + "".join(f"{fault}\n" for fault in faults))
    corpus = read_corpus(path, column=1, bad_lines="skip")
    assert corpus.names() == NAMES
    note = "6 bad lines skipped, the first one: line 1: a row of 1 cells, where the table has 2 columns"
    assert corpus.note == f"the names are column 1, {note}"
