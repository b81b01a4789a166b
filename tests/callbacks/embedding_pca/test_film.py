import io
from itertools import pairwise

import matplotlib.colors
import numpy as np
import pytest
import torch
from PIL import Image

from charlm.callbacks.embedding_pca.character_kinds import kind_of
from charlm.callbacks.embedding_pca.components import principal_components
from charlm.callbacks.embedding_pca.film import Film, _labels_as_shapes, animation, small_multiples
from charlm.callbacks.embedding_pca.scatter import embedding_figure
from charlm.callbacks.shared.palette import BLUE, VERMILION
from charlm.callbacks.shared.render import render

LETTERS = [".", *"abcdefghijklmnopqrstuvwxyz"]
ORANGE_PIXEL, BLUE_PIXEL = (np.array(matplotlib.colors.to_rgb(color)) * 255 for color in (VERMILION, BLUE))


def film_of(labels=LETTERS, frames=5, kinds=None, columns=4):
    start, goal = torch.randn(2, len(labels), columns, generator=torch.Generator().manual_seed(0))
    tables = torch.stack([start + (goal - start) * frame / (frames - 1) for frame in range(frames)])
    axes = principal_components(tables[-1]).axes
    return Film([100 * frame for frame in range(frames)], tables, labels, kinds, "net.0", axes, ["PC1", "PC2/3"])


def frames_of(gif):
    image = Image.open(io.BytesIO(gif))
    for number in range(image.n_frames):
        image.seek(number)
        yield np.asarray(image.convert("RGB")).astype(int), dict(image.info)


def near(pixels, color):
    """Where pixels are of a colour that was drawn at 85 % on white: rows and columns."""
    return np.nonzero((np.abs(pixels - (0.85 * color + 0.15 * 255)) < 20).all(-1))


def test_points_move_through_the_film_and_nothing_else_does():
    """A vowel goes from the left to the right, between consonants that stay."""
    tables = torch.tensor([[[-4.0 + 2 * frame, 0.0], [5, 1], [-5, -1], [5, -1], [-5, 1]] for frame in range(5)])
    kinds, axes = ["v", "c", "c", "c", "c"], torch.eye(2).double()
    film = Film(range(5), tables, list("abcdf"), kinds, "net.0", axes, ["PC1", "PC2"])
    frames, infos = zip(*frames_of(animation(film)), strict=True)
    assert [info["duration"] for info in infos] == [100] * 4 + [2000]
    assert infos[0]["loop"] == 0
    height = len(frames[0])
    upper, lower = slice(0, int(0.45 * height)), slice(int(0.5 * height), int(0.88 * height))
    spots = [near(pixels[upper], BLUE_PIXEL)[1].mean() for pixels in frames]  # the rarer kind comes second: orange
    assert max(spots) - min(spots) > 20  # centred, as the mean moves with the vowel
    vowel = [near(pixels[lower], ORANGE_PIXEL)[1].mean() for pixels in frames]
    assert all(after - before > 15 for before, after in pairwise(vowel))
    still = [pixels[lower.stop :] for pixels in frames]  # axis labels and legend
    assert all((pixels == still[0]).all() for pixels in still)


@pytest.mark.parametrize("labels", [[str(row) for row in range(300)], ["$_$", " ", "あ"]])
def test_rows_of_any_number_and_name_can_be_filmed(labels):
    film = film_of(labels, frames=3)
    assert len(list(frames_of(animation(film)))) == 3
    assert render(small_multiples(film)).ndim == 3


@pytest.mark.parametrize(("labels", "beside"), [(LETTERS, False), ([f"word {row}" for row in range(27)], True)])
def test_labels_as_shapes_stand_where_the_texts_did(labels, beside):
    """In the middle of their markers, or beside the points."""
    table = torch.randn(27, 4, generator=torch.Generator().manual_seed(0))
    figure = embedding_figure(table, principal_components(table), labels, "")
    render(figure)
    axes = figure.axes[0]
    boxes = [note.get_window_extent() for note in axes.texts]
    shapes = _labels_as_shapes(axes)
    assert len(axes.texts) == 0
    for box, shape, point in zip(boxes, shapes.get_paths(), shapes.get_offsets(), strict=True):
        drawn = shape.get_extents().transformed(shapes.get_transform()).translated(*axes.transData.transform(point))
        assert abs(drawn.x0 - box.x0 if beside else (drawn.x0 + drawn.x1) / 2 - (box.x0 + box.x1) / 2) < 2
        assert abs((drawn.y0 + drawn.y1) / 2 - (box.y0 + box.y1) / 2) < 6  # the middle of a text is that of its line


@pytest.mark.parametrize("frames", [2, 9])
def test_small_multiples_are_frames_within_the_same_limits(frames):
    film = film_of(frames=frames, kinds=list(map(kind_of, LETTERS)))
    figure = small_multiples(film)
    assert [axes.get_title() for axes in figure.axes] == [f"step {100 * frame}" for frame in range(frames)]
    assert len({(axes.get_xlim(), axes.get_ylim()) for axes in figure.axes}) == 1
    assert (figure.get_supxlabel(), figure.get_supylabel()) == ("PC1 of the last step", "PC2/3 of the last step")
    last = figure.axes[-1].collections[0].get_offsets()
    centred = film.tables[-1].double() - film.tables[-1].double().mean(0)
    assert np.allclose(last, (centred @ film.axes)[[1, 5, 9, 15, 21]].numpy())  # the vowels
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["vowel", "consonant", "boundary"]
