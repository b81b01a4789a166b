"""Draw loss curves as matplotlib Figures, without pyplot. Dimension key: N points of a curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from charlm.callbacks.shared.fonts import quiet_fonts
from charlm.callbacks.shared.palette import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY_BLUE, VERMILION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# no yellow, which is too faint for a line
_COLORS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY_BLUE, BLACK)
_STYLES = ("-", (0, (4, 1.5)))
_STAR: dict[str, Any] = {"markersize": 15, "markeredgecolor": "white", "markeredgewidth": 1}
_TITLE: dict[str, Any] = {"ha": "right", "va": "top", "fontsize": 9, "parse_math": False, "backgroundcolor": "white"}
MOST_RUNS = len(_COLORS) * len(_STYLES)
_SMOOTHED = 200  # from this many train points on, their running mean is drawn
_DOTTED = 60  # up to this many val points, each has a dot
_LONGEST = 60  # characters of a name shown in the legend
_WIDTH, _HEIGHT = 7.2, 4.4  # inches, small beside the letters, so that they can be read on TensorBoard's cards
_CHARACTER = 0.0105  # width of a character of an annotation, as a share of the axis
_ROWS = 3  # of texts above the axes

Curve = tuple[Sequence[float] | np.ndarray, Sequence[float] | np.ndarray]
"""Steps, and a loss for each of them."""


def loss_curves(
    runs: Mapping[str, Mapping[str, Curve]],
    annotations: Mapping[str, Mapping[float, str]] | None = None,
    label: str = "loss (nats per character)",
    best: bool = True,
    panels: Mapping[str, str] | None = None,
) -> Figure:
    """Draw the losses of several runs by step: train thin, val thick, a colour for each run, a star at the lowest val.

    The train curve of a single run has a colour of its own.

    Each point of a long train curve is the mean of the last fiftieth of its points, as losses of single batches vary
    too much; it does not look ahead, so the curve falls after the step at which the rate drops. The axis may cut off
    the first losses, and a run that diverges beside others, so that the rest can be seen.

    Args:
        runs: for each run's name its curves, "train", "val" or both; at most `MOST_RUNS` runs.
        annotations: for each run's name the steps at which a dotted line is drawn, each with its text.
        label: title of the loss axis.
        best: draw a star at the lowest value of each val curve.
        panels: for each run's name the title of its panel, where losses cannot be compared; None: one panel.

    Raises:
        ValueError: more than `MOST_RUNS` runs.
    """
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    from charlm.callbacks.shared.shown_figure import ShownFigure

    if len(runs) > MOST_RUNS:
        raise ValueError(f"{len(runs)} runs in one picture cannot be told apart; choose {MOST_RUNS} at most")
    titles = list(dict.fromkeys((panels or {}).values())) or [""]
    figure = ShownFigure(figsize=(_WIDTH, _HEIGHT), dpi=140, layout="constrained")
    looks: dict[str, dict[str, Any]] = {
        name: {"color": _COLORS[i % len(_COLORS)], "linestyle": _STYLES[i // len(_COLORS)]}
        for i, name in enumerate(runs)
    }
    train_color = VERMILION if len(runs) == 1 else None
    edges = [(len(runs) - 1 - i) / len(runs) ** 2 for i in range(len(runs))]
    for axes, title in zip(figure.subplots(len(titles), sharex=True, squeeze=False)[:, 0], titles, strict=True):
        here = [name for name in runs if panels is None or panels[name] == title]
        drawn = [
            _draw(axes, runs[name], looks[name], edge, train_color, best)
            for name, edge in zip(looks, edges, strict=True)
            if name in here
        ]
        axes.set_ylim(*_limits(drawn))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.set_ylabel(label)
        if title:
            axes.text(1, 1, title, transform=axes.transAxes, **_TITLE)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        of_panel = {name: of_run for name, of_run in (annotations or {}).items() if name in here}
        _annotate(axes, {name: look["color"] for name, look in looks.items()}, of_panel)
    axes.set_xlabel("optimizer step")
    figure.set_figheight(_HEIGHT * (0.4 + 0.6 * len(titles)) + 0.2 * _legend(figure, looks, runs, best))
    return figure


def trailing_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Mean over each point and the `window` - 1 before it, over fewer at the beginning: float64 (N,).

    Args:
        values: float64 (N,); NaN and infinite values are ignored.
        window: points, from 1 to N.

    Example:
        >>> trailing_mean(np.array([1.0, 2.0, 6.0, 4.0]), 3).tolist()
        [1.0, 1.5, 3.0, 4.0]
    """
    finite = np.isfinite(values)
    sums = np.convolve(np.where(finite, values, 0.0), np.ones(window))[: len(values)]
    counts = np.convolve(finite, np.ones(window))[: len(values)]
    return np.divide(sums, counts, out=np.full(len(values), np.nan), where=counts > 0.5)


def lowest(curve: Curve) -> tuple[int, float] | None:
    """The step and the value of the lowest finite value of a curve; None if it has none."""
    steps, values = np.asarray(curve[0]), np.asarray(curve[1], float)
    if not np.isfinite(values).any():
        return None
    at = int(np.nanargmin(np.where(np.isfinite(values), values, np.nan)))
    return int(steps[at]), float(values[at])


