"""Steps in which nothing is logged and no callback acts: gradients and update alone, as in a bare loop."""

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor

from charlm.callbacks.internals.fast_step import FastStep, GradientFunction, bare_update, set_gradients
from charlm.callbacks.internals.lightning import LightningModule, Trainer
from charlm.callbacks.internals.step_count import count_steps, scalar_step
from charlm.callbacks.internals.step_hooks import STEP_HOOKS, acts_every_step, offers, overrides


class BareSteps:
    """Steps by the module's own `gradient_function`, up to the next one in which somebody acts.

    Args:
        trainer: in training.
        pl_module: the module that is trained.
        step: what does its other steps.
        stops: whether training is to stop now.
    """

    def __init__(self, trainer: Trainer, pl_module: LightningModule, step: Any, stops: Callable[[], bool]) -> None:
        self.trainer, self.step, self.stops = trainer, step, stops
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]  # set from outside the class
        self.acting = [each for each in callbacks if any(acts_every_step(each, hook) for hook in STEP_HOOKS)]
        self.apply = (
            isinstance(step, FastStep)
            and not step.clips
            and not trainer.lr_scheduler_configs
            and not any(overrides(pl_module, hook) for hook in STEP_HOOKS)
            and all(offers(each, "next_step", *STEP_HOOKS) for each in self.acting)
        )

    def run(self, fetcher: Any, most: int) -> tuple[int, Any]:
        """Do at most so many steps.

        Args:
            fetcher: gives at least as many batches.
            most: the most steps to do.

        Returns:
            How many steps were done, and what was fetched for the next one, or None.
        """
        number = min(most, self._steps_until_someone_acts()) if self.apply and fetcher.length else 0
        gradients: GradientFunction | None = self.step.own_gradients() if number > 0 else None
        if gradients is None:
            return 0, None
        weights, done = self.step.weights, 0
        of_weights: list[Tensor] = []
        update = bare_update(self.trainer.optimizers[0], weights)
        try:
            while done < number and not self.stops():
                fetched = next(fetcher)
                loss, of_weights = gradients(fetched[0], False)
                if not math.isfinite(loss):  # a callback may wait for this: the step is done again, with its hooks
                    return done, fetched
                update(of_weights)
                done += 1
        finally:
            count_steps(self.trainer, done)
        if done:  # else a signal came before the first one
            set_gradients(weights, of_weights)
        return done, None

    def _steps_until_someone_acts(self) -> float:
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]  # set from outside the class
        until_log = every - 1 - scalar_step(self.trainer) % every if every else math.inf
        done = self.trainer.global_step
        return min(until_log, *(callback.next_step(self.trainer) - done for callback in self.acting), math.inf)
