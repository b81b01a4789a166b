import numpy as np
import pytest
import torch

from charlm.callbacks.embedding_pca.components import principal_components
from charlm.callbacks.embedding_pca.kinds import kind_of, kinds_of_letters
from charlm.callbacks.embedding_pca.scatter import embedding_figure
from charlm.callbacks.shared.palette import BLUE, GREY, VERMILION
from charlm.callbacks.shared.render import render

LETTERS = [".", *"abcdefghijklmnopqrstuvwxyz"]


def figure_of(labels, columns=4, kinds=(), note=""):
    table = torch.randn(len(labels), columns, generator=torch.Generator().manual_seed(0))
    return embedding_figure(principal_components(table), labels, "net.embedding, step 5", kinds, note)


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        ("aeiouAEÉøæœəı\u0430\u0435ияыє\u03b1ηώअाイあ", "vowel"),
        ("bcdyzBñçłßþйжχककやカ", "consonant"),
        ([".", "·", "<>", "<F>"], "boundary"),
        ([*"-' 7한山אلԲ²", "", "th", "12"], "other"),
    ],
)
def test_kinds_of_labels(labels, kind):
    assert {kind_of(label) for label in labels} == {kind}
    assert kinds_of_letters(list(labels)) == []
    assert kinds_of_letters(["a", "b", "-"]) == ["vowel", "consonant", "other"]


def test_one_panel_says_what_it_shows():
    figure = figure_of(LETTERS, kinds=kinds_of_letters(LETTERS), note="a note")
    (axes,) = figure.axes
    found = principal_components(torch.randn(27, 4, generator=torch.Generator().manual_seed(0)))
    shares = [f"{100 * share:.0f} % of the variance" for share in found.explained]
    assert [axes.get_xlabel(), axes.get_ylabel()] == shares
    assert [text.get_text() for text in figure.texts] == ["net.embedding, step 5", "a note", ""]
    assert legend_of(figure) == ["vowel", "consonant", "boundary"]
    assert figure_of(LETTERS).legends == []


def test_every_mark_has_its_colour_and_stands_at_its_point_or_beside_with_a_line_to_a_dot_there():
    found = principal_components(torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 1.0], [0.01, 1.0]]))
    (axes,) = embedding_figure(found, ["a", "b", "c", "d"], "", ["v", "c", "c", "c"]).axes
    leaders, dots, marks, letters = axes.collections
    colors = [(0.0, 114 / 255, 178 / 255), (213 / 255, 94 / 255, 0.0)]  # BLUE of the most frequent kind, VERMILION
    assert np.allclose(marks.get_facecolors()[:, :3], [colors[1], colors[0], colors[0], colors[0]])
    assert (BLUE, VERMILION) == ("#0072B2", "#D55E00")
    places, points = np.asarray(marks.get_offsets()), found.points.numpy()
    assert np.array_equal(places, letters.get_offsets())
    assert np.allclose(places[:3], points[:3])
    assert not np.allclose(places[3], points[3], atol=0.1)
    (leader,) = leaders.get_segments()
    assert np.allclose(leader, [points[3], places[3]])
    assert np.isnan(np.ma.filled(dots.get_offsets(), np.nan)[:3]).all()
    assert np.allclose(dots.get_offsets()[3], points[3])


def test_of_more_than_eight_kinds_the_rarest_are_drawn_alike():
    kinds = [f"k{number}" for number in range(12) for _ in range(20 - number)]
    figure = figure_of([str(row) for row in range(len(kinds))], kinds=kinds)
    assert legend_of(figure) == [*(f"k{number}" for number in range(8)), "4 more kinds"]
    colors = [tuple(color) for color in figure.axes[0].collections[1].get_facecolors()]
    assert len(set(colors)) == 9
    assert colors[-1] == pytest.approx((*(int(GREY[i : i + 2], 16) / 255 for i in (1, 3, 5)), 1))


@pytest.mark.parametrize("value", [0.0, 1e-30, 1e30])
def test_tables_without_spread_and_of_any_size_can_be_drawn(value):
    table = torch.full((3, 2), value)
    table[0, 0] = 2 * value
    assert render(embedding_figure(principal_components(table), ["a", "b", "c"], "")).shape[-1] == 3


@pytest.mark.parametrize(
    ("labels", "inside"),
    [
        ([*"abcde", " ", "\n", "س", "\u0301", "خ"], True),
        (["$_$", "a\nb", "\t", " ", "", "x" * 50, "%", "_^{}"], False),
        ([f"word {row}" for row in range(90)], False),
        ([str(row) for row in range(300)], False),
    ],
)
def test_labels_of_any_text_hide_neither_each_other_nor_their_marks(labels, inside):
    """Those of short labels stand inside their marks, in any script, the others beside."""
    figure = figure_of(labels)
    pixels = render(figure)
    (axes,) = figure.axes
    letters = axes.collections[-1]
    places = axes.transData.transform(np.ma.filled(letters.get_offsets(), np.nan))
    boxes = [path.get_extents() for path in letters.get_paths()]
    drawn = [
        (place + np.array([box.min, box.max]) * figure.dpi / 72)
        for place, box in zip(places, boxes, strict=True)
        if not np.isnan(place).any() and box.width > 0
    ]
    assert (len(drawn) > len(labels) / 3) == (len(labels) <= 120)
    for number, (low, high) in enumerate(drawn):
        assert all((high <= other[0]).any() or (other[1] <= low).any() for other in drawn[:number])
        assert (low >= 0).all()
        assert (high <= pixels.shape[1::-1]).all()
        if inside:
            assert max(high - low) <= 0.79 * 16 * figure.dpi / 72, "within its mark"
