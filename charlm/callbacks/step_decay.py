"""Step decay of the learning rate, for any optimizer and any way of training."""

import math
from typing import Any, Literal

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch.optim import Optimizer

from charlm.callbacks.milestones import check_milestones, decay_factor
from charlm.callbacks.progress import fraction_done
from charlm.callbacks.rates import rated_groups, set_rate, tagged_rates


class StepDecay(Callback):
    """Multiply every learning rate by `gamma` at each milestone.

    With milestones [5000], steps 0 to 4999 (the first 5000) use the base rate, and step 5000 is the first to use
    base * gamma. A step is an optimizer step: the micro-batches of an accumulated one count once, and under manual
    optimization each optimizer goes by its own steps. Nothing else enters, so a resumed run stays on its curve. Every
    parameter group has its own base rate: the one it had when its run began (a resumed run keeps that), or when it
    was added.

    Steps of a bare optimizer, from `self.optimizers(use_pl_optimizer=False)`, pass Lightning by: they are not counted,
    and step milestones never come, which a warning tells.

    The rate is set before each step, over whatever a scheduler or another callback has written, and logged as `lr`
    (with several optimizers or groups `lr/optimizer0/group1`). Without milestones it is only logged.

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
        self._base_rates: list[list[float]] = []  # per optimizer, per group
        self._steps: list[int] = []  # done so far, per optimizer
        self._counted_at: int | None = None
        self._logged_at: int | None = None
        self._warned = False
        self._done = 0.0  # fraction of the training, as of a checkpoint
        self._given: list[tuple[dict[str, Any], float]] = []  # each group with the rate it was given
        self._constant_until = 0.0  # the step before which these stand
        self._length = math.inf  # of the training in steps, where milestones are fractions of it

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":  # a checkpoint's state is loaded after this
            self._base_rates, self._steps = [], []
            self._counted_at = self._logged_at = None
            self._warned, self._done = False, 0.0
            self._given, self._constant_until = [], 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.milestones and self.unit == "fraction":
            self._check_length(fraction_done(trainer))
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
        self._log(trainer)

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
        return {
            **self._arguments(),
            "base_rates": [list(rates) for rates in self._base_rates],
            "steps": list(self._steps),
            "done": self._done,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._base_rates = [list(rates) for rates in state_dict["base_rates"]]
        self._steps = list(state_dict["steps"])
        self._done = state_dict["done"]
        new = self._arguments()
        old = {name: state_dict[name] for name in new}
        if new != old:
            rank_zero_warn(f"StepDecay follows its new {_spell(new)}; the checkpoint has {_spell(old)}")

    def _arguments(self) -> dict[str, Any]:
        return {"milestones": self.milestones, "gamma": self.gamma, "unit": self.unit}

    def _check_length(self, done: float | None) -> None:
        """Refuse an unknown length, and say where it is another one than in the checkpoint."""
        if done is None:
            raise ValueError(
                "StepDecay's milestones are fractions of a training whose length is not known;"
                " set max_steps, or max_epochs with a loader that has a length, or use unit='step'"
            )
        if self._done and done != self._done:
            rank_zero_warn(
                f"StepDecay's fractions mean other steps than in the checkpoint: {self._done:.0%} of the training were"
                f" done there, which are {done:.0%} now, so that a rate that had dropped can rise again;"
                " train to the old length, or use unit='step'"
            )

    def _log(self, trainer: Trainer) -> None:
        """Log the rates of the step to come, once, where Lightning logs its scalars; `self.log` would cost far more."""
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set from outside the class
        automatic = trainer.lightning_module.automatic_optimization
        step = trainer.global_step if automatic else trainer.fit_loop.total_batch_idx
        if every and (step + 1) % every == 0 and step != self._logged_at:
            self._logged_at = step
            for logger in trainer.loggers:
                logger.log_metrics(tagged_rates(trainer.optimizers), step)

    def _rates_hold(self, trainer: Trainer) -> bool:
        """Whether all rates are as they were set, and no milestone lies between."""
        step = trainer.global_step
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        if step >= self._constant_until or len(self._given) != len(groups):
            return False
        self._steps, self._done = [step] * len(self._steps), step / self._length
        given = zip(groups, self._given, strict=True)
        return all(group is known and group["lr"] == rate for group, (known, rate) in given)

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
        self._given = []
        for index in range(len(optimizers)):
            self._set_rates(trainer, index, epochs_ahead)
        self._constant_until = self._next_milestone(trainer) if automatic else 0

    def _next_milestone(self, trainer: Trainer) -> float:
        """The optimizer step before which the rates do not change within this epoch."""
        step = trainer.global_step
        if self.unit == "epoch":
            return math.inf
        if self.unit == "step":
            return next((m for m in self.milestones if m > step), math.inf)
        self._length = trainer.estimated_stepping_batches
        # the steps beside a milestone are looked at one by one, since products of floats are not exact
        coming = next((m * self._length for m in self.milestones if m * self._length + 1 >= step), math.inf)
        return coming - 1

    def _set_rates(self, trainer: Trainer, index: int, epochs_ahead: int = 0) -> None:
        """Give each group of optimizer `index` the rate for its next step."""
        factor = decay_factor(self._position(trainer, index, epochs_ahead), self.milestones, self.gamma)
        groups, base_rates = rated_groups(trainer.optimizers[index]), self._base_rates[index]
        # a group that joins late, as in finetuning, comes with the rate it is to have now
        base_rates += [float(group["lr"]) / factor for group in groups[len(base_rates) :]]
        if self.milestones:
            for group, base_rate in zip(groups, base_rates, strict=False):
                set_rate(group, base_rate * factor)
                self._given.append((group, base_rate * factor))

    def _position(self, trainer: Trainer, index: int, epochs_ahead: int) -> float:
        if self.unit == "step":
            return self._steps[index]
        if self.unit == "epoch":
            return trainer.current_epoch + epochs_ahead
        self._done = fraction_done(trainer) or 0.0
        return self._done


def _spell(arguments: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items())
