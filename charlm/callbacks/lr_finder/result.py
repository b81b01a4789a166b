"""The result of a learning-rate sweep, in numbers. Dimension key: R repeats, P points."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import mode
from typing import TYPE_CHECKING, Any

from charlm.callbacks.lr_finder.climb import Climb, Trial
from charlm.callbacks.lr_finder.rules import (
    RULES,
    Rule,
    Status,
    combine,
    diagnose,
    finite_part,
    smooth,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REASONS = {
    "ok": "the loss fell and then rose",
    "never_diverged": "the loss did not rise up to the highest rate; a higher max_lr may show a better rate",
    "never_descended": "the loss did not fall clearly; trials (trial_steps) or more num_steps see through its noise",
    "too_few_points": "too few losses were finite; give a lower min_lr or more num_steps",
    "minimum_at_edge": "the loss is lowest at the end of the range of rates; give a wider range",
}
"""What each status means, and what to do."""
_USEFUL = ("ok", "never_diverged")  # these have a suggestion


@dataclass(frozen=True, repr=False)
class LRFinderResult:
    """A sweep, what the rules suggest, and the trials that followed. A notebook shows its picture.

    Args:
        lrs: P learning rates, rising, of the parameter group with the highest rate.
        sweeps: the raw losses of each of R sweeps; a sweep that was stopped has fewer than P.
        rule: the name of the rule that makes the suggestion, or that suggests where the trials begin.
        status: what the sweeps showed: ok, never_diverged, never_descended, too_few_points or minimum_at_edge.
        suggestions: learning rate by the name of the rule, the median over the sweeps; rules that find none are left
            out, and so are sweeps without a descent if they are at most half of all.
        climb: the trials; None: the rule alone makes the suggestion.
    """

    lrs: list[float]
    sweeps: list[list[float]]
    rule: str
    status: Status
    suggestions: dict[str, float] = field(default_factory=dict)
    climb: Climb | None = None

    @classmethod
    def of(cls, lrs: Sequence[float], sweeps: Sequence[Sequence[float]], rule: str) -> LRFinderResult:
        """Apply the rules to sweeps.

        Args:
            lrs: P rates, rising.
            sweeps: R lists of at most P losses; the last ones may be NaN or infinite.
            rule: one of `charlm.callbacks.lr_finder.rules.RULES`.
        """
        rates, losses = [float(lr) for lr in lrs], [[float(loss) for loss in sweep] for sweep in sweeps]
        seen = [diagnose(rates[: len(sweep)], sweep, len(sweep) < len(rates)) for sweep in losses]
        useful = [finite_part(sweep) for sweep, status in zip(losses, seen, strict=True) if status in _USEFUL]
        if 2 * len(useful) < len(losses):
            return cls(rates, losses, rule, mode(status for status in seen if status not in _USEFUL))
        suggestions = {}
        for name, apply in RULES.items():
            found = [rate for sweep in useful if (rate := _rate(apply, rates, sweep)) is not None]
            if found:
                suggestions[name] = combine(found)
        if rule not in suggestions:
            return cls(rates, losses, rule, "too_few_points")
        return cls(rates, losses, rule, mode(status for status in seen if status in _USEFUL), suggestions)

    @property
    def suggestion(self) -> float | None:
        """The learning rate to train with; None if there is none, see `reason`."""
        return self.suggestions.get(self.rule) if self.climb is None else self.climb.suggestion

    @property
    def reason(self) -> str:
        """What the search showed, in words, and what to do about it."""
        climb = self.climb
        if climb is None:
            return REASONS[self.status]
        rates = [trial.rate for trial in climb.trials]
        if climb.rate is None:
            what, advice = "became NaN or infinite", "check the loss and the data, or begin with a lower rate"
            if any(math.isfinite(trial.loss) for trial in climb.trials):
                what, advice = "stayed as it was", "check that it depends on the weights, or begin with a higher rate"
            each = f"in each of {len(rates)} trials, at rates from {min(rates):.2g} to {max(rates):.2g}"
            return f"the loss {what} {each}; {advice}"
        best = f"the best of {len(rates)} trials is near {climb.rate:.3g}"
        longer = f"; times {climb.factor:.2g} for {climb.steps:,.0f} steps" + " with decay" * climb.decays
        return best + longer * (climb.factor != 1)

    def __repr__(self) -> str:
        found = "no learning rate" if self.suggestion is None else f"learning rate {self.suggestion:.3g}"
        return f"LRFinderResult: {found}\n  {self.reason}"

    def _repr_png_(self) -> bytes:
        """The picture, for a notebook."""
        shown: Any = self.figure()
        return bytes(shown._repr_png_())

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> LRFinderResult:
        """The result that has this `state`; its other parts follow from it."""
        climb = state.get("climb")  # older checkpoints have none
        trials = [Trial(**trial) for trial in climb["trials"]] if climb else []
        return replace(
            cls.of(state["lrs"], state["sweeps"], state["rule"]),
            climb=Climb(**climb | {"trials": trials}) if climb else None,
        )

    @property
    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: plain values."""
        climb = self.climb and asdict(self.climb)
        return {"lrs": self.lrs, "sweeps": self.sweeps, "rule": self.rule, "climb": climb}

    @property
    def losses(self) -> list[float]:
        """The raw loss before the step at each rate: the mean over the sweeps that reached it."""
        return mean_of(self.sweeps)

    @property
    def smoothed(self) -> list[float]:
        """The losses before the first NaN or infinite one, without the noise of the batches."""
        return smooth(finite_part(self.losses))

    def figure(self) -> Figure:
        """Draw the sweep, see `charlm.callbacks.lr_finder.figure`."""
        from charlm.callbacks.lr_finder.figure import lr_figure

        return lr_figure(self)

    def plot(self) -> Figure:
        """The same figure, by the name that other finders have for it; a notebook shows it."""
        return self.figure()

    def to_json(self) -> str:
        """The result without the points, as JSON."""
        numbers = {
            "rule": self.rule,
            "suggestion": self.suggestion,
            "status": self.status,
            "reason": self.reason,
            "suggestions": self.suggestions,
            "points": len(self.losses),
            "climb": self.climb and asdict(self.climb),
        }
        return json.dumps(_finite(numbers), indent=2) + "\n"

    def to_csv(self) -> str:
        """The points as a table: lr, the raw loss, the smoothed loss and, with several sweeps, the loss of each."""
        smoothed, several = self.smoothed, self.sweeps if len(self.sweeps) > 1 else []
        text = io.StringIO()
        write = csv.writer(text, lineterminator="\n").writerow
        write(["lr", "loss", "smoothed", *(f"loss_{number}" for number, _ in enumerate(several, start=1))])
        for point, loss in enumerate(self.losses):
            each = [sweep[point] if point < len(sweep) else "" for sweep in several]
            write([self.lrs[point], loss, smoothed[point] if point < len(smoothed) else "", *each])
        return text.getvalue()


def _rate(rule: Rule, lrs: Sequence[float], losses: Sequence[float]) -> float | None:
    """The rate that a rule suggests for one sweep, or None."""
    try:
        return rule(lrs[: len(losses)], losses)
    except ValueError:  # too few points for this rule
        return None


def mean_of(sweeps: Sequence[Sequence[float]]) -> list[float]:
    """The mean at each point over the sweeps that have a finite loss there; NaN if none has."""
    longest = max(map(len, sweeps), default=0)
    at = [[s[point] for s in sweeps if point < len(s) and math.isfinite(s[point])] for point in range(longest)]
    return [sum(losses) / len(losses) if losses else math.nan for losses in at]


def _finite(value: Any) -> Any:
    """The value with None in place of infinite numbers, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
