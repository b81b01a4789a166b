"""StepDecay beside learning-rate schedulers: warnings, refusals, and a factor that no scheduler sees."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch.optim import Optimizer
from torch.optim.swa_utils import SWALR

from charlm.callbacks.internals.lightning import LightningModule, Trainer, rank_zero_warn
from charlm.callbacks.shared.rates import rated_groups, set_rate


class FactorInSteps:
    """Multiplies an optimizer's learning rates while it steps, and no longer, so that schedulers never see the factor.

    A scheduler that computes a rate from the one before it, such as ExponentialLR, would otherwise multiply the decay
    again at every step. It is also a context manager, in which the rates are multiplied too.

    Args:
        optimizer: its hooks before and after a step are used until `remove`.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self._factor = 1.0
        self._depth = 0  # the step of a subclass and its parent's each call the hooks
        self._given: list[float] = []  # the rates without the factor, during a step
        self._handles = [
            optimizer.register_step_pre_hook(lambda *_: self.__enter__()),
            optimizer.register_step_post_hook(lambda *_: self.__exit__()),
        ]

    def set(self, factor: float) -> None:
        """Set the factor, also for a step that has begun: Lightning's hooks run in the closure of the step."""
        self._factor = factor
        if self._depth:
            self._set_rates(factor)

    def remove(self) -> None:
        """Remove the hooks, and the factor of a step that an error ended."""
        for handle in self._handles:
            handle.remove()
        if self._depth:
            self._depth = 0
            self._set_rates(1.0)

    def __enter__(self) -> None:
        self._depth += 1
        if self._depth == 1:
            self._given = [float(group["lr"]) for group in rated_groups(self.optimizer)]
            self._set_rates(self._factor)

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if not self._depth:
            self._set_rates(1.0)

    def _set_rates(self, factor: float) -> None:
        for group, rate in zip(rated_groups(self.optimizer), self._given, strict=False):
            set_rate(group, rate * factor)


@contextmanager
def decayed(factors: Sequence[FactorInSteps]) -> Iterator[None]:
    """Give the groups of several optimizers the rates of their steps inside the block."""
    with ExitStack() as stack:
        for factor in factors:
            stack.enter_context(factor)
        yield


def base_rates(optimizer: Optimizer) -> list[float]:
    """The rates that the groups were made with: a warm-up may have lowered them, even to 0, before the first step.

    Raises:
        ValueError: they are all 0, so that no decay of them would train.
    """
    rates = [float(group.get("initial_lr", group["lr"])) for group in rated_groups(optimizer)]
    if rates and not any(rates):
        raise ValueError(
            f"StepDecay's base rate is 0, the learning rate that {type(optimizer).__name__} was made with, so nothing"
            " would be trained; give the optimizer a rate, or StepDecay(over='schedule') if a scheduler sets it"
        )
    return rates


def set_decayed(optimizer: Optimizer, bases: list[float], factor: float) -> None:
    """Set the rate of each group to `factor` times its base; add the bases of groups that have joined since."""
    groups = rated_groups(optimizer)
    # a group that joins late, as in finetuning, comes with its current rate
    bases += [float(group["lr"]) / factor for group in groups[len(bases) :]]
    for group, base in zip(groups, bases, strict=False):
        set_rate(group, base * factor)


def warn_of_schedulers(trainer: Trainer, pl_module: LightningModule) -> None:
    """Warn where there is no rate to decay, and of schedulers whose rates StepDecay overwrites."""
    if not any(map(rated_groups, trainer.optimizers)):
        rank_zero_warn(f"StepDecay has no effect: {type(pl_module).__name__} trains without a learning rate")
    others: list[Any] = [
        each.scheduler for each in trainer.lr_scheduler_configs if not isinstance(each.scheduler, SWALR)
    ]
    if others:
        rank_zero_warn(
            "StepDecay sets the learning rate before every step, so the configured scheduler"
            f" ({', '.join(type(other).__name__ for other in others)}) has no effect; remove one of the two, or use"
            " StepDecay(over='schedule') to multiply the scheduler's rate"
        )


def warn_of_bare_optimizers() -> None:
    """Warn that manual optimization takes no step that StepDecay can count."""
    rank_zero_warn(
        "StepDecay has counted no optimizer step in a whole epoch, so it will not reach its milestones; step"
        " the optimizers of self.optimizers(), without use_pl_optimizer=False, or use unit='epoch'"
    )
