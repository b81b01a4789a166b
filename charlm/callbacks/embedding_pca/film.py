"""A training as seen in an embedding: an animation, and a few of its frames side by side.

Dimension key: F frames, V rows.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from charlm.callbacks.embedding_pca.scatter import LEFT, SIDE, TOP, WIDTH, add_legend, panel, square
from charlm.callbacks.shared.fonts import quiet_fonts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI, _COLORS, _MILLISECONDS, _LAST_MILLISECONDS = 80, 64, 120, 2500  # of the animation and its frames
_MOST, _COLUMNS, _NOTE = 9, 3, 0.34  # frames side by side, and the height of their notes in inches


@quiet_fonts()
def draw_frames(
    points: Tensor, notes: Sequence[str], name: str, labels: Sequence[str], kinds: Sequence[str]
) -> np.ndarray:
    """Draw points (F, V, 2) on the same axes, with a note for each frame: uint8 (F, height, width, 3).

    Only the markers and the note are drawn for each frame: ten times as fast as drawing the whole figure anew.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    names = ("first axis of the last step", "second axis of the last step")
    figure, markers = panel(labels, kinds, square(points.flatten(0, 1)), names, name, " ")
    figure.set_dpi(_DPI)
    text = figure.texts[1]
    text.set(x=(LEFT + SIDE / 2) / WIDTH, y=1 - (TOP - 0.29) / figure.get_figheight(), fontsize=17)
    moving = [*markers.artists, text]
    for artist in moving:
        artist.set_animated(True)
    canvas, drawn = FigureCanvasAgg(figure), []
    canvas.draw()
    background = canvas.copy_from_bbox(figure.bbox)
    for of_frame, note in zip(points.numpy(), notes, strict=True):
        canvas.restore_region(background)
        text.set_text(note)
        markers.move(of_frame)
        for artist in moving:
            figure.draw_artist(artist)
        drawn.append(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    return np.stack(drawn)


def animation(frames: np.ndarray) -> bytes:
    """Make a GIF of drawn frames."""
    from PIL import Image

    images = [Image.fromarray(pixels) for pixels in frames]
    palette = images[-1].quantize(_COLORS, method=Image.Quantize.FASTOCTREE)
    images = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    durations = [_MILLISECONDS] * (len(images) - 1) + [_LAST_MILLISECONDS]
    file = io.BytesIO()
    images[0].save(file, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0)
    return file.getvalue()


@quiet_fonts()
def side_by_side(frames: np.ndarray, name: str, about: str, kinds: Sequence[str]) -> Figure:
    """Put up to nine of the drawn frames into a picture, three in a line."""
    from matplotlib.figure import Figure

    chosen = frames[np.linspace(0, len(frames) - 1, min(_MOST, len(frames))).round().astype(int)]
    edges = np.array([TOP - _NOTE, TOP + SIDE + 0.02, LEFT - 0.03, LEFT + SIDE + 0.05]) * _DPI
    top, bottom, left, right = edges.astype(int)
    cells = chosen[:, top:bottom, left:right]
    lines = -(-len(cells) // _COLUMNS)
    page = np.full((lines * _COLUMNS, *cells.shape[1:]), 255, np.uint8)
    page[: len(cells)] = cells
    page = np.vstack([np.hstack(list(line)) for line in np.split(page, lines)])
    above, below = 1.1, 0.45 * bool(kinds)  # inches
    width, height = page.shape[1] / _DPI, page.shape[0] / _DPI + above + below
    figure = Figure(figsize=(width, height), dpi=_DPI)
    figure.figimage(page, 0, int(below * _DPI))
    figure.suptitle(name, fontsize=26, y=1 - 0.1 / height, va="top", parse_math=False)
    figure.text(0.5, 1 - 0.63 / height, about, fontsize=20, va="top", ha="center", parse_math=False)
    add_legend(figure, kinds)
    return figure
