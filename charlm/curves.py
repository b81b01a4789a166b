"""Curves of losses as matplotlib Figures of their own, never through pyplot."""

from __future__ import annotations

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
