"""Log the learning rates: at the steps at which Lightning logs its scalars, and at each change."""

import math
from collections.abc import Sequence

from lightning.pytorch import Trainer
from torch.optim import Optimizer

from charlm.callbacks.shared.logger_adapters import send_scalars, tell
from charlm.callbacks.shared.rates import tagged_rates


class RateLog:
    """Logs the rate of every parameter group under the step that will use it, at most once per step.

    `self.log` would take far longer. Between two logged steps the rate is constant.
    """

    def __init__(self) -> None:
        self.due = 0.0
        """The next step to log."""
        self.rates: dict[str, float] | None = None
        """The rates logged last, by tag."""
        self._warned: set[str] = set()

    def update_due(self, optimizers: Sequence[Optimizer]) -> None:
        """Make the next step due if the rates have changed since they were logged."""
        if self.rates is not None and self.rates != tagged_rates(optimizers):
            self.due = 0.0

    def log(self, trainer: Trainer, step: int) -> None:
        """Log the rates, unless Lightning's logging of steps is off; a logger that fails causes one warning.

        Args:
            trainer: its loggers are used.
            step: the next step as Lightning counts it, from 0.
        """
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set from outside the class
        self.rates = tagged_rates(trainer.optimizers)
        self.due = (step + 1) // every * every + every - 1 if every else math.inf
        if every:
            tell("StepDecay's rates", send_scalars(trainer, self.rates, step), self._warned)
