"""A matplotlib Figure as pixels, pixels as a PNG file, and a file as a picture in TensorBoard."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from charlm.callbacks.shared.fonts import quiet_fonts

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

_SEEN = 1.0  # mean difference of a colour, of 255; charts have 0.02 to 0.4, photographs more than 2


@quiet_fonts()
def render(figure: Figure) -> np.ndarray:
    """Draw a figure: uint8 (height, width, 3), red, green and blue."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def png(pixels: np.ndarray) -> bytes:
    """Return pixels, uint8 (height, width, 3), as a PNG file.

    It has a palette of 256 colours where that shows no difference, as in charts: a third of the bytes.
    """
    import numpy as np
    from PIL import Image

    picture = Image.fromarray(pixels)
    few = picture.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)  # half of the default's time
    if np.abs(np.asarray(few.convert("RGB"), np.int16) - pixels).mean() > _SEEN:
        few = picture
    file = io.BytesIO()
    few.save(file, "PNG")
    return file.getvalue()


def add_picture_file(writer: Any, content: bytes, tag: str, step: int) -> None:
    """Add a PNG or GIF file to TensorBoard as it is; `SummaryWriter.add_image` would encode its pixels anew.

    Args:
        writer: the `file_writer` of a SummaryWriter.
        content: the file.
        tag: the name in TensorBoard.
        step: the x-axis value.
    """
    from PIL import Image
    from tensorboard.compat.proto.summary_pb2 import Summary

    width, height = Image.open(io.BytesIO(content)).size
    image = Summary.Image(width=width, height=height, colorspace=3, encoded_image_string=content)
    writer.add_summary(Summary(value=[Summary.Value(tag=tag, image=image)]), step)
