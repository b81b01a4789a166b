import matplotlib.colors
import pytest
import torch

from charlm.callbacks.embedding_figure import embedding_figure
from charlm.callbacks.pca import principal_components
from charlm.callbacks.pictures import render
from charlm.callbacks.scatter import kind_of

LETTERS = [".", *"abcdefghijklmnopqrstuvwxyz"]


def figure_of(labels, columns=4, k=2, **options):
    table = torch.randn(len(labels), columns, generator=torch.Generator().manual_seed(0))
    return embedding_figure(table, principal_components(table, k), labels, "net.embedding, step 5", **options)


def texts(axes):
    return [text.get_text() for text in axes.texts]


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        ("aeiouAEÉøæı", "vowel"),
        ("bcdyzBñçłßþ", "consonant"),
        (".·", "boundary"),
        (["<>"], "boundary"),
        ("-' 7жあ²", "other"),
        (["", "th", "12"], "other"),
    ],
)
def test_kinds_of_labels(labels, kind):
    assert {kind_of(label) for label in labels} == {kind}


def test_letters_are_told_apart_by_colour_and_by_marker():
    figure = figure_of(LETTERS)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["vowel", "consonant", "boundary"]
    for axes in figure.axes:
        groups = axes.collections
        assert [len(group.get_offsets()) for group in groups] == [5, 21, 1]
        assert len({matplotlib.colors.to_hex(group.get_facecolor()[0]) for group in groups}) == 3
        assert len({len(group.get_paths()[0].vertices) for group in groups}) >= 2
        assert sorted(texts(axes)) == sorted(LETTERS)


def test_panels_say_what_they_show():
    first, second = figure_of(LETTERS).axes
    assert first.get_xlabel().startswith("PC1 (")
    assert first.get_xlabel().endswith(" % of variance)")
    assert first.get_ylabel().startswith("PC2 (")
    assert (second.get_title(), second.get_xlabel(), second.get_ylabel()) == (
        "first two columns",
        "column 0",
        "column 1",
    )


def test_every_label_stands_at_its_own_point():
    table = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 1.0]])
    figure = embedding_figure(table, principal_components(table), ["a", "b", "c"], "")
    raw = {note.get_text(): note.xy for note in figure.axes[1].texts}
    assert raw == {"a": (0, 0), "b": (4, 0), "c": (0, 1)}
    markers = {kind.get_label(): kind.get_offsets().tolist() for kind in figure.axes[1].collections}
    assert markers == {"vowel": [[0, 0]], "consonant": [[4, 0], [0, 1]]}


def test_what_are_not_letters_is_drawn_plainly():
    figure = figure_of(["the", "of", "and"])
    assert figure.legends == []
    assert [len(axes.collections) for axes in figure.axes] == [1, 1]


def test_a_third_component_has_a_panel_of_its_own():
    labels = [axes.get_ylabel()[:4] for axes in figure_of(LETTERS, k=3).axes]
    assert labels == ["PC2 ", "PC3 ", "colu"]


def test_of_many_rows_some_are_drawn_the_same_each_time():
    labels = [str(row) for row in range(500)]
    before = torch.get_rng_state()
    first, second = (figure_of(labels, max_rows=40) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert first.get_suptitle() == "net.embedding, step 5 (40 of 500 rows)"
    assert len(set(texts(first.axes[0]))) == 40
    assert texts(first.axes[0]) == texts(second.axes[0])


def test_many_points_are_drawn_without_labels():
    assert texts(figure_of([str(row) for row in range(500)]).axes[0]) == []


@pytest.mark.parametrize("value", [0.0, 1e-30, 1e30])
def test_tables_without_spread_and_of_any_size_can_be_drawn(value):
    table = torch.full((3, 2), value)
    table[0, 0] = 2 * value
    assert render(embedding_figure(table, principal_components(table), ["a", "b", "c"], "")).shape[-1] == 3


def test_any_text_can_be_a_label():
    labels = ["$_$", "a\nb", "\t", " ", "", "x" * 50, "%", "_^{}"]
    figure = figure_of(labels)
    assert texts(figure.axes[0]) == ["$_$", r"'a\nb'", r"'\t'", "' '", "''", "x" * 15 + "…", "%", "_^{}"]
    assert render(figure).ndim == 3
