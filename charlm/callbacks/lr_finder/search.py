"""The search for a learning rate: a sweep, then trials from the rate that it suggests."""

import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tqdm import tqdm

from charlm.callbacks.internals.lightning import rank_zero_info
from charlm.callbacks.lr_finder.climb import climb
from charlm.callbacks.lr_finder.result import LRFinderResult
from charlm.callbacks.lr_finder.rules import RULES, Divergence, finite_part
from charlm.callbacks.lr_finder.sweep import LRSweep
from charlm.callbacks.shared.terminal import can_redraw

_USUAL_TRIALS = 6
_TIMED = 10  # steps
_LONG = 10.0  # seconds from which an estimate is told


class Interrupted(Exception):
    """A callback asks for the end of the training; its `on_iteration_end` ends it."""

    def __init__(self, callback: Any) -> None:
        super().__init__()
        self.callback = callback


@dataclass
class Search:
    """A sweep, then trials.

    Args:
        lrs: the rates of the sweep, rising.
        repeats: number of sweeps.
        rule: the name of the rule whose rate the trials begin with.
        stop_factor: see `Divergence`.
        trial_steps: steps of each trial; 0: no trials.
        steps: optimizer steps of the training that follows; infinite if not known.
        schedule: its rates at evenly spaced points, relative to the configured rate; a trial has the same schedule.
    """

    lrs: list[float]
    repeats: int
    rule: str
    stop_factor: float
    trial_steps: int
    steps: float
    schedule: list[float]

    def run(self, sweep: LRSweep, shows_bar: bool) -> LRFinderResult:
        """Search, and leave the training as it was.

        Raises:
            Interrupted: a callback asks for the end of the training.
        """
        self.sweep = sweep
        of_sweeps, of_trials = self.repeats * len(self.lrs), _USUAL_TRIALS * self.trial_steps
        off = not shows_bar or not can_redraw(sys.stderr)
        with tqdm(total=of_sweeps + of_trials, desc="LR sweep", leave=False, disable=off) as self.bar:
            self.clock = [time.monotonic()]  # after each of the first steps
            with sweep:
                sweeps = [self._losses(self.lrs, Divergence(self.stop_factor).update) for _ in range(self.repeats)]
            result = LRFinderResult.of(self.lrs, sweeps, self.rule)
            if not self.trial_steps:
                return result
            self.bar.total = sum(map(len, sweeps)) + of_trials
            decays = self.schedule[-1] < max(self.schedule) / 2
            start = self._start(result)
            found = climb(self._trial, start, trial_steps=self.trial_steps, steps=self.steps, decays=decays)
            return replace(result, climb=found)

    def _start(self, result: LRFinderResult) -> float:
        """The rule's rate, also at the edge of a sweep, as the highest of the schedule; else the configured one."""
        losses = finite_part(result.sweeps[0])
        try:
            rate = result.suggestions.get(self.rule) or RULES[self.rule](self.lrs[: len(losses)], losses)
            return rate / (max(self.schedule) or 1.0)
        except ValueError:
            return self.sweep.peak or 1e-3

    def _trial(self, rate: float, steps: int) -> list[float]:
        """The losses of a short training on the same batches as any other, with the whole schedule."""
        self.bar.set_description(f"LR trial at {rate:.2g}")
        self.bar.total = max(self.bar.total, self.bar.n + steps)
        rates = [rate * self.schedule[(2 * step + 1) * len(self.schedule) // (2 * steps)] for step in range(steps)]
        with self.sweep:
            return self._losses(rates, lambda loss: not math.isfinite(loss))

    def _losses(self, rates: Sequence[float], stops: Callable[[float], bool]) -> list[float]:
        """The losses of one pass, up to the first one at which it stops."""
        losses = []
        for loss in self.sweep.run(rates):
            self.bar.update()
            self._estimate()
            losses.append(loss)
            if stops(loss):
                break
            for callback in self.sweep.callbacks:
                if getattr(callback, "stops_now", False):
                    raise Interrupted(callback)
        return losses

    def _estimate(self) -> None:
        """After some steps, tell how long all of them take, where that is long."""
        if len(self.clock) > _TIMED:
            return
        self.clock.append(time.monotonic())
        each = (self.clock[-1] - self.clock[1]) / (_TIMED - 1)  # the first step may compile something
        if len(self.clock) > _TIMED and self.bar.total * each > _LONG:
            long = self.bar.total * each
            spelled = f"{long / 60:.0f} minutes" if long > 120 else f"{long:.0f} seconds"
            self.bar.clear()  # else the sentence would begin at the end of its line
            rank_zero_info(f"LRFinder: about {self.bar.total:,} steps, which take {spelled}")
