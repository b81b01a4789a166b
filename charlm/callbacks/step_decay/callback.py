"""Step decay of the learning rate, for any optimizer and any way of training."""

import math
from typing import Any, Literal

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch.optim import Optimizer

from charlm.callbacks.shared.progress import fraction_done
from charlm.callbacks.shared.rates import all_rates, rated_groups, set_rate
from charlm.callbacks.step_decay.milestones import check_length, check_milestones, decay_factor
from charlm.callbacks.step_decay.rate_log import RateLog
from charlm.callbacks.step_decay.table import milestone_steps, send_table


class StepDecay(Callback):
    """Multiply every learning rate by `gamma` at each milestone.

    With milestones [5000], steps 0 to 4999 (the first 5000) use the base rate, and step 5000 is the first to use
    base * gamma. A step is an optimizer step. The rate is a function of the step and the base alone, set before each
    step over whatever else was written there, so that nothing makes it drift:

    with                          it does
    ----------------------------  -------------------------------------------------
    accumulation                  micro-batches count once, and so does the short
                                  window that ends an epoch
    unit epoch                    drop after whole epochs, however many steps long
    unit fraction                 drop at a part of the steps that max_steps and
                                  max_epochs allow
    parameter groups              give each its own base: the rate it came with
    a group that joins late       take the rate it comes with for that of now
    several optimizers            go by each one's own steps (they need manual
                                  optimization)
    manual optimization           count the steps of self.optimizers(), wherever
                                  they fall in a batch
    a bare optimizer              see no steps of it, and warn (epochs are counted)
    a scheduler                   overwrite what it sets, and warn
    LRFinder                      start from the rate found, listed first or last
    StepsPerExecution             the same as without
    ckpt_path                     stay on the curve, with the base of its beginning
    ckpt_path, accumulation       the same: windows count once
    ckpt_path, unit epoch         the same: epochs count on
    ckpt_path, manual             the same: each optimizer's steps count on
    ckpt_path, LRFinder           start from what was found then, without a sweep
    ckpt_path, other milestones   follow the new ones from the old base, and warn
    ckpt_path, other length       move milestones that are fractions, and warn
    ckpt_path, new to the run     start from the rate that the run began with
    fit again, same Trainer       stay on the curve, with the new optimizers' rates
                                  as base
    fit again, LRFinder           the same, with the rate found as base
    fit again, new Trainer        begin anew, from loaded weights too

    The rates are logged as `lr` (with several optimizers or groups `lr/optimizer0/group1`) where Lightning logs its
    scalars, and at the first step and at each drop besides, under the step that uses them; the loggers' texts get a
    table of the milestones, `step_decay`. Without milestones the rate is only logged.

    Args:
        milestones: where the rate drops, strictly rising: optimizer steps or completed epochs (whole numbers >= 1), or
            fractions of the whole training between 0 and 1.
        gamma: factor per milestone, in (0, 1].
        unit: what the milestones count: "step", "epoch", or "fraction" (of the steps that max_steps and max_epochs
            allow).

    Raises:
        ValueError: milestones that do not rise or are out of range, `gamma` outside (0, 1], another `unit`, or, as
            training starts, fractions of a training without a known length.
    """

    reads_gradients = False  # StepsPerExecution need not keep them for it

    def __init__(
        self, milestones: list[float], gamma: float = 0.1, unit: Literal["step", "epoch", "fraction"] = "step"
    ) -> None:
        check_milestones(milestones, gamma, unit)
        self.milestones = [float(m) if unit == "fraction" else int(m) for m in milestones]
        self.gamma = float(gamma)
        self.unit = unit
        self._begin()

    def _begin(self) -> None:
        self._base_rates: list[list[float]] = []  # per optimizer, per group
        self._steps: list[int] = []  # done so far, per optimizer
        self._done = 0.0  # fraction of the training, as of a checkpoint
        self._count: Any = None  # under automatic optimization: its `completed` is the steps done
        self._counted_at: int | None = None
        self._warned = False
        self._given: list[Any] = []  # the rates of all groups, as they were set
        self._constant_until = 0.0  # the step before which these stand
        self._length = math.inf  # of the training in steps, where milestones are fractions of it
        self._log = RateLog()
        self._told = False  # the milestones

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":  # a checkpoint's state is loaded after this
            self._begin()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.milestones and self.unit == "fraction":
            check_length(fraction_done(trainer), self._done)
        if self.milestones and trainer.lr_scheduler_configs:
            schedulers = ", ".join(type(config.scheduler).__name__ for config in trainer.lr_scheduler_configs)
            rank_zero_warn(
                "StepDecay sets the learning rate before every step, so the scheduler that is configured as well"
                f" ({schedulers}) has no effect on it; remove one of the two"
            )

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._set_all_rates(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if not self._rates_hold(trainer):
            self._set_all_rates(trainer)
        if self._count is None or self._count.completed >= self._log.due:
            self._log_rates(trainer)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        # already here, so that callbacks listed before this one see the next step's rate
        if not self._rates_hold(trainer):
            self._set_all_rates(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._set_all_rates(trainer, epochs_ahead=1)  # this epoch counts as done only after this hook
        by_hand = bool(trainer.optimizers) and not pl_module.automatic_optimization
        if by_hand and self.milestones and self.unit == "step" and self._counted_at is None and not self._warned:
            self._warned = True
            rank_zero_warn(
                "StepDecay has counted no optimizer step in a whole epoch, so its milestones do not come; step the"
                " optimizers of self.optimizers(), without use_pl_optimizer=False, or use unit='epoch'"
            )

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        if pl_module.automatic_optimization or trainer.global_step == self._counted_at:
            return  # the same step again: some optimizers evaluate their closure, which calls this, several times
        self._counted_at = trainer.global_step
        index = trainer.optimizers.index(optimizer)
        self._set_rates(trainer, index)
        self._steps[index] += 1

    def state_dict(self) -> dict[str, Any]:
        if self._count is not None:
            self._steps = [self._count.completed] * len(self._base_rates)
            self._done = self._count.completed / self._length
        return {
            **self._arguments(),
            "base_rates": [list(rates) for rates in self._base_rates],
            "steps": list(self._steps),
            "done": self._done,
            "logged": [self._log.due, self._log.rates],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._base_rates = [list(rates) for rates in state_dict["base_rates"]]
        self._steps = list(state_dict["steps"])
        self._done = state_dict["done"]
        self._log.due, self._log.rates = state_dict.get("logged", (0.0, None))
        new = self._arguments()
        old = {name: state_dict[name] for name in new}
        if new != old:
            rank_zero_warn(f"StepDecay follows its new {_spell(new)}; the checkpoint has {_spell(old)}")

    def _arguments(self) -> dict[str, Any]:
        return {"milestones": self.milestones, "gamma": self.gamma, "unit": self.unit}

    def _log_rates(self, trainer: Trainer) -> None:
        """Log the rates of the step to come if they are due; before the first ones, the milestones."""
        if not self._told and self.milestones and trainer.is_global_zero:
            self._told = True
            bases = [rate for rates in self._base_rates for rate in rates]
            send_table(trainer, self.milestones, self.gamma, self.unit, bases)
        step = trainer.fit_loop.total_batch_idx if self._count is None else trainer.global_step
        if step >= self._log.due:
            self._log.write(trainer, step)

    def _rates_hold(self, trainer: Trainer) -> bool:
        """Whether no milestone has come, and all rates are as they were set."""
        if self._count is None or self._count.completed >= self._constant_until:
            return False
        return not self.milestones or all_rates(trainer.optimizers) == self._given

    def _set_all_rates(self, trainer: Trainer, epochs_ahead: int = 0) -> None:
        optimizers = trainer.optimizers
        # a run may have begun without this callback and with a scheduler, which keeps the rate it began with
        key = "initial_lr" if trainer.global_step else "lr"
        for optimizer in optimizers[len(self._base_rates) :]:
            self._base_rates.append([float(group.get(key, group["lr"])) for group in rated_groups(optimizer)])
        automatic = trainer.lightning_module.automatic_optimization
        if automatic:
            self._steps = [trainer.global_step] * len(optimizers)
        else:  # each has its own count; where there is none from an earlier run, global_step is the sum of equal ones
            equal_share = trainer.global_step // max(1, len(optimizers))
            self._steps += [equal_share] * (len(optimizers) - len(self._steps))
        for index in range(len(optimizers)):
            self._set_rates(trainer, index, epochs_ahead)
        self._given = [rate if rate is None else float(rate) for rate in all_rates(optimizers)]
        self._count = _step_count(trainer) if automatic else None
        self._constant_until = self._next_milestone(trainer)
        if self.milestones:
            self._log.notice(optimizers)

    def _next_milestone(self, trainer: Trainer) -> float:
        """The optimizer step before which the rates do not change within this epoch."""
        if self.unit == "epoch" or not self.milestones:
            return math.inf
        if self.unit == "fraction":
            self._length = trainer.estimated_stepping_batches
        steps = milestone_steps(trainer, self.milestones, self.unit)
        return next((step for step in steps if step is not None and step > trainer.global_step), math.inf)

    def _set_rates(self, trainer: Trainer, index: int, epochs_ahead: int = 0) -> None:
        """Give each group of optimizer `index` the rate for its next step."""
        factor = decay_factor(self._position(trainer, index, epochs_ahead), self.milestones, self.gamma)
        groups, base_rates = rated_groups(trainer.optimizers[index]), self._base_rates[index]
        # a group that joins late, as in finetuning, comes with the rate it is to have now
        base_rates += [float(group["lr"]) / factor for group in groups[len(base_rates) :]]
        if self.milestones:
            for group, base_rate in zip(groups, base_rates, strict=False):
                set_rate(group, base_rate * factor)

    def _position(self, trainer: Trainer, index: int, epochs_ahead: int) -> float:
        if self.unit == "step":
            return self._steps[index]
        if self.unit == "epoch":
            return trainer.current_epoch + epochs_ahead
        self._done = fraction_done(trainer) or 0.0
        return self._done


def _step_count(trainer: Trainer) -> Any:
    """The object whose `completed` is `trainer.global_step`, which takes far longer to ask."""
    return trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step.total


def _spell(arguments: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items())
