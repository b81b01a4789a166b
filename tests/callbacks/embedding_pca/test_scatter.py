import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from charlm.callbacks.embedding_pca.character_kinds import kind_of
from charlm.callbacks.embedding_pca.components import principal_components
from charlm.callbacks.embedding_pca.scatter import embedding_figure, square
from charlm.callbacks.shared.render import render

LETTERS = [".", *"abcdefghijklmnopqrstuvwxyz"]


KINDS = [kind_of(letter) for letter in LETTERS]


def figure_of(labels, columns=4, k=2, kinds=None):
    table = torch.randn(len(labels), columns, generator=torch.Generator().manual_seed(0))
    return embedding_figure(table, principal_components(table, k), labels, "net.embedding, step 5", kinds)


def texts(axes):
    return [text.get_text() for text in axes.texts]


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        ("aeiouAEÉøæı", "vowel"),
        ("bcdyzBñçłßþ", "consonant"),
        ([".", "·", "<>"], "boundary"),
        ([*"-' 7жあ²", "", "th", "12"], "other"),
    ],
)
def test_kinds_of_labels(labels, kind):
    assert {kind_of(label) for label in labels} == {kind}


def test_panels_say_what_they_show_and_letters_have_kinds():
    figure = figure_of(LETTERS, k=3, kinds=KINDS)
    assert [axes.get_ylabel()[:4] for axes in figure.axes] == ["PC2 ", "PC3 ", "colu"]
    assert re.fullmatch(r"PC1 \(\d+ % of variance\)", figure.axes[0].get_xlabel())
    assert legend_of(figure) == ["vowel", "consonant", "boundary"]
    assert figure_of(LETTERS, kinds=[""] * 27).legends == []


def test_every_label_and_marker_stands_at_its_own_point():
    table = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 1.0]])
    figure = embedding_figure(table, principal_components(table), ["a", "b", "c"], "", ["v", "c", "c"])
    assert {note.get_text(): note.xy for note in figure.axes[1].texts} == {"a": (0, 0), "b": (4, 0), "c": (0, 1)}
    markers = {kind.get_label(): kind.get_offsets().tolist() for kind in figure.axes[1].collections}
    assert markers == {"v": [[0, 0]], "c": [[4, 0], [0, 1]]}


def test_of_more_than_eight_kinds_the_rarest_are_drawn_as_one():
    kinds = [f"k{number}" for number in range(12) for _ in range(20 - number)]
    figure = figure_of([str(row) for row in range(len(kinds))], kinds=kinds)
    assert legend_of(figure) == [*(f"k{number}" for number in range(8)), "4 more kinds"]
    groups = figure.axes[0].collections
    assert [len(group.get_offsets()) for group in groups] == [*range(20, 12, -1), 12 + 11 + 10 + 9]


@given(st.integers(0, 10**6), st.floats(0.01, 100), st.floats(-50, 50))
@settings(deadline=None)
def test_limits_hold_all_points_and_no_more_than_they_need(seed, scale, offset):
    points = torch.randn(9, 2, generator=torch.Generator().manual_seed(seed)).double() * scale + offset
    extent = float((points.amax(0) - points.amin(0)).max())
    for axis, (low, high) in enumerate(square(points)):
        assert low < points[:, axis].min()
        assert points[:, axis].max() < high
        assert high - low < 1.5 * extent


@pytest.mark.parametrize("value", [0.0, 1e-30, 1e30])
def test_tables_without_spread_and_of_any_size_can_be_drawn(value):
    table = torch.full((3, 2), value)
    table[0, 0] = 2 * value
    assert render(embedding_figure(table, principal_components(table), ["a", "b", "c"], "")).shape[-1] == 3


def test_any_text_can_be_a_label():
    labels = ["$_$", "a\nb", "\t", " ", "", "x" * 50, "%", "_^{}"]
    table = torch.tensor([[0.0, row] for row in range(8)])  # one above the other
    figure = embedding_figure(table, principal_components(table), labels, "")
    assert texts(figure.axes[1]) == ["$_$", r"'a\nb'", "⇥", "␣", "''", "x" * 15 + "…", "%", "_^{}"]
    assert render(figure).ndim == 3


def test_labels_beside_points_do_not_run_into_each_other():
    labels = [f"word {row}" for row in range(90)]
    figure = figure_of(labels)
    render(figure)
    for axes in figure.axes:
        boxes = [note.get_window_extent().shrunk(0.9, 0.9) for note in axes.texts]
        assert 20 < len(boxes) < 90
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
        assert all(labels[int(note.get_gid())] == note.get_text() for note in axes.texts)
