"""Find a learning rate before training begins, and leave nothing else behind."""

import math
from dataclasses import asdict, replace
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from tqdm import tqdm

from charlm.callbacks.lr_finder.result import LRFinderResult
from charlm.callbacks.lr_finder.rules import DEFAULT_RULE, MIN_POINTS, RULES, STOP_FACTOR, Divergence
from charlm.callbacks.lr_finder.sweep import LRSweep
from charlm.callbacks.lr_finder.trial import MIN_TRIAL_STEPS, Trial
from charlm.callbacks.shared.loggers import Failed, run_directory, tell, write_file
from charlm.callbacks.shared.progress import logged_step
from charlm.callbacks.shared.publish import publish
from charlm.callbacks.shared.rates import peak_rates, refuse_fixed, scale_rates


class LRFinder(Callback):
    """Sweep the learning rate as training begins, suggest one, and train with it.

    The rate rises from `min_lr` to `max_lr`, evenly on a logarithmic scale, one optimizer step at each, and the loss is
    noted. Then everything is put back: with `apply=False` training is bit for bit what it is without this callback
    (the same batches, weights, random numbers, logged steps and values). The sweep is Lightning's own training: its
    precision, clipping, accumulation (the loss is the mean over the window) and processes (the mean over all). Groups
    of parameters keep the ratio of their rates.

    `result` holds the curve, what each rule suggests and why there may be no suggestion; `lr_finder.png`, `.csv` and
    `.json` are written into the run's directory, and the picture goes to every logger that takes pictures.

    - The rate that is found is that of the group with the highest one; with OneCycleLR or CyclicLR it is the peak of
      the cycle, with other schedulers of torch what they multiply. A module that has the old rate as a hyperparameter
      `lr` or `learning_rate` gets the new one.
    - There is no sweep in a training that goes on from a checkpoint, whose result is there again, nor in a
      `fast_dev_run`.
    - During the sweep other callbacks are not called and nothing is logged or profiled; the module's own hooks are
      called, from on_train_start on. List it before callbacks that read the rate in `on_train_start`.
    - A module with several optimizers can have one LRFinder for each.
    - What cannot be put back: the inside of objects of other classes than numbers, strings, tensors, arrays, random
      generators and lists or dicts of those, in attributes; attributes of a dataset with more than 1,000 elements; what
      its worker processes keep; files and whatever else a step does outside. In three processes or more the gradients
      of the first step may differ in their last bit: torch then sums them in groups that it makes in the first step of
      all (but for DDPStrategy's find_unused_parameters). Memory: one more copy of weights and optimizer states.

    Args:
        min_lr: the first rate, > 0.
        max_lr: the last one, > `min_lr`.
        num_steps: rates, each for one optimizer step.
        repeats: sweeps, on batches that follow each other; the median of their suggestions counts.
        rule: the name of the rule that suggests, one of `charlm.callbacks.lr_finder.rules.RULES`.
        apply: train with the suggestion.
        stop_factor: a sweep ends where the loss has risen above its start by this many times what it had fallen.
        optimizer: the index of the optimizer that is swept, in a module with several; the others train along.
        trial_steps: steps of two short trainings that follow, at the suggestion and at half of it, on the same batches;
            where half the rate soon wins, a quarter of the suggestion takes its place. 0: none; 300 are enough to tell.
        monitor: the name under which training_step logs the loss, or returns it; None: what it returns as its loss.

    Raises:
        ValueError: an argument outside its range. As training starts: no such optimizer, no loss, a loader that can
            be read only once, and with `apply` a scheduler that would overwrite the rate, or no suggestion.

    Source: Smith 2017, Cyclical Learning Rates for Training Neural Networks, arXiv 1506.01186, section 3.3.
    """

    def __init__(
        self,
        min_lr: float = 1e-6,
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
            raise ValueError(
                f"LRFinder's min_lr is {min_lr} and max_lr is {max_lr}; give two numbers above 0, min_lr the lower one"
            )
        if not isinstance(num_steps, int) or num_steps < MIN_POINTS:
            raise ValueError(
                f"LRFinder's num_steps is {num_steps}; give a whole number from {MIN_POINTS} on, which the rule needs"
            )
        if not isinstance(repeats, int) or repeats < 1:
            raise ValueError(f"LRFinder's repeats is {repeats}; give a whole number from 1 on")
        if not isinstance(rule, str) or rule not in RULES:
            raise ValueError(f"LRFinder's rule is {rule!r}; give one of {', '.join(RULES)}")
        if not stop_factor > 0:
            raise ValueError(f"LRFinder's stop_factor is {stop_factor}; give a number above 0, or inf to go on")
        if not isinstance(optimizer, int) or optimizer < 0:
            raise ValueError(f"LRFinder's optimizer is {optimizer}; give an index from 0 on")
        if not isinstance(trial_steps, int) or 0 != trial_steps < MIN_TRIAL_STEPS:
            raise ValueError(
                f"LRFinder's trial_steps is {trial_steps}; give 0 for none, or a whole number from {MIN_TRIAL_STEPS} on"
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
        self._replaced: float | None = None  # the rate that the suggestion took the place of

    @property
    def lrs(self) -> list[float]:
        """The rates of a sweep."""
        low, high, last = math.log(self.min_lr), math.log(self.max_lr), self.num_steps - 1
        between = [math.exp(low + (high - low) * step / last) for step in range(1, last)]
        return [self.min_lr, *between, self.max_lr]

    @property
    def state_key(self) -> str:
        return self._generate_state_key(optimizer=self.optimizer)  # for one callback each, in a module with several

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
        trial = state_dict.get("trial")  # which older checkpoints do not have
        self.result = replace(result, trial=Trial(**trial)) if trial else result
        self._replaced = state_dict["replaced"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.fast_dev_run:  # type: ignore[attr-defined]  # set from outside the class
            rank_zero_info("LRFinder: no sweep in a fast_dev_run")
        elif trainer.global_step == 0 and self.result is None:
            self._find(trainer, pl_module)
        elif self.apply and self.result is not None and trainer.ckpt_path is None:  # a second fit, of new optimizers
            self._apply(LRSweep(trainer, pl_module, self.optimizer, self.monitor), self.result)
        elif self.result is not None and self._replaced is not None and self.result.suggestion is not None:
            self._tell(pl_module, self._replaced, self.result.suggestion)

    def shows_bar(self, trainer: Trainer) -> bool:
        """Whether the sweep has a progress bar: where training has one."""
        bar = trainer.progress_bar_callback
        return bar is not None and bool(getattr(bar, "is_enabled", True))

    def announce(self, result: LRFinderResult, picture: str) -> None:
        """Say what was found."""
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
        sweeps, shown = [], trainer.is_global_zero and self.shows_bar(trainer)
        total = self.repeats * self.num_steps
        with sweep, tqdm(total=total, desc="LR sweep", leave=False, disable=not shown) as steps:
            for _ in range(self.repeats):
                diverges = Divergence(self.stop_factor)

                def stops(loss: float, diverges: Divergence = diverges) -> bool:
                    steps.update()
                    return diverges.update(loss)

                sweeps.append(sweep.run(self.lrs, stops))
        return sweeps

    def _trial(self, sweep: LRSweep, trainer: Trainer, rate: float) -> Trial:
        shown, losses = trainer.is_global_zero and self.shows_bar(trainer), []
        with tqdm(total=2 * self.trial_steps, desc="LR trial", leave=False, disable=not shown) as steps:

            def stops(loss: float) -> bool:
                steps.update()
                return not math.isfinite(loss)

            for lr in (rate, rate / 2):
                with sweep:  # each begins on the same batches
                    losses.append(sweep.run([lr] * self.trial_steps, stops))
        return Trial(*losses)

    def _apply(self, sweep: LRSweep, result: LRFinderResult) -> None:
        if result.suggestion is None:
            raise ValueError(
                f"LRFinder has no learning rate to suggest: {result.reason}. Or train without: LRFinder(apply=False)"
            )
        old = max(peak_rates(sweep.optimizer, sweep.schedulers), default=0.0)
        if not old:
            raise ValueError("LRFinder has no rate to scale: the optimizer's are 0; give it another one")
        scale_rates(sweep.optimizer, sweep.schedulers, old, result.suggestion)
        self._tell(sweep.pl_module, old, result.suggestion)
        self._replaced = old

    def _tell(self, pl_module: LightningModule, old: float, new: float) -> None:
        """The module's hyperparameter, where it is the rate that was replaced."""
        for name in ("lr", "learning_rate"):
            if name in pl_module.hparams and pl_module.hparams[name] == old:
                pl_module.hparams[name] = new
            if isinstance(getattr(pl_module, name, None), float) and getattr(pl_module, name) == old:
                setattr(pl_module, name, new)

    def _show(self, trainer: Trainer, result: LRFinderResult) -> None:
        """Write the files and say what was found."""
        directory = run_directory(trainer)  # in all processes, which agree on it
        name = "lr_finder" + f"_optimizer{self.optimizer}" * (self.optimizer > 0)
        if not trainer.is_global_zero:
            return
        failed: Failed = {}
        for kind, text in (("csv", result.to_csv()), ("json", result.to_json())):
            failed |= write_file(trainer, directory, f"{name}.{kind}", text.encode())
        try:
            failed |= publish(trainer, result.figure(), name, logged_step(trainer), directory)
        except Exception as error:  # no picture is worth a training
            failed["drawing the curve"] = error
        tell("LRFinder", failed, set())
        self.announce(result, f"{directory}/{name}.png")
