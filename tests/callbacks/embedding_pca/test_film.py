import io
from itertools import pairwise

import matplotlib.colors
import numpy as np
import pytest
import torch
from PIL import Image

from charlm.callbacks.embedding_pca.film import Film, animation, small_multiples
from charlm.callbacks.embedding_pca.kinds import kind_of
from charlm.callbacks.shared.palette import BLUE, VERMILION

LETTERS = [".", *"abcdefghijklmnopqrstuvwxyz"]
VERMILION_PIXEL, BLUE_PIXEL = (np.array(matplotlib.colors.to_rgb(color)) * 255 for color in (VERMILION, BLUE))


def film_of(labels=LETTERS, frames=5, kinds=()):
    start, goal = torch.randn(2, len(labels), 2, generator=torch.Generator().manual_seed(0))
    points = torch.stack([start + (goal - start) * frame / (frames - 1) for frame in range(frames)])
    return Film(
        "net.0", labels, kinds, [1000 * frame for frame in range(frames)], points, ["AUC 0.5"] * frames, "about"
    )


def frames_of(gif):
    image = Image.open(io.BytesIO(gif))
    for number in range(image.n_frames):
        image.seek(number)
        yield np.asarray(image.convert("RGB")).astype(int), dict(image.info)


def near(pixels, color):
    """Where pixels are of a colour: rows and columns."""
    return np.nonzero((np.abs(pixels - color) < 20).all(-1))


def test_points_move_through_the_film_and_nothing_else_does():
    """A vowel goes from the left to the right, between consonants that stay."""
    points = torch.tensor([[[-4.0 + 2 * frame, 0.0], [5, 1], [-5, -1], [5, -1], [-5, 1]] for frame in range(5)])
    kinds = ["v", "c", "c", "c", "c"]
    film = Film("net.0", list("abcdf"), kinds, range(5), points, [""] * 5, "")
    frames, infos = zip(*frames_of(animation(film)), strict=True)
    assert [info["duration"] for info in infos] == [120] * 4 + [2500]
    assert infos[0]["loop"] == 0
    panel = slice(int(0.15 * len(frames[0])), int(0.85 * len(frames[0])))
    vowel = [near(pixels[panel], VERMILION_PIXEL)[1].mean() for pixels in frames]  # the rarer kind comes second
    assert all(after - before > 15 for before, after in pairwise(vowel))
    consonants = [near(pixels[panel], BLUE_PIXEL) for pixels in frames]
    assert all(np.array_equal(spots, consonants[0]) for spots in consonants)
    still = [pixels[panel.stop :] for pixels in frames]  # axis labels and legend
    assert all((pixels == still[0]).all() for pixels in still)


@pytest.mark.parametrize("frames", [2, 9])
def test_small_multiples_are_frames_side_by_side_within_the_same_limits(frames):
    film = film_of(frames=frames, kinds=list(map(kind_of, LETTERS)))
    figure = small_multiples(film)
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == [f"step {1000 * frame:,}  AUC 0.5" for frame in range(frames)]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["vowel", "consonant", "boundary"]
    boxes = np.array([path.vertices for path in axes.collections[0].get_paths()])
    dots = np.ma.filled(axes.collections[2].get_offsets(), np.nan).reshape(frames, 27, 2)
    marks = np.ma.filled(axes.collections[4].get_offsets(), np.nan).reshape(frames, 27, 2)
    places = np.where(np.isnan(dots), marks, dots) - boxes[:, :1]  # relative to the corner of each frame
    scale = np.linalg.norm(places[0, 1] - places[0, 2]) / np.linalg.norm(film.points[0, 1] - film.points[0, 2])
    assert np.allclose(places - places[0, 0], (film.points - film.points[0, 0]).numpy() * scale, atol=1e-6)
