"""Step decay of the learning rate, for any optimizer, with automatic and manual optimization."""

import math
from collections.abc import Sequence
from typing import Any, Literal

from torch.optim import Optimizer

from charlm.callbacks.internals.averaging import swa_has_begun
from charlm.callbacks.internals.lightning import LightningModule, Trainer
from charlm.callbacks.internals.step_count import step_counter
from charlm.callbacks.shared.base_callback import BaseCallback
from charlm.callbacks.shared.progress import fraction_done, training_steps
from charlm.callbacks.shared.rates import all_rates
from charlm.callbacks.step_decay.milestones import check_arguments, check_fractions, decay_factor, warn_of_new
from charlm.callbacks.step_decay.rate_log import RateLog
from charlm.callbacks.step_decay.schedulers import (
    FactorInSteps,
    base_rates,
    decayed,
    set_decayed,
    warn_of_bare_optimizers,
    warn_of_schedulers,
)
from charlm.callbacks.step_decay.table import next_milestone

_ARGUMENTS = ("milestones", "gamma", "unit", "over")


class StepDecay(BaseCallback):
    """Lower the learning rate at milestones that no resume, accumulation or restart can shift.

    Every rate is multiplied by `gamma` at each milestone. With milestones [5000], optimizer steps 0 to 4999 use the
    base rate, and step 5000 is the first to use base * gamma. The base is the rate that the optimizer was made with,
    even if a warm-up starts lower. The rate is a function of the step and the base alone, and set before each step:

    with                          StepDecay
    ----------------------------  -------------------------------------------------
    accumulation                  counts each window once, also a short last one
    unit epoch                    drops the rate after whole epochs of any length
    unit fraction                 drops the rate at a share of the training's steps
    accumulation by schedule      counts the steps that each epoch is going to have
    epochs that get longer        takes those to come to be as long as this one,
                                  and never raises the rate again
    parameter groups              gives each its own base, the rate it began with
    a group that joins late       takes its rate for the current one, not the base
    manual optimization           counts the steps of each of self.optimizers(),
                                  anywhere in a batch
    a bare optimizer              cannot count its steps, and warns; counts epochs
    a scheduler                   overwrites its rate, and warns
    a scheduler, over "schedule"  multiplies its rate, warm-up and all; the scheduler
                                  and LearningRateMonitor see the rate without decay
    StochasticWeightAveraging     leaves the rate to swa_lrs from its first epoch on;
                                  over "schedule" multiplies them too
    LRFinder                      starts at the rate found, in either order
    StepsPerExecution             does the same as without
    ckpt_path                     stays on the curve, with the original base, and
                                  goes on to count windows, epochs or each one's steps
    ckpt_path, LRFinder           starts at the rate found before, without a sweep
    ckpt_path, other milestones   follows the new ones from the old base, and warns
    ckpt_path, other length       moves fractions that have not passed, and warns
    ckpt_path, new to the run     starts at the rate that the run began with
    fit again, same Trainer       stays on the curve, with the new optimizers' rates
                                  or the one that LRFinder found as base
    fit again, new Trainer        starts again, also with loaded weights

    The rates are logged as `lr` (where those of groups differ as `lr/optimizer0/group1`) at the steps at which
    Lightning logs its scalars, at the first step and at each drop, under the step that uses them. Loggers that take
    texts receive a table of the milestones, `step_decay`. Without milestones StepDecay only logs the rates. A step
    costs a comparison of rates, a checkpoint a few numbers. Other schedules are Lightning's or torch's schedulers.

    Args:
        milestones: strictly rising optimizer steps or completed epochs (whole numbers >= 1), or fractions of the whole
            training between 0 and 1.
        gamma: factor per milestone, in (0, 1].
        unit: the unit of the milestones: "step", "epoch", or "fraction" (of the steps that max_steps and max_epochs
            allow).
        over: what `gamma` multiplies: "rate", the rate that training began with, or "schedule", the rate that the
            module's schedulers (a warm-up, Noam, a cosine) set for each step.

    Example:
        >>> from charlm.callbacks import StepDecay
        >>> from lightning.pytorch import Trainer
        >>> from lightning.pytorch.demos.boring_classes import BoringModel
        >>> trainer = Trainer(max_steps=40, enable_progress_bar=False, callbacks=[StepDecay([10, 30], gamma=0.5)])
        >>> trainer.fit(BoringModel())  # at a rate of 0.1
        >>> trainer.optimizers[0].param_groups[0]["lr"]
        0.025

    Raises:
        ValueError: milestones that do not rise strictly or are out of range, `gamma` outside (0, 1], another `unit` or
            `over`; as training starts, fractions of a training of unknown length, or a base rate of 0.
    """

    def __init__(
        self,
        milestones: Sequence[float],
        *,
        gamma: float = 0.1,
        unit: Literal["step", "epoch", "fraction"] = "step",
        over: Literal["rate", "schedule"] = "rate",
    ) -> None:
        check_arguments(milestones, gamma, unit, over)
        self.milestones = [float(m) if unit == "fraction" else int(m) for m in milestones]
        self.gamma = float(gamma)
        self.unit, self.over = unit, over
        self.sets_rates = bool(self.milestones)  # else it only logs them; LRFinder asks
        self._in_steps: list[FactorInSteps] = []  # per optimizer, over "schedule"
        self._begin()

    def _begin(self) -> None:
        self._base_rates: list[list[float]] = []  # per optimizer, per group
        self._steps: list[int] = []  # done so far, per optimizer
        self._done = self._furthest = 0.0  # fraction of the training; the largest one so far, as it may turn out longer
        self._count: Any = None  # with automatic optimization: its `completed` is the number of steps done
        self._counted_at: int | None = None  # with manual optimization: global_step at the step counted last
        self._warned = False  # of bare optimizers
        self._given: list[Any] = []  # the rates of all groups, as they were set
        self._constant_until = 0.0  # the step at which they may change
        self._length = math.inf  # of the training in steps, if milestones are fractions of it
        self._log = RateLog()

    def rate_factor(self, share: float, steps: float, epochs: int | None) -> float:
        """What the rate is multiplied by at a share of the training, of so many steps and epochs; LRFinder asks."""
        done = share * {"step": steps, "epoch": epochs or 0, "fraction": 1.0}[self.unit]
        return decay_factor(done, self.milestones, self.gamma)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if stage == "fit":  # a checkpoint's state is loaded after this
            self._begin()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        if self.milestones and self.unit == "fraction":
            check_fractions(fraction_done(trainer), self._done)
        if self.milestones and self.over == "rate":
            warn_of_schedulers(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._set_all_rates(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.on_train_batch_end(trainer, pl_module)
        if self._count is None or self._count.completed >= self._log.due:
            self._log_rates(trainer)

    def next_step(self, trainer: Trainer) -> float:  # where a rate changes or is logged, for StepsPerExecution
        return min(self._constant_until - 1, self._log.due) if self._rates_hold(trainer) else 0

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        # not only in on_train_batch_start, so that callbacks listed before this one see the next step's rate there
        if not self._rates_hold(trainer):
            self._set_all_rates(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._set_all_rates(trainer, epochs_ahead=1)  # Lightning counts this epoch as done only after this hook
        manual = bool(trainer.optimizers) and not pl_module.automatic_optimization
        if manual and self.milestones and self.unit == "step" and self._counted_at is None and not self._warned:
            self._warned = True
            warn_of_bare_optimizers()

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        if pl_module.automatic_optimization or trainer.global_step == self._counted_at:
            return  # LBFGS and others evaluate their closure, which calls this hook, several times per step
        self._counted_at = trainer.global_step
        index = trainer.optimizers.index(optimizer)
        self._set_rates(trainer, index)
        self._steps[index] += 1

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        while self._in_steps:
            self._in_steps.pop().remove()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.on_train_end(trainer, pl_module)  # a checkpoint of the interrupted training has the scheduler's rate

    def state_dict(self) -> dict[str, Any]:
        if self._count is not None:
            self._steps = [self._count.completed] * len(self._steps)
            self._done = self._count.completed / self._length
        return {
            **{name: getattr(self, name) for name in _ARGUMENTS},
            "base_rates": [list(rates) for rates in self._base_rates],
            "steps": list(self._steps),
            "done": self._done,
            "furthest": max(self._furthest, self._done),
            "logged": [self._log.due, self._log.rates],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._base_rates = [list(rates) for rates in state_dict["base_rates"]]
        self._steps = list(state_dict["steps"])
        self._done = state_dict["done"]
        self._furthest = state_dict.get("furthest", 0.0)
        self._log.due, self._log.rates = state_dict.get("logged", (0.0, None))
        warn_of_new({name: getattr(self, name) for name in _ARGUMENTS}, state_dict)

    def _log_rates(self, trainer: Trainer) -> None:
        """Log the rates of the next step if they are due; the first time, send the milestones too."""
        if self.milestones:
            self._log.send_milestones(trainer, self.milestones, self.gamma, self.unit, self._base_rates)
        step = trainer.fit_loop.total_batch_idx if self._count is None else trainer.global_step
        with decayed(self._in_steps):
            self._log.log_if_due(trainer, step)

    def _rates_hold(self, trainer: Trainer) -> bool:
        """Whether no milestone has passed, and all rates are as they were set."""
        if self._count is None or self._count.completed >= self._constant_until:
            return False
        return not self.milestones or self.over == "schedule" or all_rates(trainer.optimizers) == self._given

    def _set_all_rates(self, trainer: Trainer, epochs_ahead: int = 0) -> None:
        optimizers = trainer.optimizers
        if self.over == "schedule":
            self._in_steps += [FactorInSteps(optimizer) for optimizer in optimizers[len(self._in_steps) :]]
        elif self.milestones:
            self._base_rates += [base_rates(optimizer) for optimizer in optimizers[len(self._base_rates) :]]
        automatic = trainer.lightning_module.automatic_optimization
        # without counts in the checkpoint, assume that each of several did an equal share of global_step
        counted = [] if automatic else self._steps
        share = trainer.global_step // max(1, len(optimizers))
        self._steps = [*counted, *[share] * (len(optimizers) - len(counted))]
        for index in range(len(optimizers)):
            self._set_rates(trainer, index, epochs_ahead)
        self._given = [rate if rate is None else float(rate) for rate in all_rates(optimizers)]
        self._count = step_counter(trainer) if automatic else None
        if self.unit == "fraction" and self.milestones:
            self._length = training_steps(trainer)
        self._constant_until = next_milestone(trainer, self.milestones, self.unit)
        if self.milestones:
            with decayed(self._in_steps):
                self._log.update_due(optimizers)

    def _set_rates(self, trainer: Trainer, index: int, epochs_ahead: int = 0) -> None:
        """Set the rate of each group of optimizer `index` for its next step."""
        factor = decay_factor(self._position(trainer, index, epochs_ahead), self.milestones, self.gamma)
        if self.over == "schedule":
            self._in_steps[index].set(factor)
        elif self.milestones and not swa_has_begun(trainer):
            set_decayed(trainer.optimizers[index], self._base_rates[index], factor)

    def _position(self, trainer: Trainer, index: int, epochs_ahead: int) -> float:
        if self.unit == "step":
            return self._steps[index]
        if self.unit == "epoch":
            return trainer.current_epoch + epochs_ahead
        self._done = fraction_done(trainer) or 0.0
        self._furthest = max(self._furthest, self._done)
        return self._furthest
