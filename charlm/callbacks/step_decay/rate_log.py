"""The learning rates in the loggers: where Lightning logs its scalars, and where they change."""

import math
from collections.abc import Sequence

from lightning.pytorch import Trainer
from torch.optim import Optimizer

from charlm.callbacks.shared.loggers import send_scalars, tell
from charlm.callbacks.shared.rates import tagged_rates


class RateLog:
    """Writes the rate of every parameter group under the step that is to use it, at most once a step.

    `self.log` would cost far more. Where the rate is constant in between, every step's can be read from what is logged.
    """

    def __init__(self) -> None:
        self.due = 0.0
        """The next step to write: at first the first one."""
        self.rates: dict[str, float] | None = None
        """What was written last, by tag."""
        self._warned: set[str] = set()

    def notice(self, optimizers: Sequence[Optimizer]) -> None:
        """Have the next step written if the rates are others than those that were written last."""
        if self.rates is not None and self.rates != tagged_rates(optimizers):
            self.due = 0.0

    def write(self, trainer: Trainer, step: int) -> None:
        """Write the rates, but where Lightning logs no steps; a logger that fails is warned of once.

        Args:
            trainer: its loggers are used.
            step: the one to come, as Lightning logs it: the first one is 0.
        """
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set from outside the class
        self.rates = tagged_rates(trainer.optimizers)
        self.due = (step + 1) // every * every + every - 1 if every else math.inf
        if every:
            tell("StepDecay's rates", send_scalars(trainer, self.rates, step), self._warned)
