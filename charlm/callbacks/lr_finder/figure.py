"""The picture of a learning-rate sweep. Dimension key: P points."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any

from charlm.callbacks.shared import palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_FAINT, _STRONG, _CHOSEN = palette.SKY_BLUE, palette.BLUE, palette.VERMILION
_MARKS = "osD^vP*X"


def lr_figure(result: Any) -> Figure:
    """Loss against learning rate on a logarithmic axis.

    Raw losses are faint and smoothed ones strong. Markers on the curve show every rule's suggestion, a vertical line
    the one that is used, a bar at the bottom the range for one cycle, and a cross the point where the loss diverged.
    Several sweeps are a band from the lowest to the highest loss.

    Args:
        result: an `LRFinderResult`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5), dpi=100, layout="constrained")
    ax = figure.add_subplot()
    _curves(ax, result)
    _suggestions(ax, result)
    _ending(ax, result)
    ax.set_xscale("log")
    ax.set_xlim(result.lrs[0], result.lrs[-1])
    ax.set_xlabel("learning rate")
    ax.set_ylabel("loss of the batch before its step")
    found = f"{result.suggested}: {result.suggestion:.3g}" if result.suggestion else "no suggestion"
    reason = textwrap.fill(result.reason, 90)
    ax.set_title(f"Learning-rate sweep, {found}\n{reason}", fontsize=11)
    ax.grid(alpha=0.25, which="major")
    figure.legend(loc="outside right upper", fontsize=9, frameon=False)
    return figure


def _curves(ax: Axes, result: Any) -> None:
    smoothed, losses = result.smoothed, result.losses
    if len(result.sweeps) > 1:
        reached = [[s[p] for s in result.sweeps if p < len(s) and math.isfinite(s[p])] for p in range(len(losses))]
        spans = [(lr, min(at), max(at)) for lr, at in zip(result.lrs, reached, strict=False) if at]
        lrs, lows, highs = zip(*spans, strict=True) if spans else ((), (), ())
        ax.fill_between(lrs, lows, highs, color=_FAINT, alpha=0.35, linewidth=0, label=f"{len(result.sweeps)} sweeps")
    ax.plot(result.lrs[: len(losses)], losses, color=_FAINT, linewidth=1, label="loss")
    ax.plot(result.lrs[: len(smoothed)], smoothed, color=_STRONG, linewidth=2, label="smoothed")
    if smoothed:
        # show the descent at full height, and cut off the rise
        low, high = min(smoothed), max(smoothed[0], *smoothed[: max(1, smoothed.index(min(smoothed)))])
        room = 0.35 * (high - low) or 1.0
        ax.set_ylim(low - room, high + room)


def _suggestions(ax: Axes, result: Any) -> None:
    smoothed = result.smoothed
    for place, (name, rate) in enumerate(result.suggestions.items()):
        chosen = name == result.rule
        nearest = min(range(len(smoothed)), key=lambda point: abs(math.log(result.lrs[point] / rate)))
        ax.plot(
            rate,
            smoothed[nearest],
            _MARKS[place % len(_MARKS)],
            color=_CHOSEN if chosen else "0.35",
            markersize=9 if chosen else 6,
            zorder=3,
            label=f"{name}: {rate:.3g}",
        )
        if chosen:
            label = f"{result.suggested}: {result.suggestion:.3g}" if result.lowered else None
            ax.axvline(result.suggestion or rate, color=_CHOSEN, linewidth=1, linestyle="--", label=label)
    if result.range is not None:
        bottom = ax.get_ylim()[0]
        label = f"one cycle: {result.range[0]:.2g} to {result.range[1]:.2g}"
        ax.plot(result.range, (bottom, bottom), color="0.35", linewidth=8, solid_capstyle="butt", label=label)


def _ending(ax: Axes, result: Any) -> None:
    """Mark where the sweep was stopped, or the first NaN or infinite loss."""
    losses, smoothed = result.losses, result.smoothed
    last = len(smoothed) if len(smoothed) < len(losses) else len(losses) - 1
    if smoothed and (len(losses) < len(result.lrs) or len(smoothed) < len(losses)):
        high = ax.get_ylim()[1]
        (cross,) = ax.plot(result.lrs[last], high, "kx", label=f"diverged at {result.lrs[last]:.2g}", clip_on=False)
        cross.set(markersize=10, markeredgewidth=2)
