"""A matplotlib Figure that a notebook shows; imports matplotlib, so import it where something is drawn."""

from matplotlib.figure import Figure

from charlm.callbacks.shared.render import png, render


class ShownFigure(Figure):
    """A Figure that is shown as the last line of a notebook's cell; of others, pyplot would have to be imported."""

    def _repr_png_(self) -> bytes:
        return png(render(self))
