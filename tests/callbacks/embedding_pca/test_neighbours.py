import html
import re
import warnings

import pytest
import torch

from charlm.callbacks.embedding_pca.neighbours import nearest_rows, neighbours_text


def test_neighbours_by_hand():
    """Directions 0, 45, 90 and 180 degrees, of several lengths, and a row without a direction."""
    table = torch.tensor([[2.0, 0.0], [1.0, 1.0], [0.0, 5.0], [-3.0, 0.0], [0.0, 0.0]])
    rows, cosines = nearest_rows(table, 5, 3)
    half = 0.5**0.5
    assert rows[:3].tolist() == [[1, 2, 4], [0, 2, 4], [1, 0, 3]]
    assert cosines[0].tolist() == pytest.approx([half, 0, 0])
    assert cosines[1].tolist() == pytest.approx([half, half, 0])
    assert (rows[4].tolist(), cosines[4].tolist()) == ([0, 1, 2], [0, 0, 0])  # of equals the first ones
    assert nearest_rows(table, 5, 9)[0].shape == (5, 4)  # as many as there are


def cells(text):
    """The rows of the table as TensorBoard shows them, by its own Markdown."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of what cleans its pages
        from tensorboard.plugin_util import markdown_to_safe_html

        page = markdown_to_safe_html(text)
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    return [re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]


LABELS = ["a|b", "`", "\n", "\t", " ", "", "*x*", "<b>", "_y_", "\\", "[z](w)", "é", "#", "&amp;", "two words", "\x00"]
SHOWN = [label if label.isprintable() and label.strip() else repr(label) for label in LABELS]


def test_no_label_breaks_the_table_or_vanishes_from_it():
    table = torch.randn(len(LABELS), 3, generator=torch.Generator().manual_seed(0))
    head, *rows = cells(neighbours_text(table, LABELS, "net.0"))
    assert head == ["row", "nearest", "2.", "3.", "4.", "5."]
    assert [len(row) for row in rows] == [6] * len(LABELS)
    firsts = [html.unescape(re.fullmatch("<strong>(.*)</strong>", row[0])[1]) for row in rows]
    assert firsts == SHOWN
    found = nearest_rows(table, len(LABELS), 5)
    for row, others, cosines in zip(rows, *(part.tolist() for part in found), strict=True):
        expected = [f"{SHOWN[other]} {cosine:.2f}" for other, cosine in zip(others, cosines, strict=True)]
        assert [html.unescape(text) for text in row[1:]] == expected


def test_of_many_rows_the_first_are_listed():
    table = torch.randn(3000, 5, generator=torch.Generator().manual_seed(0))
    rows, cosines = nearest_rows(table, 70, 4)
    every = torch.nn.functional.normalize(table.double(), dim=1)
    every = (every[:70] @ every.T).fill_diagonal_(-2)
    assert torch.equal(rows, every.topk(4).indices)
    assert torch.allclose(cosines.double(), every.topk(4).values, atol=1e-6)
    text = neighbours_text(table, [str(row) for row in range(3000)], "net.0", max_rows=70)
    assert "The first 70 of 3000 rows are listed" in text
    assert len(cells(text)) == 71


def test_rounding_makes_no_cosine_of_more_than_one():
    direction = torch.randn(7, generator=torch.Generator().manual_seed(0))
    table = torch.outer(torch.linspace(-3, 3, 200), direction)
    _, cosines = nearest_rows(table, 200, 199)
    assert cosines.abs().max() <= 1
    assert (cosines.max(), cosines.min()) == (pytest.approx(1), pytest.approx(-1))