def _draw(
    axes: Axes, curves: Mapping[str, Curve], look: dict[str, Any], edge: float, train_color: str | None, best: bool
) -> list[np.ndarray]:
    """Draw a run, and return the losses of each curve as drawn.

    `edge`, from 0 to 1, is extra width, so that a curve stays visible behind an equal one that is drawn later.
    """
    shown = []
    for part, (steps, losses) in curves.items():
        values = np.asarray(losses, float)
        if part == "val":
            dots = "o" if len(values) <= _DOTTED else ""
            sizes: dict[str, Any] = {"linewidth": 2 + 3 * edge, "marker": dots, "markersize": 5 + 6 * edge}
            axes.plot(steps, values, **look, **sizes, zorder=3)
            if best and (low := lowest((steps, values))):
                axes.plot(*low, "*", color=look["color"], **_STAR, zorder=5)
        else:
            if len(values) >= _SMOOTHED:
                values = trailing_mean(values, len(values) // 50)
            of_train = look | ({"color": train_color} if train_color else {})
            axes.plot(steps, values, **of_train, linewidth=0.9 + 1.6 * edge, zorder=2)
        shown.append(values)
    return shown


def _limits(drawn: Sequence[Sequence[np.ndarray]]) -> tuple[float | None, float | None]:
    """Lower and upper limit of the loss axis; None without finite losses."""
    finite = [[values[np.isfinite(values)] for values in curves] for curves in drawn]
    runs = [curves for curves in ([values for values in of_run if len(values)] for of_run in finite) if curves]
    if not runs:
        return None, None
    ranges = [_range(curves) for curves in runs]
    begins = [max(values[0] for values in curves) for curves in runs]
    ends = [max(values[-1] for values in curves) for curves in runs]
    descent = max(begin - low for begin, (low, _) in zip(begins, ranges, strict=True))
    # a run that diverges may leave the picture if another one does not
    stays = [end - begin <= descent for begin, end in zip(begins, ends, strict=True)]
    bottom = min(low for low, _ in ranges)
    top = max(high for (_, high), stay in zip(ranges, stays, strict=True) if stay or not any(stays))
    margin = 0.06 * (top - bottom) or 0.05 * abs(top) or 1.0
    return bottom - margin, top + 2 * margin


def _range(curves: Sequence[np.ndarray]) -> tuple[float, float]:
    """Lowest and highest loss of a run, without the high losses at its start; all losses are finite."""
    low, high = np.inf, -np.inf
    for values in curves:
        low = min(low, values.min())
        highest = values.max()
        if len(values) >= 10:
            rest = np.quantile(values[-(-len(values) // 50) :], 0.99)
            highest = highest if highest - low <= 3 * (rest - low) else rest
        high = max(high, highest)
    return float(low), float(high)


def _annotate(axes: Axes, colors: Mapping[str, str], annotations: Mapping[str, Mapping[float, str]]) -> None:
    """Draw a line at every annotated step, in grey if several runs share it, and its text above the axes."""
    owners: dict[tuple[float, str], list[str]] = {}
    for name, of_run in annotations.items():
        for step, text in of_run.items():
            owners.setdefault((step, text), []).append(name)
    left, right = axes.get_xlim()
    ends = [-np.inf] * _ROWS  # where the last text of each row ends, as a share of the axis
    for (step, text), names in sorted(owners.items()):
        color = colors[names[0]] if len(names) == 1 and len(colors) > 1 else "0.35"
        axes.axvline(step, color=color, linewidth=1, linestyle=(0, (1, 1.5)), zorder=0)
        width = _CHARACTER * len(text)
        begin = min(max((step - left) / (right - left) - width / 2, 0.0), 1.0 - width)
        row = next((row for row, end in enumerate(ends) if begin > end), None)
        if row is None:
            continue  # no room for a text; the line still shows the step
        ends[row] = begin + width
        axes.annotate(
            text, (begin + width / 2, 1.0), xytext=(0, 3 + 11 * row), xycoords="axes fraction",
            textcoords="offset points", ha="center", va="bottom", fontsize=8, color=color,
        )  # fmt: skip


def _legend(
    figure: Figure, looks: Mapping[str, dict[str, Any]], runs: Mapping[str, Mapping[str, Curve]], best: bool
) -> int:
    """Add the legend in as many columns as fit, and return its number of rows."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.lines import Line2D

    alone = len(looks) == 1
    colors = {"train": VERMILION, "val": _COLORS[0]} if alone else {"train": "0.35", "val": "0.35"}
    handles = [Line2D([], [], **look, linewidth=0 if alone else 2.5) for look in looks.values()]
    texts = [
        name if len(name) <= _LONGEST else f"{name[: _LONGEST // 2]} ... {name[-_LONGEST // 2 :]}" for name in looks
    ]
    if best:
        lows = [lowest(runs[name]["val"]) if "val" in runs[name] else None for name in looks]
        texts = [f"{text}: {low[1]:.4f}" if low else text for text, low in zip(texts, lows, strict=True)]
    if any("train" in curves for curves in runs.values()):
        handles.append(Line2D([], [], color=colors["train"], linewidth=1))
        long = any(len(curves["train"][0]) >= _SMOOTHED for curves in runs.values() if "train" in curves)
        texts.append("train (trailing mean)" if long else "train")
    if any("val" in curves for curves in runs.values()):
        handles.append(Line2D([], [], color=colors["val"], linewidth=2.2, marker="o", markersize=5))
        texts.append("val")
    if best and any("val" in curves for curves in runs.values()):
        handles.append(Line2D([], [], color=colors["val"], linewidth=0, marker="*", **_STAR))
        texts.append("lowest val")
    renderer = FigureCanvasAgg(figure).get_renderer()
    for columns in range(len(texts), 0, -1):
        legend = figure.legend(handles, [" "] * len(texts), loc="outside upper center", ncols=columns, frameon=False)
        for shown, text in zip(legend.get_texts(), texts, strict=True):
            shown.set_parse_math(False)  # a name may contain dollar signs
            shown.set_text(text)
        with quiet_fonts():
            width = legend.get_window_extent(renderer).width
        if columns == 1 or width <= figure.bbox.width:
            break
        legend.remove()
    return -(-len(texts) // columns)
