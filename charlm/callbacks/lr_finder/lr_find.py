"""`lr_find`: a search for the learning rate, and no training."""

from collections.abc import Callable
from typing import Any, Literal

from charlm.callbacks.internals.early_end import leave_fit
from charlm.callbacks.internals.lightning import Callback, DummyLogger, LightningModule, Trainer, isolate_rng
from charlm.callbacks.internals.trainer_attributes import callbacks_of
from charlm.callbacks.lr_finder.callback import LRFinder
from charlm.callbacks.lr_finder.climb import TRIAL_STEPS
from charlm.callbacks.lr_finder.result import LRFinderResult
from charlm.callbacks.lr_finder.rules import DEFAULT_RULE, STOP_FACTOR


def lr_find(
    trainer: Trainer,
    model: LightningModule,
    data: Any = None,
    *,
    min_lr: float = 1e-6,
    max_lr: float = 10.0,
    num_steps: int = 300,
    mode: Literal["log", "linear"] = "log",
    repeats: int = 1,
    rule: str = DEFAULT_RULE,
    trial_steps: int = TRIAL_STEPS,
    horizon: int | None = None,
    update_attr: str | Callable[[LightningModule, float], object] | None = None,
    on_failure: Literal["keep", "raise"] = "raise",
    stop_factor: float = STOP_FACTOR,
    optimizer: int = 0,
    monitor: str | None = None,
    on: Literal["train", "val"] = "train",
) -> LRFinderResult:
    """Find the learning rate for a training, and train nothing.

    Takes about 1,000 optimizer steps, on a plateau 3,000, and the memory of a second copy of weights and optimizer
    states. Writes no files. The trainer and the model are as before, so that `trainer.fit` may follow. With several
    processes use a strategy that starts them only once, such as "ddp".

    Args:
        trainer: for the training that is planned: its length counts, its callbacks are set up.
        model: the model to train.
        data: a datamodule or the training's loaders; None: the model's own.
        min_lr: the first rate of the sweep, > 0.
        max_lr: the last rate of the sweep, > `min_lr`.
        num_steps: number of rates, with one optimizer step each.
        mode: how they are spaced, see `LRFinder`.
        repeats: number of sweeps.
        rule: the name of the rule that reads a rate off the sweep, see `LRFinder`.
        trial_steps: optimizer steps of each trial; 0: no trials, and the rule's rate is the suggestion.
        horizon: optimizer steps of the training that the rate is for; None: those of `trainer`.
        update_attr: where the rate goes: the name of an attribute or hyperparameter of the model, such as "lr", or a
            function of (model, rate); None: nowhere.
        on_failure: "raise"; "keep" warns of the cause before there is an error all the same.
        stop_factor: a sweep ends when the loss has risen above its start by this many times its descent.
        optimizer: the index of the optimizer whose rate is searched for.
        monitor: the name of the loss, where training_step returns none, see `LRFinder`.
        on: "train", or "val" for the loss of a validation batch after each step.

    Raises:
        ValueError: an argument outside its range, or what makes a search impossible.

    Example:
        >>> from charlm.callbacks import lr_find
        >>> from lightning.pytorch import Trainer
        >>> from lightning.pytorch.demos.boring_classes import BoringModel
        >>> result = lr_find(Trainer(max_steps=500, enable_progress_bar=False), BoringModel(), trial_steps=30)
        >>> result  # `result.suggestion` is the number, `result.plot()` the picture
        LRFinderResult: learning rate ...
    """
    finder = _Quiet(
        min_lr, max_lr=max_lr, num_steps=num_steps, mode=mode, repeats=repeats, rule=rule, trial_steps=trial_steps,
        horizon=horizon, apply=update_attr is not None, update_attr=update_attr, on_failure=on_failure,
        stop_factor=stop_factor, optimizer=optimizer, monitor=monitor, on=on,
    )  # fmt: skip
    loggers = trainer.loggers
    with isolate_rng():
        trainer.loggers = [DummyLogger()]
        try:
            return search_alone(trainer, model, data, finder)
        finally:
            trainer.loggers = loggers


class _Quiet(LRFinder):
    def show(self, trainer: Trainer, result: LRFinderResult) -> None:
        """Nothing: the result is returned."""


class _Leave(Callback):
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        leave_fit()


def search_alone(trainer: Trainer, model: LightningModule, data: Any, finder: LRFinder) -> LRFinderResult:
    """Search with `finder`, before the trainer's other callbacks begin, and train nothing.

    Raises:
        ValueError: there was no search, as the training has no step, or the search failed.
    """
    finder.is_alone = True
    before = callbacks_of(trainer)
    # Lightning, too, sets it from outside of the class
    trainer.callbacks = [finder, _Leave(), *before]  # type: ignore[attr-defined]
    try:
        trainer.fit(model, data)
    finally:
        trainer.callbacks = before  # type: ignore[attr-defined]
    if finder.result is None:
        raise ValueError(
            "there was no search, as this training has no step (see max_steps, max_epochs and limits), is a"
            " fast_dev_run, or runs in processes of its own, which keep the result (use another strategy); or the"
            " search failed, see the warning"
        )
    return finder.result
