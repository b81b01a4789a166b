"""What a training is going to do with its learning rate: for how many steps, and on which schedule."""

import copy
import math
import warnings
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from charlm.callbacks.internals.lightning import LightningModule, Trainer
from charlm.callbacks.internals.trainer_attributes import callbacks_of
from charlm.callbacks.shared.progress import training_steps
from charlm.callbacks.shared.rates import peak_rates, rated_groups

_MOST = 100_000  # steps of a scheduler that are tried out, which take about a second
_POINTS = 1000  # of a schedule


def horizon(trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> tuple[float, list[float]]:
    """The optimizer steps that are left, and the schedule of the rate.

    Schedulers count, and callbacks with a method `rate_factor`, as StepDecay has.

    Returns:
        steps: infinite if not known.
        schedule: the rates at points that divide these steps evenly, relative to the configured rate, see `peak_rates`.
            It is [1.0] for a constant rate, and where it is not known before, as with ReduceLROnPlateau, under manual
            optimization, and for trainings of unknown length.
    """
    total = training_steps(trainer)
    steps, epochs = total - trainer.global_step, (trainer.max_epochs or 0) - trainer.current_epoch
    schedule = [1.0] * _POINTS
    # under manual optimization the module steps its schedulers when it likes
    for config in trainer.lr_scheduler_configs if pl_module.automatic_optimization else ():
        if getattr(config.scheduler, "optimizer", None) is optimizer:
            times = (steps if config.interval == "step" else epochs) // config.frequency
            rates = _rates(config.scheduler, optimizer, pl_module, times)
            schedule = [factor * rates[place * len(rates) // _POINTS] for place, factor in enumerate(schedule)]
    callbacks = callbacks_of(trainer)
    for callback in callbacks:
        if hasattr(callback, "rate_factor") and 0 < steps < math.inf:
            for place in range(_POINTS):
                share = (trainer.global_step + (place + 0.5) / _POINTS * steps) / total
                schedule[place] *= callback.rate_factor(share, total, trainer.max_epochs)
    return steps, schedule if len({*schedule}) > 1 else schedule[:1]


def _rates(scheduler: Any, optimizer: Optimizer, pl_module: LightningModule, times: float) -> list[float]:
    """The highest group's rate before each step of a copy of a scheduler, whose optimizer has no weights."""
    peak = max(peak_rates(optimizer, [scheduler]), default=0.0)
    if isinstance(scheduler, ReduceLROnPlateau) or not 0 < times <= _MOST or not peak:
        return [1.0]
    stand_in = torch.optim.SGD([{"params": [torch.zeros(0)], "lr": 0.0} for _ in optimizer.param_groups])
    for group, given in zip(stand_in.param_groups, optimizer.param_groups, strict=True):
        group.update(copy.deepcopy({key: value for key, value in given.items() if key != "params"}))
    rates = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is stepped before its optimizer
            trial = copy.deepcopy(scheduler, {id(optimizer): stand_in, id(pl_module): pl_module})
            for _ in range(int(times)):
                rates.append(max(float(group["lr"]) for group in rated_groups(stand_in)) / peak)
                trial.step()
    except Exception:  # of another library, or beyond the end of a one-cycle schedule
        if len(rates) < 2:
            return [1.0]
    return rates
