"""A training as seen in an embedding: an animation, and a few frames side by side.

All frames are drawn on the axes of the last picture and within the same limits, so only the points move.
Dimension key: F frames, V rows, C columns.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from torch import Tensor

from charlm.callbacks.embedding_pca.character_kinds import looks_of
from charlm.callbacks.embedding_pca.scatter import Panel, add_legend, labelled_scatter, legend_for, scatter, square
from charlm.callbacks.shared.fonts import quiet_fonts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.figure import Figure

_DPI = 80
_COLUMNS = 3  # of the small multiples
_MILLISECONDS, _LAST_MILLISECONDS = 100, 2000  # for which the animation shows a frame, and the last one


class Film(NamedTuple):
    """The rows of a table during a training.

    steps: F rising steps.
    tables: (F, V, C), C >= 2, finite.
    labels: V texts.
    kinds: V texts; None: all rows look alike.
    name: of the table.
    axes: float64 (C, 2), orthonormal columns.
    axis_names: what the two axes are.
    """

    steps: Sequence[int]
    tables: Tensor
    labels: Sequence[str]
    kinds: Sequence[str] | None
    name: str
    axes: Tensor
    axis_names: Sequence[str]

    def points(self) -> Tensor:
        """The rows of each frame on the two axes, centred: float64 (F, V, 2)."""
        tables = self.tables.double()
        return (tables - tables.mean(1, keepdim=True)) @ self.axes


@quiet_fonts()
def animation(film: Film) -> bytes:
    """Draw a GIF of the rows on two principal axes and by their first two columns, a frame a step."""
    from PIL import Image

    images = [Image.fromarray(pixels) for pixels in _frames(film)]
    palette = images[-1].quantize(256, method=Image.Quantize.FASTOCTREE)
    images = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    durations = [_MILLISECONDS] * (len(images) - 1) + [_LAST_MILLISECONDS]
    file = io.BytesIO()
    images[0].save(file, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0)
    return file.getvalue()


@quiet_fonts()
def small_multiples(film: Film) -> Figure:
    """Draw the rows on two principal axes, three frames in a line; up to nine frames are legible."""
    from matplotlib.figure import Figure

    points = film.points()
    lines, (kinds, looks) = -(-len(film.steps) // _COLUMNS), looks_of(film.kinds or [""] * len(film.labels))
    width = 6.6  # inches
    legend = legend_for(looks, width)
    height = 2.2 * lines + 1.0 + legend.height
    figure = Figure(figsize=(width, height), dpi=100)
    figure.suptitle(film.name, fontsize=14, y=1 - 0.1 / height, va="top", parse_math=False)
    figure.subplots_adjust(0.06, (0.4 + legend.height) / height, 0.99, 1 - 0.65 / height, 0.04, 0.14)
    all_axes = figure.subplots(lines, _COLUMNS).ravel()
    x_limits, y_limits = square(points.flatten(0, 1))
    for axes, step, frame in zip(all_axes, film.steps, points, strict=False):
        axes.set(xlim=x_limits, ylim=y_limits, aspect="equal", xticks=[], yticks=[])
        axes.set_title(f"step {step}", fontsize=11, pad=3)
        scatter(axes, frame, film.labels, kinds, looks, scale=0.55)
        _labels_as_shapes(axes)
    for axes in all_axes[len(film.steps) :]:
        axes.remove()
    x, y = _axis_labels(film)
    figure.supxlabel(x, fontsize=12, y=(0.1 + legend.height) / height, va="bottom")
    figure.supylabel(y, fontsize=12, x=0.01)
    add_legend(figure, all_axes[0], legend)
    return figure


def _axis_labels(film: Film) -> list[str]:
    return [f"{name} of the last step" for name in film.axis_names]


def _frames(film: Film) -> Iterator[np.ndarray]:
    """Pixels of each frame, uint8 (height, width, 3).

    Only the points, labels and title are drawn for each frame: ten times as fast as matplotlib's PillowWriter, which
    draws the whole figure anew.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    views = film.points(), film.tables[..., :2].double()
    x, y = _axis_labels(film)
    panels = [Panel("principal components", x, y, views[0][-1])]
    panels += [Panel("first two columns", "column 0", "column 1", views[1][-1])]
    figure = labelled_scatter(panels, film.labels, "", film.kinds)
    figure.set_dpi(_DPI)
    title = figure.suptitle("", fontsize=15, y=1 - 0.1 / figure.get_figheight(), va="top", parse_math=False)
    moving = [part for axes, view in zip(figure.axes, views, strict=True) for part in _moving(film, axes, view)]
    for artist in (title, *(artist for artist, _ in moving)):
        artist.set_animated(True)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    background = canvas.copy_from_bbox(figure.bbox)
    for frame, step in enumerate(film.steps):
        canvas.restore_region(background)
        title.set_text(f"{film.name}, step {step}")
        for artist, points in moving:
            artist.set_offsets(points[frame].numpy())
            figure.draw_artist(artist)
        figure.draw_artist(title)
        yield np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _moving(film: Film, axes: Axes, view: Tensor) -> Iterator[tuple[Any, Tensor]]:
    """The artists of a panel that move, each with its places (F, n, 2); the limits are set to hold all frames."""
    x_limits, y_limits = square(view.flatten(0, 1))
    axes.set(xlim=x_limits, ylim=y_limits)
    kinds, looks = looks_of(film.kinds or [""] * len(film.labels))
    for group, kind in zip(list(axes.collections), looks, strict=True):
        yield group, view[:, [row for row, k in enumerate(kinds) if k == kind]]
    if axes.texts:
        labelled = [int(note.get_gid() or 0) for note in axes.texts]
        yield _labels_as_shapes(axes), view[:, labelled]


def _labels_as_shapes(axes: Axes) -> PathCollection:
    """Replace all labels of a panel by one collection of shapes, which is drawn fifty times as fast."""
    from matplotlib.collections import PathCollection
    from matplotlib.path import Path
    from matplotlib.textpath import text_to_path
    from matplotlib.transforms import Affine2D

    notes: list[Any] = list(axes.texts)
    shapes, drawn = [], {}
    for note in notes:
        look = (note.get_text(), note.get_fontsize())
        if look not in drawn:
            outline, codes = text_to_path.get_text_path(note.get_fontproperties(), note.get_text())
            corners = np.reshape(outline, (-1, 2)) * note.get_fontsize() / text_to_path.FONT_SCALE
            centred = note.get_ha() == "center" and len(corners)
            middle = (corners.min(0) + corners.max(0)) / 2 if centred else -np.array(note.xyann)
            drawn[look] = Path(corners - middle, codes)
        shapes.append(drawn[look])
        note.remove()
    places, colors = [note.xy for note in notes], [note.get_color() for note in notes]
    letters = PathCollection(shapes, offsets=places, offset_transform=axes.transData, facecolors=colors)
    letters.set(linewidth=0, zorder=3, clip_on=True)
    letters.set_transform(Affine2D().scale(1 / 72) + axes.figure.dpi_scale_trans)
    axes.add_collection(letters, autolim=False)
    return letters
