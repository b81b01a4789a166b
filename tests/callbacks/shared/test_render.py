import io

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from charlm.callbacks.shared.render import png, render


def test_a_chart_has_a_palette_and_a_picture_of_many_colours_keeps_them_all():
    figure = Figure(figsize=(4, 3))
    figure.subplots().plot([1, 3, 2])
    for pixels, mode in ((render(figure), "P"), (np.random.default_rng(0).integers(256, size=(50, 50, 3)), "RGB")):
        pixels = pixels.astype(np.uint8)
        picture = Image.open(io.BytesIO(png(pixels)))
        assert picture.mode == mode
        difference = np.abs(np.asarray(picture.convert("RGB"), float) - pixels).mean()
        assert difference < 0.2 if mode == "P" else difference == 0
