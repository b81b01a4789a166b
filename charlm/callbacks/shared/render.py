"""A matplotlib Figure as pixels, and those as a PNG file."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure


def render(figure: Figure) -> np.ndarray:
    """The pixels of a figure: uint8 (height, width, 3), red, green and blue."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a letter that no font has is drawn as a box, which says as much
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of pixels, uint8 (height, width, 3)."""
    from matplotlib.image import imsave

    file = io.BytesIO()
    imsave(file, pixels, format="png", pil_kwargs={"compress_level": 1})  # half the time of the default
    return file.getvalue()
