"""Log the learning rates: at the steps at which Lightning logs its scalars, and at each change."""

import math
from collections.abc import Sequence

from torch.optim import Optimizer

from charlm.callbacks.internals.lightning import Trainer
from charlm.callbacks.internals.trainer_attributes import steps_per_log
from charlm.callbacks.shared.logger_adapters import send_scalars, tell
from charlm.callbacks.shared.rates import tagged_rates
from charlm.callbacks.step_decay.table import send_table


class RateLog:
    """Logs the rates under the step that will use them, at most once per step.

    One rate if all parameter groups of the only optimizer have the same, as where only their weight decay differs.

    `self.log` would take far longer. Between two logged steps the rate is constant.
    """

    def __init__(self) -> None:
        self.due = 0.0
        """The next step to log."""
        self.rates: dict[str, float] | None = None
        """The rates logged last, by tag."""
        self._warned: set[str] = set()
        self._told = False  # whether the table of milestones was sent

    def send_milestones(
        self, trainer: Trainer, milestones: Sequence[float], gamma: float, unit: str, bases: Sequence[Sequence[float]]
    ) -> None:
        """Send the table of milestones, once; the base rates are those of each optimizer's groups, if known."""
        if not self._told and trainer.is_global_zero:
            self._told = True
            send_table(trainer, milestones, gamma, unit, [rate for rates in bases for rate in rates])

    def update_due(self, optimizers: Sequence[Optimizer]) -> None:
        """Make the next step due if the rates have changed since they were logged."""
        if self.rates is not None and self.rates != _rates(optimizers):
            self.due = 0.0

    def log_if_due(self, trainer: Trainer, step: int) -> None:
        """Log the rates, unless Lightning's logging of steps is off; a logger that fails causes one warning.

        Args:
            trainer: its loggers are used.
            step: the next step as Lightning counts it, from 0.
        """
        if step < self.due:
            return
        every = steps_per_log(trainer)
        self.rates = _rates(trainer.optimizers)
        self.due = (step + 1) // every * every + every - 1 if every else math.inf
        if every:
            tell("StepDecay's rates", send_scalars(trainer, self.rates, step), self._warned)


def _rates(optimizers: Sequence[Optimizer]) -> dict[str, float]:
    rates = tagged_rates(optimizers)
    return {"lr": rates.popitem()[1]} if len(optimizers) == len(set(rates.values())) == 1 else rates
