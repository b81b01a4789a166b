"""A training as it is seen in an embedding: an animation, and a few frames side by side.

All frames are drawn on the same axes, those of the last picture, and within the same limits, so what moves in them are
the points. Dimension key: F frames, V rows, C columns.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from charlm.callbacks.embedding_pca.scatter import (
    Panel,
    add_legend,
    labelled_scatter,
    legend_height,
    looks_of,
    scatter,
    square,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.figure import Figure

_DPI = 80
_COLUMNS = 3  # of the small multiples
_MILLISECONDS = 100  # a frame of the animation
_LAST_MILLISECONDS = 2000


class Film(NamedTuple):
    """A table's rows through a training.

    steps: F of them, rising.
    tables: (F, V, C), C >= 2, finite.
    labels: V texts.
    kinds: V texts; None for rows that are all alike.
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


def animation(film: Film) -> bytes:
    """A GIF of the rows on two principal axes and by their first two columns, step after step.

    What stays is drawn once, and the frames go to Pillow, as those of matplotlib's PillowWriter do; that one draws the
    whole figure anew for each frame, which takes ten times as long.
    """
    from PIL import Image

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a letter that no font has is drawn as a box, as in `render`
        frames = list(_frames(film))
    last = Image.fromarray(frames[-1]).quantize(256)
    colors = torch.tensor(last.getpalette()).view(-1, 3)
    cube = torch.cartesian_prod(*[torch.arange(16) * 17.0] * 3)  # every colour of 4 bits a channel
    nearest = torch.cdist(cube, colors.float()).argmin(1).byte().numpy()
    images = []
    for frame in frames:
        red, green, blue = (frame >> 4).astype(np.uint16).transpose(2, 0, 1)
        images.append(Image.fromarray(nearest[red << 8 | green << 4 | blue]))
        images[-1].putpalette(last.getpalette() or [])
    durations = [_MILLISECONDS] * (len(images) - 1) + [_LAST_MILLISECONDS]
    file = io.BytesIO()
    images[0].save(file, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0)
    return file.getvalue()


def small_multiples(film: Film) -> Figure:
    """The rows on two principal axes, three frames in a line; up to nine frames are legible."""
    from matplotlib.figure import Figure

    (points, _), (x, y) = _views(film)
    lines, (kinds, looks) = -(-len(film.steps) // _COLUMNS), looks_of(film.kinds or [""] * len(film.labels))
    width = 6.6  # inches
    legend = legend_height(looks, width)
    height = 2.2 * lines + 1.0 + legend
    figure = Figure(figsize=(width, height), dpi=100)
    figure.suptitle(film.name, fontsize=14, y=1 - 0.1 / height, va="top", parse_math=False)
    figure.subplots_adjust(0.06, (0.4 + legend) / height, 0.99, 1 - 0.65 / height, 0.04, 0.14)
    all_axes = figure.subplots(lines, _COLUMNS).ravel()
    x_limits, y_limits = square(points.flatten(0, 1))
    for axes, step, frame in zip(all_axes, film.steps, points, strict=False):
        axes.set(xlim=x_limits, ylim=y_limits, aspect="equal", xticks=[], yticks=[])
        axes.set_title(f"step {step}", fontsize=11, pad=3)
        scatter(axes, frame, film.labels, kinds, looks, scale=0.55)
        _letters_as_shapes(axes)
    for axes in all_axes[len(film.steps) :]:
        axes.remove()
    figure.supxlabel(x, fontsize=12, y=(0.1 + legend) / height, va="bottom")
    figure.supylabel(y, fontsize=12, x=0.01)
    add_legend(figure, all_axes[0], looks)
    return figure


def _views(film: Film) -> tuple[tuple[Tensor, Tensor], tuple[str, str]]:
    """Points (F, V, 2) of both panels, in the first each frame centred by itself, and what the first one's axes are."""
    tables = film.tables.double()
    points = (tables - tables.mean(1, keepdim=True)) @ film.axes
    x, y = (f"{name} of the last step" for name in film.axis_names)
    return (points, tables[..., :2]), (x, y)


def _frames(film: Film) -> Iterator[np.ndarray]:
    """Pixels of each frame, uint8 (height, width, 3); only points, letters and the title are drawn for each."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    views, (x, y) = _views(film)
    panels = [Panel("principal components", x, y, views[0][-1])]
    panels += [Panel("first two columns", "column 0", "column 1", views[1][-1])]
    figure = labelled_scatter(panels, film.labels, "", film.kinds)
    figure.set_dpi(_DPI)
    kinds, looks = looks_of(film.kinds or [""] * len(film.labels))
    rows = [[row for row, k in enumerate(kinds) if k == kind] for kind in looks]
    title = figure.suptitle("", fontsize=15, y=1 - 0.1 / figure.get_figheight(), va="top", parse_math=False)
    moving: list[tuple[Any, list[int], Tensor]] = []  # what moves, its rows, and where they are (F, V, 2)
    for axes, view in zip(figure.axes, views, strict=True):
        x_limits, y_limits = square(view.flatten(0, 1))
        axes.set(xlim=x_limits, ylim=y_limits)
        parts = [*zip(axes.collections, rows, strict=True)]
        if axes.texts:
            lettered = [int(note.get_gid() or 0) for note in axes.texts]
            parts += [(_letters_as_shapes(axes), lettered)]
        moving += [(part, of, view) for part, of in parts]
    for part in (title, *(part for part, _, _ in moving)):
        part.set_animated(True)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    still = canvas.copy_from_bbox(figure.bbox)
    for frame, step in enumerate(film.steps):
        canvas.restore_region(still)
        title.set_text(f"{film.name}, step {step}")
        for part, of, view in moving:
            part.set_offsets(view[frame][of].numpy())
            figure.draw_artist(part)
        figure.draw_artist(title)
        yield np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _letters_as_shapes(axes: Axes) -> PathCollection:
    """Put one collection of shapes in the place of all labels of a panel: it is drawn fifty times as fast."""
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
    colors = [note.get_color() for note in notes]
    letters = PathCollection(
        shapes, offsets=[note.xy for note in notes], offset_transform=axes.transData, facecolors=colors
    )
    letters.set(linewidth=0, zorder=3, clip_on=True)
    letters.set_transform(Affine2D().scale(1 / 72) + axes.figure.dpi_scale_trans)
    for note in notes:
        note.remove()
    axes.add_collection(letters, autolim=False)
    return letters
