"""Curves of losses as matplotlib Figures of their own, never through pyplot."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# colours that stay apart for colour-blind readers: Okabe and Ito 2008, Color Universal Design
_COLORS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7")
_STYLES = ("-", "--", ":")

Curve = tuple[Sequence[float], Sequence[float]]
"""Steps and as many losses, in nats per character."""


def loss_curves(runs: Mapping[str, Mapping[str, Curve]], marks: Mapping[str, float] | None = None) -> Figure:
    """The losses of several runs by step, a colour for each run and a line style for each split.

    Args:
        runs: by the run's name, by the split's name: the curve; up to four runs of up to three splits.
        marks: by their text: steps to mark by a vertical line.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), dpi=110, layout="constrained")
    axes = figure.subplots()
    for (run, curves), color in zip(runs.items(), _COLORS, strict=False):
        for (split, (steps, losses)), style in zip(curves.items(), _STYLES, strict=False):
            axes.plot(steps, losses, style, color=color, marker="o", markersize=3, label=f"{run}: {split}")
    for text, step in (marks or {}).items():
        axes.axvline(step, color="0.4", linewidth=1.2, label=text)
    axes.set_xlabel("optimizer steps done")
    axes.set_ylabel("loss (nats per character)")
    axes.grid(alpha=0.25)
    figure.legend(loc="outside upper center", ncols=len(runs) + bool(marks), frameon=False)
    return figure


def lr_sweep(rates: Sequence[float], losses: Sequence[float], lowest: int) -> Figure:
    """The loss of each step of a learning-rate sweep against log10 of its rate.

    Losses above one and a half times the first one are cut off, so that the end of the sweep, where the training
    explodes, leaves room for the rest.

    Args:
        rates: > 0, rising.
        losses: as many, in nats per character; NaN leaves a gap.
        lowest: the index of the point to mark.

    Source: Smith 2017, Cyclical Learning Rates for Training Neural Networks, section 3.3.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), dpi=110, layout="constrained")
    axes = figure.subplots()
    exponents = [math.log10(rate) for rate in rates]
    axes.plot(exponents, losses, color=_COLORS[1], linewidth=0.8)
    text = f"lowest: loss {losses[lowest]:.4f} at rate {rates[lowest]:.4g}"
    axes.plot(exponents[lowest], losses[lowest], "o", color=_COLORS[0], label=text)
    axes.set_xlabel("log10 of the learning rate")
    axes.set_ylabel("loss of the step's batch (nats per character)")
    axes.set_ylim(0, 1.5 * losses[0])
    axes.grid(alpha=0.25)
    axes.legend(loc="lower left")
    return figure
