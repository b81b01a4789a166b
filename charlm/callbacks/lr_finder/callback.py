"""Find a learning rate as training begins, and change nothing else in the training."""

import math
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from tqdm import tqdm

from charlm.callbacks.lr_finder.result import LRFinderResult
from charlm.callbacks.lr_finder.rules import DEFAULT_RULE, MIN_POINTS, RULES, STOP_FACTOR, Divergence
from charlm.callbacks.lr_finder.sweep import LRSweep
from charlm.callbacks.lr_finder.trial import MIN_TRIAL_STEPS, Trial
from charlm.callbacks.shared.logger_adapters import Failed, run_directory, tell, write_file
from charlm.callbacks.shared.progress import logged_step
from charlm.callbacks.shared.rates import peak_rates, refuse_fixed, scale_rates
from charlm.callbacks.shared.send_figure import publish


class LRFinder(Callback):
    """Sweep the learning rate as training begins, suggest a rate, and train with it.

    The rate rises from `min_lr` to `max_lr` on a logarithmic scale, one optimizer step per rate, and the loss before
    each step is recorded. Then everything is restored: with `apply=False` the training is bit for bit the training
    without this callback (same batches, weights, random numbers, logged steps and values). The sweep takes Lightning's
    own training steps, with their precision, clipping, accumulation (the loss is the mean over the window) and
    processes (the mean over all of them). Parameter groups keep the ratio of their rates.

    `result` holds the curve, what each rule suggests, and the reason if there is no suggestion. `lr_finder.png`, `.csv`
    and `.json` are written into the run's directory, and every logger that takes pictures receives the picture.

    - The suggestion is the rate of the parameter group with the highest rate. With OneCycleLR or CyclicLR it is the
      peak of the cycle, with torch's other schedulers the rate that they multiply. If the module's hyperparameter `lr`
      or `learning_rate` is the old rate, it becomes the new one.
    - A training that resumes from a checkpoint takes the result from there and has no sweep, nor has a `fast_dev_run`.
    - During the sweep other callbacks are not called, and nothing is logged or profiled; the module's own hooks are
      called, from on_train_start on. List LRFinder before callbacks that read the rate in `on_train_start`.
    - A module with several optimizers can have one LRFinder for each.
    - Not restored are: attributes that hold objects other than numbers, strings, tensors, arrays, random generators
      and lists or dicts of those; attributes of a dataset with more than 1,000 elements; the state of worker
      processes; files and anything else that a step does outside the process. With three processes or more the first
      step's gradients may differ in their last bit, because torch sums them in groups that it forms in the first step
      (but for DDPStrategy's find_unused_parameters). Weights and optimizer states are in memory twice.

    Args:
        min_lr: the first rate, > 0.
        max_lr: the last rate, > `min_lr`.
        num_steps: number of rates, with one optimizer step each.
        repeats: number of sweeps, on successive batches; the suggestion is the median of theirs.
        rule: the name of the rule that suggests a rate, one of `charlm.callbacks.lr_finder.rules.RULES`.
        apply: train with the suggestion.
        stop_factor: a sweep ends when the loss has risen above its start by this many times its descent.
        optimizer: the index of the optimizer that is swept; other optimizers train at their own rates.
        monitor: the name under which training_step logs or returns the loss; None: the loss that it returns.
        trial_steps: steps of two short trainings after the sweep, at the suggestion and at half of it, on the same
            batches. If half the rate soon wins, the suggestion becomes a quarter of itself. 0: no trial; 300 are
            enough.

    Raises:
        ValueError: an argument outside its range. As training starts: no such optimizer, no loss, a loader that can
            be read only once; with `apply` also a scheduler that would overwrite the rate, or no suggestion.

    Source: Smith 2017, Cyclical Learning Rates for Training Neural Networks, arXiv 1506.01186, section 3.3.
    """

    def __init__(
        self,
        min_lr: float = 1e-6,
        *,
        max_lr: float = 10.0,
        num_steps: int = 300,
        repeats: int = 1,
        rule: str = DEFAULT_RULE,
        apply: bool = True,
        stop_factor: float = STOP_FACTOR,
        optimizer: int = 0,
        monitor: str | None = None,
        trial_steps: int = 0,
    ) -> None:
        if not 0 < min_lr < max_lr < math.inf:
            raise ValueError(f"LRFinder's min_lr is {min_lr} and max_lr is {max_lr}; give 0 < min_lr < max_lr")
        if not isinstance(num_steps, int) or num_steps < MIN_POINTS:
            raise ValueError(f"LRFinder's num_steps is {num_steps}; give a whole number, {MIN_POINTS} or more")
        if not isinstance(repeats, int) or repeats < 1:
            raise ValueError(f"LRFinder's repeats is {repeats}; give a whole number, 1 or more")
        if not isinstance(rule, str) or rule not in RULES:
            raise ValueError(f"LRFinder's rule is {rule!r}; give one of {', '.join(RULES)}")
        if not stop_factor > 0:
            raise ValueError(
                f"LRFinder's stop_factor is {stop_factor}; give a number above 0, or inf to sweep to the end"
            )
        if not isinstance(optimizer, int) or optimizer < 0:
            raise ValueError(f"LRFinder's optimizer is {optimizer}; give an index, 0 or more")
        if not isinstance(trial_steps, int) or 0 != trial_steps < MIN_TRIAL_STEPS:
            raise ValueError(
                f"LRFinder's trial_steps is {trial_steps}; give 0 for no trial, or a whole number, {MIN_TRIAL_STEPS} or"
                " more"
            )
        self.min_lr = min_lr
        self.max_lr = max_lr
        self.num_steps = num_steps
        self.repeats = repeats
        self.rule = rule
        self.apply = apply
        self.stop_factor = stop_factor
        self.optimizer = optimizer
        self.monitor = monitor
        self.trial_steps = trial_steps
        self.result: LRFinderResult | None = None
        self._replaced: float | None = None  # the rate before the suggestion was applied

    @property
    def lrs(self) -> list[float]:
        """The rates of a sweep."""
        low, high, last = math.log(self.min_lr), math.log(self.max_lr), self.num_steps - 1
        between = [math.exp(low + (high - low) * step / last) for step in range(1, last)]
        return [self.min_lr, *between, self.max_lr]

    @property
    def state_key(self) -> str:
        # one callback for each optimizer of a module that has several
        return f"{type(self).__qualname__}{ {'optimizer': self.optimizer} }"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit" and trainer.global_step == 0:  # a checkpoint's state is loaded after this
            self.result = self._replaced = None

    def state_dict(self) -> dict[str, Any]:
        result = self.result
        if result is None:
            return {}
        of_sweep = {"lrs": result.lrs, "sweeps": result.sweeps, "rule": result.rule, "replaced": self._replaced}
        return of_sweep | {"trial": result.trial and asdict(result.trial)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        result = LRFinderResult.of(state_dict["lrs"], state_dict["sweeps"], state_dict["rule"])
        trial = state_dict.get("trial")  # older checkpoints have none
        self.result = replace(result, trial=Trial(**trial)) if trial else result
        self._replaced = state_dict["replaced"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.fast_dev_run:  # type: ignore[attr-defined]  # set from outside the class
            rank_zero_info("LRFinder: no sweep in a fast_dev_run")
        elif trainer.global_step == 0 and self.result is None:
            self._find(trainer, pl_module)
        elif self.apply and self.result is not None and trainer.ckpt_path is None:  # a second fit, with new optimizers
            self._apply(LRSweep(trainer, pl_module, self.optimizer, self.monitor), self.result)
        elif self.result is not None and self._replaced is not None and self.result.suggestion is not None:
            _replace_hyperparameter(pl_module, self._replaced, self.result.suggestion)

    def shows_bar(self, trainer: Trainer) -> bool:
        """Whether the sweep shows a progress bar: if the training does."""
        bar = trainer.progress_bar_callback
        return bar is not None and bool(getattr(bar, "is_enabled", True))

    def announce(self, result: LRFinderResult, picture: str) -> None:
        """Print what was found."""
        found = "no suggestion" if result.suggestion is None else f"learning rate {result.suggestion:.3g} ({self.rule})"
        rank_zero_info(f"LRFinder: {found}; {result.reason}. The curve: {picture}")

    def _find(self, trainer: Trainer, pl_module: LightningModule) -> None:
        sweep = LRSweep(trainer, pl_module, self.optimizer, self.monitor)
        if self.apply:
            refuse_fixed(sweep.schedulers)
        self.result = LRFinderResult.of(self.lrs, self._sweeps(sweep, trainer), self.rule)
        if self.trial_steps and self.result.suggestion is not None:
            self.result = replace(self.result, trial=self._trial(sweep, trainer, self.result.suggestion))
        self._show(trainer, self.result)
        if self.apply:
            self._apply(sweep, self.result)

    def _sweeps(self, sweep: LRSweep, trainer: Trainer) -> list[list[float]]:
        with self._bar(trainer, "LR sweep", self.repeats * self.num_steps) as bar, sweep:
            return [_losses(sweep, self.lrs, Divergence(self.stop_factor).update, bar) for _ in range(self.repeats)]

    def _trial(self, sweep: LRSweep, trainer: Trainer, rate: float) -> Trial:
        losses = []
        with self._bar(trainer, "LR trial", 2 * self.trial_steps) as bar:
            for lr in (rate, rate / 2):
                with sweep:  # each training begins with the same batches
                    losses.append(_losses(sweep, [lr] * self.trial_steps, lambda loss: not math.isfinite(loss), bar))
        return Trial(*losses)

    def _bar(self, trainer: Trainer, name: str, steps: int) -> tqdm:
        shows = trainer.is_global_zero and self.shows_bar(trainer) and sys.stderr is not None
        return tqdm(total=steps, desc=name, leave=False, disable=not shows)

    def _apply(self, sweep: LRSweep, result: LRFinderResult) -> None:
        if result.suggestion is None:
            raise ValueError(
                f"LRFinder has no learning rate to suggest: {result.reason}."
                " To train at the configured rate use LRFinder(apply=False)"
            )
        old = max(peak_rates(sweep.optimizer, sweep.schedulers), default=0.0)
        if not old:
            raise ValueError("LRFinder cannot scale the optimizer's rates, because all are 0; configure a rate above 0")
        scale_rates(sweep.optimizer, sweep.schedulers, old, result.suggestion)
        _replace_hyperparameter(sweep.pl_module, old, result.suggestion)
        self._replaced = old

    def _show(self, trainer: Trainer, result: LRFinderResult) -> None:
        """Write the files and say what was found."""
        directory = run_directory(trainer)  # all processes take part in this
        name = "lr_finder" + f"_optimizer{self.optimizer}" * (self.optimizer > 0)
        if not trainer.is_global_zero:
            return
        failed: Failed = {}
        for kind, text in (("csv", result.to_csv()), ("json", result.to_json())):
            failed |= write_file(trainer, directory, f"{name}.{kind}", text.encode())
        try:
            failed |= publish(trainer, result.figure(), name, logged_step(trainer), directory)
        except Exception as error:  # a picture that fails must not end the training
            failed["drawing the curve"] = error
        tell("LRFinder", failed, set())
        self.announce(result, f"{directory}/{name}.png")


def _losses(sweep: LRSweep, rates: Sequence[float], stops: Callable[[float], bool], bar: tqdm) -> list[float]:
    """The losses of a sweep, up to the first one at which it stops."""
    losses = []
    for loss in sweep.run(rates):
        bar.update()
        losses.append(loss)
        if stops(loss):
            break
    return losses


def _replace_hyperparameter(pl_module: LightningModule, old: float, new: float) -> None:
    """Set the module's `lr` or `learning_rate` if it was the rate before; training does not depend on it."""
    for name in ("lr", "learning_rate"):
        with suppress(Exception):  # a hyperparameter may be anything, such as one value for each group
            if name in pl_module.hparams and pl_module.hparams[name] == old:
                pl_module.hparams[name] = new
        with suppress(Exception):  # a property may have no setter
            if isinstance(getattr(pl_module, name, None), float) and getattr(pl_module, name) == old:
                setattr(pl_module, name, new)
