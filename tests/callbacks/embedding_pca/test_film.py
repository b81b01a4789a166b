import io
from itertools import pairwise

import matplotlib.colors
import numpy as np
import pytest
import torch
from PIL import Image

from charlm.callbacks.embedding_pca.film import animation, draw_frames, side_by_side
from charlm.callbacks.shared.palette import BLUE, VERMILION
from charlm.callbacks.shared.render import render

VERMILION_PIXEL, BLUE_PIXEL = (np.array(matplotlib.colors.to_rgb(color)) * 255 for color in (VERMILION, BLUE))


def frames(count):
    """A vowel goes from the left to the right, between consonants that stay."""
    places = [-4.0 + 8 * frame / (count - 1) for frame in range(count)]
    points = torch.tensor([[[x, 0.0], [5, 1], [-5, -1], [5, -1], [-5, 1]] for x in places])
    return draw_frames(points, [f"step {frame}" for frame in range(count)], "net.0", list("abcdf"), KINDS)


KINDS = ["v", "c", "c", "c", "c"]


def frames_of(gif):
    image = Image.open(io.BytesIO(gif))
    for number in range(image.n_frames):
        image.seek(number)
        yield np.asarray(image.convert("RGB")).astype(int), dict(image.info)


def near(pixels, color):
    """Where pixels are of a colour: rows and columns."""
    return np.nonzero((np.abs(pixels - color) < 20).all(-1))


def test_points_move_through_the_film_and_nothing_else_does():
    frames_shown, infos = zip(*frames_of(animation(frames(5))), strict=True)
    assert [info["duration"] for info in infos] == [120] * 4 + [2500]
    assert infos[0]["loop"] == 0
    panel = slice(int(0.15 * len(frames_shown[0])), int(0.85 * len(frames_shown[0])))
    vowel = [near(pixels[panel], VERMILION_PIXEL)[1].mean() for pixels in frames_shown]  # the rarer kind comes second
    assert all(after - before > 15 for before, after in pairwise(vowel))
    consonants = [near(pixels[panel], BLUE_PIXEL) for pixels in frames_shown]
    assert all(np.array_equal(spots, consonants[0]) for spots in consonants)
    still = [pixels[panel.stop :] for pixels in frames_shown]  # axis labels and legend
    assert all((pixels == still[0]).all() for pixels in still)


@pytest.mark.parametrize(("count", "shown"), [(2, 2), (17, 9)])
def test_up_to_nine_frames_from_the_first_to_the_last_stand_side_by_side(count, shown):
    figure = side_by_side(frames(count), "net.0", "about", KINDS)
    assert [text.get_text() for text in figure.texts] == ["net.0", "about"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["c", "v"]
    page = render(figure)[88:-36]  # between the title and the legend
    cells = [cell for line in np.split(page, -(-shown // 3)) for cell in np.split(line, 3, axis=1)]
    vowel = [near(cell, VERMILION_PIXEL)[1].mean() for cell in cells[:shown]]
    assert np.allclose(np.diff(vowel), (vowel[-1] - vowel[0]) / (shown - 1), atol=2)
    assert vowel[-1] - vowel[0] > 100
    assert all((cell == 255).all() for cell in cells[shown:])
