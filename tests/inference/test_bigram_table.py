import io

import pytest
import torch

from charlm.inference.bigram_table import bigram_heatmap, character_labels

LABELS = [".", "a", "b"]
COUNTS = torch.tensor([[0, 1, 1], [0, 0, 1], [2, 0, 0]])


def texts(figure, panel=0):
    return [text.get_text() for text in figure.axes[panel].texts]


def test_cells_show_the_pair_and_its_count():
    shown = texts(bigram_heatmap([("counts", COUNTS)], LABELS, cell_text=True))
    assert shown == ["..\n0", ".a\n1", ".b\n1", "a.\n0", "aa\n0", "ab\n1", "b.\n2", "ba\n0", "bb\n0"]


def test_panels_share_one_colour_scale_and_have_titles():
    figure = bigram_heatmap([("left", COUNTS / 4), ("right", COUNTS / 2)], LABELS, cell_text=False)
    left, right = figure.axes[:2]
    assert (left.get_title(), right.get_title()) == ("left", "right")
    assert left.images[0].get_clim() == right.images[0].get_clim() == (0, 1)
    assert texts(figure) == []
    assert [label.get_text() for label in left.get_yticklabels()] == LABELS


@pytest.mark.parametrize("labels", [["$", "_", "^"], ["\\", "{", "}"]])
def test_characters_that_mean_formulas_are_drawn_as_they_are(labels):
    figure = bigram_heatmap([("counts", COUNTS)], labels, cell_text=True)
    figure.savefig(io.BytesIO(), format="png")
    assert texts(figure)[0] == f"{labels[0] * 2}\n0"


def test_a_table_of_zeros_and_a_large_alphabet_are_drawn():
    size = 300
    labels = [chr(0x100 + i) for i in range(size)]
    figure = bigram_heatmap([("counts", torch.zeros(size, size, dtype=torch.int64))], labels, cell_text=False)
    assert max(figure.get_size_inches()) <= 32


@pytest.mark.parametrize(("count", "shown"), [(9_999, "9999"), (999_999, "1000k"), (10**10, "10G")])
def test_a_large_count_fits_into_its_cell_beside_the_colour_of_its_share(count, shown):
    shares = torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    counts = torch.full((2, 2), count)
    figure = bigram_heatmap([("counts", shares)], character_labels("a"), cell_text=True, cell_numbers=[counts])
    assert texts(figure)[1] == f".a\n{shown}"
    assert figure.axes[0].images[0].get_clim() == (0, 1)


def test_a_character_that_would_not_show_is_labelled_by_its_escape():
    assert character_labels("a \u2028é") == [".", "a", "␣", "\\u2028", "é"]
