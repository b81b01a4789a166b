"""The arguments of `LRFinder`, checked before a training, and the rates that they give."""

import math
from collections.abc import Collection, Mapping
from typing import Any

from charlm.callbacks.lr_finder.climb import MIN_TRIAL_STEPS
from charlm.callbacks.lr_finder.rules import MIN_POINTS, RULES


def check_arguments(of: Mapping[str, Any]) -> None:
    """Check arguments by name.

    Raises:
        ValueError: one of them is outside its range.
    """
    if not 0 < of["min_lr"] < of["max_lr"] < math.inf:
        raise ValueError(f"LRFinder's min_lr is {of['min_lr']} and max_lr is {of['max_lr']}; give 0 < min_lr < max_lr")
    trials, epochs = of["trial_steps"], of["at_epochs"]
    allowed = {
        "num_steps": (_whole(of["num_steps"], MIN_POINTS), f"a whole number, {MIN_POINTS} or more"),
        "mode": (of["mode"] in ("log", "linear"), "log or linear"),
        "repeats": (_whole(of["repeats"], 1), "a whole number, 1 or more"),
        "rule": (isinstance(of["rule"], str) and of["rule"] in RULES, f"one of {', '.join(RULES)}"),
        "trial_steps": (
            trials == 0 or _whole(trials, MIN_TRIAL_STEPS),
            f"0 for no trials, or a whole number, {MIN_TRIAL_STEPS} or more",
        ),
        "horizon": (of["horizon"] is None or _whole(of["horizon"], 0), "a number of steps, 0 for no factor, or None"),
        "on_failure": (of["on_failure"] in ("keep", "raise"), "keep or raise"),
        "stop_factor": (of["stop_factor"] > 0, "a number above 0, or inf to sweep to the end"),
        "on": (of["on"] in ("train", "val"), "train or val"),
        "optimizer": (_whole(of["optimizer"], 0), "an index, 0 or more"),
        "at_epochs": (
            isinstance(epochs, Collection) and all(_whole(epoch, 0) for epoch in epochs),
            "a list of epochs, each 0 or more",
        ),
    }
    for name, (holds, what) in allowed.items():
        if not holds:
            raise ValueError(f"LRFinder's {name} is {of[name]!r}; give {what}")


def rates_between(low: float, high: float, count: int, mode: str) -> list[float]:
    """The rates of a sweep, from `low` to `high`, evenly spaced; in log(rate) if `mode` is "log"."""
    last = count - 1
    if mode == "linear":
        return [low, *(low + (high - low) * step / last for step in range(1, last)), high]
    return [low, *(math.exp(math.log(low) + math.log(high / low) * step / last) for step in range(1, last)), high]


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and value >= least
