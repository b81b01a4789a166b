"""A matplotlib Figure that a notebook shows; imports matplotlib, so import it where something is drawn."""

from matplotlib.figure import Figure

from charlm.callbacks.shared.render import png, render


class ShownFigure(Figure):
    """A Figure that a notebook shows as a cell's last line; for a plain Figure, pyplot would have to be imported."""

    def _repr_png_(self) -> bytes:
        return png(render(self))
