"""The picture of a learning-rate search, readable at a width of 340 pixels. Dimension key: P points."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any

from charlm.callbacks.shared import palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_FAINT, _STRONG, _CHOSEN = palette.SKY_BLUE, palette.BLUE, palette.VERMILION
_MARKERS = "osD^vP*X"
_LARGE, _SMALL = 15, 12  # half as large on a card


def lr_figure(result: Any) -> Figure:
    """Draw loss against learning rate on a logarithmic axis: the sweep above, the trials below.

    Raw losses are faint and smoothed ones strong; several sweeps are a band from the lowest to the highest loss. A
    dashed line is the rate that is suggested, a dotted one the best rate of the trials, with an arrow between the two,
    and the marker on the sweep is where they began. Without trials there is a marker for the rate of each rule. Crosses
    are where the loss diverged.

    Args:
        result: an `LRFinderResult`.
    """
    from charlm.callbacks.shared.shown_figure import ShownFigure

    figure = ShownFigure(figsize=(6.8, 5.6 if result.climb else 4.6), dpi=100, layout="constrained")
    axes = figure.subplots(2 if result.climb else 1, sharex=True, squeeze=False)[:, 0]
    found = "No learning rate" if result.suggestion is None else f"Learning rate {result.suggestion:.3g}"
    figure.suptitle(found, fontsize=_LARGE, fontweight="bold")
    axes[0].set_title(textwrap.fill(result.reason, 66), fontsize=_SMALL)
    _sweep(axes[0], result)
    if result.climb:
        _trials(axes[1], result.climb)
    rates = [result.lrs[0], result.lrs[-1], *(trial.rate for trial in (result.climb.trials if result.climb else ()))]
    for ax in axes:
        if result.suggestion is not None:
            ax.axvline(result.suggestion, color=_CHOSEN, linewidth=2, linestyle="--", zorder=1)
        ax.set_xscale("log")
        ax.set_xlim(min(rates), max(rates))
        ax.tick_params(labelsize=_SMALL)
        ax.grid(alpha=0.25, which="major")
    axes[-1].set_xlabel("learning rate", fontsize=_SMALL)
    return figure


def _sweep(ax: Axes, result: Any) -> None:
    smoothed, losses = result.smoothed, result.losses
    if len(result.sweeps) > 1:
        reached = [[s[p] for s in result.sweeps if p < len(s) and math.isfinite(s[p])] for p in range(len(losses))]
        spans = [(lr, min(at), max(at)) for lr, at in zip(result.lrs, reached, strict=False) if at]
        lrs, lows, highs = zip(*spans, strict=True) if spans else ((), (), ())
        ax.fill_between(lrs, lows, highs, color=_FAINT, alpha=0.35, linewidth=0, label=f"{len(result.sweeps)} sweeps")
    ax.plot(result.lrs[: len(losses)], losses, color=_FAINT, linewidth=1, label="loss of each step")
    ax.plot(result.lrs[: len(smoothed)], smoothed, color=_STRONG, linewidth=2, label="smoothed")
    ax.set_ylabel("loss in the sweep", fontsize=_SMALL)
    if not smoothed:
        return
    # show the descent at full height, and cut off the rise
    low = min(smoothed)
    high = max(smoothed[: smoothed.index(low)] or smoothed[: len(smoothed) // 2 + 1])
    room = 0.35 * (high - low) or 1.0
    ax.set_ylim(low - room, high + room)
    _rules(ax, result, smoothed)
    _ending(ax, result, smoothed)
    ax.legend(loc="lower left", fontsize=_SMALL, framealpha=0.8)


def _rules(ax: Axes, result: Any, smoothed: list[float]) -> None:
    """Mark what each rule suggests; with trials, only where they began."""
    for place, (name, rate) in enumerate(result.suggestions.items()):
        chosen = name == result.rule
        if result.climb and not chosen:
            continue
        nearest = min(range(len(smoothed)), key=lambda point: abs(math.log(result.lrs[point] / rate)))
        label = f"{name} {rate:.2g}" + ": start" * bool(result.climb)
        (marker,) = ax.plot(rate, smoothed[nearest], _MARKERS[place % len(_MARKERS)], zorder=3, label=label)
        marker.set(color=_STRONG if result.climb else _CHOSEN if chosen else "0.35", markersize=10 if chosen else 7)


def _ending(ax: Axes, result: Any, smoothed: list[float]) -> None:
    """Mark where the sweep was stopped, or the first NaN or infinite loss."""
    losses = result.losses
    last = len(smoothed) if len(smoothed) < len(losses) else len(losses) - 1
    if len(losses) < len(result.lrs) or len(smoothed) < len(losses):
        high = ax.get_ylim()[1]
        (cross,) = ax.plot(result.lrs[last], high, "kx", label=f"diverged at {result.lrs[last]:.2g}", clip_on=False)
        cross.set(markersize=10, markeredgewidth=2)


def _trials(ax: Axes, climb: Any) -> None:
    """A point for each trial, and the way from the best rate to the suggestion."""
    for place, steps in enumerate(sorted({trial.steps for trial in climb.trials})):
        kept = sorted((t.rate, t.loss) for t in climb.trials if t.steps == steps and math.isfinite(t.loss))
        label = f"trials of {steps:,} steps" if kept else None
        rates, losses = [rate for rate, _ in kept], [loss for _, loss in kept]
        ax.plot(rates, losses, _MARKERS[place % len(_MARKERS)] + "-", color=_STRONG, markersize=8, label=label)
    lost = [trial.rate for trial in climb.trials if not math.isfinite(trial.loss)]
    if finite := [trial.loss for trial in climb.trials if math.isfinite(trial.loss)]:
        low, high = min(finite), max(finite)
        room = 0.2 * (high - low) or 1.0
        ax.set_ylim(low - 2 * room, high + room)  # below them is the arrow's place
    if lost:
        (crosses,) = ax.plot(lost, [ax.get_ylim()[1]] * len(lost), "kx", label="diverged", clip_on=False)
        crosses.set(markersize=10, markeredgewidth=2)
    if climb.rate is not None and climb.factor != 1:
        ax.axvline(climb.rate, color=_STRONG, linewidth=2, linestyle=":", zorder=1, label=f"best {climb.rate:.2g}")
        low, high = ax.get_ylim()
        height = low + 0.12 * (high - low)
        arrow = {"arrowstyle": "-|>", "color": _CHOSEN, "linewidth": 2, "mutation_scale": 20}
        ax.annotate("", (climb.suggestion, height), (climb.rate, height), arrowprops=arrow)
        end = (max(climb.rate, climb.suggestion), height)
        text = ax.annotate(f"times {climb.factor:.2g}", end, (12, 0), textcoords="offset points", color=_CHOSEN)
        text.set(verticalalignment="center", fontsize=_SMALL, fontweight="bold")
    ax.set_ylabel("loss in trials", fontsize=_SMALL)
    ax.legend(loc="best", fontsize=_SMALL, framealpha=0.8)
