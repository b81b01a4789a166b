"""A training as seen in an embedding: an animation, and a few frames side by side.

All frames are drawn on the same axes and within the same limits. Dimension key: F frames, V rows.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from torch import Tensor

from charlm.callbacks.embedding_pca.scatter import Marks, add_legend, panel, square
from charlm.callbacks.shared.fonts import quiet_fonts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI, _COLORS, _MILLISECONDS, _LAST_MILLISECONDS = 80, 64, 120, 2500  # of the animation and its frames
_COLUMNS = 3  # of the small multiples


class Film(NamedTuple):
    """The rows of a table, with V labels and kinds (or none), at F steps: points (F, V, 2), F notes, what they say."""

    name: str
    labels: Sequence[str]
    kinds: Sequence[str]
    steps: Sequence[int]
    points: Tensor
    notes: Sequence[str]
    about: str


@quiet_fonts()
def animation(film: Film) -> bytes:
    """Draw a GIF of the rows, a frame a step."""
    from PIL import Image

    images = [Image.fromarray(pixels) for pixels in _frames(film)]
    palette = images[-1].quantize(_COLORS, method=Image.Quantize.FASTOCTREE)
    images = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    durations = [_MILLISECONDS] * (len(images) - 1) + [_LAST_MILLISECONDS]
    file = io.BytesIO()
    images[0].save(file, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0)
    return file.getvalue()


def _frames(film: Film) -> Iterator[np.ndarray]:
    """Pixels of each frame, uint8 (height, width, 3).

    Only the marks and a line of text are drawn for each frame: ten times as fast as matplotlib's PillowWriter, which
    draws the whole figure anew.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    names = ("first axis of the last step", "second axis of the last step")
    figure, marks = panel(film.labels, film.kinds, square(film.points.flatten(0, 1)), names, film.name, " ")
    figure.set_dpi(_DPI)
    note = figure.texts[1]
    moving = [*marks.artists, note]
    for artist in moving:
        artist.set_animated(True)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    background = canvas.copy_from_bbox(figure.bbox)
    for step, points, text in zip(film.steps, film.points.numpy(), film.notes, strict=True):
        canvas.restore_region(background)
        note.set_text(f"step {step:,}  {text}")
        marks.move(points)
        for artist in moving:
            figure.draw_artist(artist)
        yield np.asarray(canvas.buffer_rgba())[..., :3].copy()


@quiet_fonts()
def small_multiples(film: Film) -> Figure:
    """Draw the rows, three frames in a line; up to nine frames are legible."""
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    width, side, line, top, bottom = 6.6, 2.1, 2.44, 0.62, 0.4 * bool(film.kinds)  # inches
    height = line * -(-len(film.steps) // _COLUMNS) + top + bottom
    figure = Figure(figsize=(width, height), dpi=100)
    figure.suptitle(film.name, fontsize=14, y=1 - 0.08 / height, va="top", parse_math=False)
    figure.text(0.5, 1 - 0.38 / height, film.about, fontsize=10, va="top", ha="center", parse_math=False)
    # all frames in one panel, whose unit is an inch: nine panels take three times as long
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    (left, right), (low, _) = square(film.points.flatten(0, 1))
    box, corners, places = np.array([(0, 0), (0, side), (side, side), (side, 0), (0, 0)]), [], []
    title: dict[str, Any] = {"ha": "center", "fontsize": 10, "parse_math": False}
    for frame, (step, points, note) in enumerate(zip(film.steps, film.points.numpy(), film.notes, strict=True)):
        row, column = divmod(frame, _COLUMNS)
        corners.append(corner := np.array([0.1 + (side + 0.05) * column, height - top - line * (row + 1) + 0.1]))
        places.append((points - (left, low)) * side / (right - left) + corner)
        axes.text(corner[0] + side / 2, corner[1] + side + 0.05, f"step {step:,}  {note}", **title)
    axes.add_collection(LineCollection([box + corner for corner in corners], colors="black", linewidths=0.8))
    Marks(axes, film.labels, film.kinds, scale=0.6, copies=len(corners)).move(np.concatenate(places))
    add_legend(figure, film.kinds)
    return figure
