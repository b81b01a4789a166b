"""A matplotlib Figure as pixels, and pixels as a PNG file."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from charlm.callbacks.shared.fonts import quiet_fonts

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure


@quiet_fonts()
def render(figure: Figure) -> np.ndarray:
    """Draw a figure: uint8 (height, width, 3), red, green and blue."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def png(pixels: np.ndarray) -> bytes:
    """Return pixels, uint8 (height, width, 3), as a PNG file."""
    from matplotlib.image import imsave

    file = io.BytesIO()
    imsave(file, pixels, format="png", pil_kwargs={"compress_level": 1})  # half the time of the default level
    return file.getvalue()
