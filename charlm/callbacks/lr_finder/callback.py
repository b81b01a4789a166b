"""Find a learning rate as training begins, and change nothing else in the training."""

from collections.abc import Callable, Collection
from typing import Any, Literal

from charlm.callbacks.internals.lightning import LightningModule, Trainer, rank_zero_info, rank_zero_warn
from charlm.callbacks.internals.trainer_attributes import is_trial
from charlm.callbacks.lr_finder.applying import apply, check, refuse_later_setters, replace_hyperparameter
from charlm.callbacks.lr_finder.arguments import check_arguments, rates_between
from charlm.callbacks.lr_finder.climb import TRIAL_STEPS
from charlm.callbacks.lr_finder.horizon import horizon
from charlm.callbacks.lr_finder.isolation import untimed
from charlm.callbacks.lr_finder.result import LRFinderResult
from charlm.callbacks.lr_finder.rules import DEFAULT_RULE, STOP_FACTOR
from charlm.callbacks.lr_finder.search import Interrupted, Search
from charlm.callbacks.lr_finder.streams import refuse_streams
from charlm.callbacks.lr_finder.sweep import LRSweep, NotRestored
from charlm.callbacks.lr_finder.written import write_result
from charlm.callbacks.shared.base_callback import BaseCallback


class LRFinder(BaseCallback):
    """Find the learning rate as training begins, and train with it.

    First a sweep: the rate rises from `min_lr` to `max_lr`, one optimizer step per rate, and a rule reads a rate off
    the losses. Then trials: trainings of `trial_steps` steps from the same weights on the same batches, at that rate
    and at rates half a decade apart, up or down for as long as the loss gets lower, 12 at most. Each has the schedule
    of the training, compressed into its steps. Longer ones follow where training begins on a plateau. A parabola
    through the three best gives the rate for a training as short as that, and a factor lowers it for a longer one. Then
    everything is restored: with `apply=False` the training is bit for bit the training without this callback (same
    batches, weights, random numbers, logged steps and values). It costs the time of about 1,000 steps, on a plateau of
    3,000, and the memory of a second copy of weights and optimizer states.

    Each step is Lightning's own, with its precision, clipping, accumulation (the loss is the mean over the window) and
    processes (the mean over all of them). Parameter groups keep the ratio of their rates.

    `result` holds the curve, the trials, what each rule suggests, and the reason if there is no suggestion.
    `lr_finder.png`, `.csv` and `.json` are written into the run's directory, and every logger that takes pictures
    receives the picture.

    - The loss has to measure how good the model is; that of a policy gradient or a GAN does not, and misleads it.
    - The suggestion is the rate of the parameter group with the highest rate. With OneCycleLR or CyclicLR it is the
      peak of the cycle, with torch's other schedulers the rate that they multiply. If the module's hyperparameter `lr`
      or `learning_rate` is the old rate, it becomes the new one; loggers have received the old one before.
    - Where no rate is found or it cannot be used, training keeps the configured one, and a warning says why and what
      helps; see `on_failure`.
    - A training that resumes from a checkpoint takes the result from there and has no search, nor has a `fast_dev_run`.
    - During the search other callbacks are not called, and nothing is logged or profiled; the module's own hooks are
      called, from on_train_start on. List LRFinder before callbacks that read the rate in `on_train_start`. The time
      of the search does not count towards `max_time`.
    - A module with several optimizers can have one LRFinder for each.
    - A loader whose iterators continue where the last one ended gets back the batches that were read from it, in their
      order, and is not searched with; if it draws at random, the ones after them differ. See `lr_find`, after which
      nothing is trained.
    - Restored are the module, optimizers, schedulers, loaders with their datasets, and random generators. Not restored
      are: attributes that hold objects other than numbers, strings, tensors, arrays, random generators and lists or
      dicts of those; hooks that a step registers; attributes of a dataset with more than 1,000 elements; the state of
      worker processes; class attributes, global variables, files and all else. With three processes or more the first
      step's gradients may differ in their last bit, because torch sums them in groups that it forms in the first step
      (but for DDPStrategy's find_unused_parameters).

    Args:
        min_lr: the first rate of the sweep, > 0.
        max_lr: the last rate of the sweep, > `min_lr`; trials may go beyond both.
        num_steps: number of rates, with one optimizer step each, >= 20.
        mode: "log" for rates that are even in log(rate), "linear" for rates with equal differences.
        repeats: number of sweeps, on successive batches; the rule's rate is the median of theirs.
        rule: the name of the rule that reads a rate off the sweep, one of `charlm.callbacks.lr_finder.rules.RULES`.
        trial_steps: optimizer steps of each trial, >= 30; 0: no trials, and the rule's rate is the suggestion.
        horizon: optimizer steps of the training that the rate is for; None: those of this training; 0: as many as a
            trial has, so that no factor is applied.
        apply: train with the suggestion.
        update_attr: where the rate goes: the name of an attribute or a hyperparameter of the module, which is set
            along with the optimizer's rates; or a function of (module, rate), which is called in place of that; None:
            see above.
        on_failure: "keep" trains at the configured rate after a warning; "raise" ends the training with a ValueError.
        stop_factor: a sweep ends when the loss has risen above its start by this many times its descent.
        optimizer: the index of the optimizer whose rate is searched for; others train at their own rates.
        monitor: the name under which training_step logs or returns the loss; None: the loss that it returns.
        on: "train", or "val" for the loss of a validation batch after each step, in eval mode. It is what
            validation_step returns, or the one value with "loss" in its name that it logs, or see `monitor`. YAML
            wants quotes around the name "on".
        at_epochs: the epochs at whose start there is a search; 0 is the start of the training. A scheduler goes on in
            proportion to the rate that is found later, and StepDecay takes none.

    Raises:
        ValueError: an argument outside its range; with on_failure="raise" also what makes a search impossible.

    Example:
        >>> from charlm.callbacks import LRFinder
        >>> from lightning.pytorch import Trainer
        >>> from lightning.pytorch.demos.boring_classes import BoringModel
        >>> finder = LRFinder(trial_steps=30)
        >>> Trainer(max_steps=500, enable_progress_bar=False, callbacks=[finder]).fit(BoringModel())
        >>> finder.result
        LRFinderResult: learning rate ...

    Source: Smith 2017, Cyclical Learning Rates for Training Neural Networks, arXiv 1506.01186, section 3.3 (the sweep).
    """

    def __init__(
        self,
        min_lr: float = 1e-6,
        *,
        max_lr: float = 10.0,
        num_steps: int = 300,
        mode: Literal["log", "linear"] = "log",
        repeats: int = 1,
        rule: str = DEFAULT_RULE,
        trial_steps: int = TRIAL_STEPS,
        horizon: int | None = None,
        apply: bool = True,
        update_attr: str | Callable[[LightningModule, float], object] | None = None,
        on_failure: Literal["keep", "raise"] = "keep",
        stop_factor: float = STOP_FACTOR,
        optimizer: int = 0,
        monitor: str | None = None,
        on: Literal["train", "val"] = "train",
        at_epochs: Collection[int] = (0,),
    ) -> None:
        self.min_lr = min_lr
        self.max_lr = max_lr
        self.num_steps = num_steps
        self.mode = mode
        self.repeats = repeats
        self.rule = rule
        self.trial_steps = trial_steps
        self.horizon = horizon
        self.apply = apply
        self.update_attr = update_attr
        self.on_failure = on_failure
        self.stop_factor = stop_factor
        self.optimizer = optimizer
        self.monitor = monitor
        self.on = on
        self.at_epochs = at_epochs
        check_arguments(vars(self))
        self.results: dict[int, LRFinderResult] = {}
        """By epoch."""
        self._replaced: float | None = None  # the configured rate, which a resumed training is configured with again
        self.is_alone = False  # whether no training follows the search, see `search_alone`

    @property
    def result(self) -> LRFinderResult | None:
        """The latest one."""
        return self.results[max(self.results)] if self.results else None

    @property
    def lrs(self) -> list[float]:
        """The rates of a sweep."""
        return rates_between(self.min_lr, self.max_lr, self.num_steps, self.mode)

    @property
    def state_key(self) -> str:
        # one callback for each optimizer of a module that has several
        return f"{type(self).__qualname__}{ {'optimizer': self.optimizer} }"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if stage == "fit" and trainer.global_step == 0:  # a checkpoint's state is loaded after this
            self.results.clear()
            self._replaced = None

    def state_dict(self) -> dict[str, Any]:
        if not self.results:
            return {}
        return {"results": {epoch: result.state for epoch, result in self.results.items()}, "replaced": self._replaced}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        states = state_dict.get(
            "results", {0: state_dict}
        )  # checkpoints before 2026-12 have one result, without epochs
        self.results = {epoch: LRFinderResult.from_state(state) for epoch, state in states.items()}
        self._replaced = None if state_dict.get("trial") else state_dict["replaced"]  # a trial of then changed the rate

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        result = self.result
        if is_trial(trainer):
            rank_zero_info("LRFinder: no search in a fast_dev_run")
        elif trainer.global_step == 0 and result is None and 0 in self.at_epochs:
            self._keeping(trainer, pl_module, self._search)
        elif self.apply and result is not None and result.suggestion is not None:
            if trainer.ckpt_path is None:  # a second fit, with new optimizers
                self._keeping(trainer, pl_module, self._apply)
            elif self._replaced is not None and not callable(self.update_attr):
                replace_hyperparameter(pl_module, self._replaced, result.suggestion, self.update_attr)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch = trainer.current_epoch
        if epoch and epoch in self.at_epochs and epoch not in self.results:
            self._keeping(trainer, pl_module, self._search)

    def shows_bar(self, trainer: Trainer) -> bool:
        """Whether the search shows a progress bar: if the training does."""
        bar = trainer.progress_bar_callback
        return bar is not None and bool(getattr(bar, "is_enabled", True))

    def show(self, trainer: Trainer, result: LRFinderResult) -> None:
        """Write the files and say what was found."""
        name = "lr_finder" + f"_optimizer{self.optimizer}" * (self.optimizer > 0)
        name += f"_epoch{trainer.current_epoch}" * (trainer.current_epoch > 0)
        directory = write_result(trainer, result, name)
        found = "no suggestion" if result.suggestion is None else f"learning rate {result.suggestion:.3g}"
        rank_zero_info(f"LRFinder: {found}; {result.reason}. The picture: {directory}/{name}.png")

    def _keeping(self, trainer: Trainer, pl_module: LightningModule, do: Callable[..., None]) -> None:
        """Keep the configured rate if that fails."""
        try:
            with untimed(trainer, pl_module):
                do(trainer, pl_module)
        except Interrupted as interrupted:
            interrupted.callback.on_iteration_end(trainer, pl_module)  # the resumed training has the search
        except NotRestored:
            raise
        except Exception as error:
            # all processes raise a ValueError of this package, and would wait for one that raises something else
            if self.on_failure == "raise" or (trainer.world_size > 1 and not isinstance(error, ValueError)):
                raise
            why = str(error) if str(error).startswith("LRFinder") else f"LRFinder failed with {error!r}"
            rank_zero_warn(f"{why}. Training keeps the configured learning rate")

    def _search(self, trainer: Trainer, pl_module: LightningModule) -> None:
        sweep = LRSweep(trainer, pl_module, self.optimizer, self.monitor, self.on)
        if self.apply:
            check(sweep, self.update_attr)
            refuse_later_setters(sweep)
        if not self.is_alone:
            refuse_streams(trainer)
        steps, schedule = horizon(trainer, pl_module, sweep.optimizer)
        search = Search(
            self.lrs, self.repeats, self.rule, self.stop_factor, self.trial_steps,
            steps if self.horizon is None else self.horizon, schedule,
        )  # fmt: skip
        result = search.run(sweep, trainer.is_global_zero and self.shows_bar(trainer))
        self.results[trainer.current_epoch] = result
        self.show(trainer, result)
        if not self.apply:
            return
        if result.suggestion is None:
            error = f" (the last error: {sweep.error!r})" if sweep.error is not None else ""
            raise ValueError(f"LRFinder has no learning rate to suggest: {result.reason}{error}")
        self._apply(trainer, pl_module)

    def _apply(self, trainer: Trainer, pl_module: LightningModule) -> None:
        sweep = LRSweep(trainer, pl_module, self.optimizer, self.monitor)
        check(sweep, self.update_attr)
        if self.result is not None and self.result.suggestion is not None:
            replaced = apply(sweep, self.result.suggestion, self.update_attr)
            self._replaced = replaced if self._replaced is None else self._replaced
