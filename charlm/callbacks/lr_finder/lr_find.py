"""`lr_find`: a search for the learning rate, and no training."""

from typing import Any

from charlm.callbacks.internals.early_end import leave_fit
from charlm.callbacks.internals.lightning import DummyLogger, LightningModule, Trainer, isolate_rng
from charlm.callbacks.lr_finder.callback import LRFinder
from charlm.callbacks.lr_finder.result import LRFinderResult


def lr_find(trainer: Trainer, model: LightningModule, data: Any = None, **options: Any) -> LRFinderResult:
    """Find a learning rate for a training, and train nothing.

    Writes no files. The trainer and the model are as before, so that `trainer.fit` may follow. With `update_attr` the
    model gets the rate, for instance with update_attr="lr" as its `lr`. With several processes use a strategy that
    starts them only once, such as "ddp".

    Args:
        trainer: for the training that is planned: its length counts, its callbacks are set up.
        model: the model to train.
        data: a datamodule or the training's loaders; None: the model's own.
        **options: arguments of `LRFinder`, `min_lr` included.

    Raises:
        ValueError: an argument outside its range, or what makes a search impossible.

    Example:
        >>> result = lr_find(trainer, model, datamodule, num_steps=100)  # doctest: +SKIP
        >>> result.suggestion, result.plot()  # doctest: +SKIP
    """
    defaults: dict[str, Any] = {"apply": "update_attr" in options, "on_failure": "raise"}
    finder = SearchAlone(shows=False, **defaults | options)
    loggers = trainer.loggers
    with isolate_rng():
        trainer.loggers = [DummyLogger()]
        try:
            return search_alone(trainer, model, data, finder)
        finally:
            trainer.loggers = loggers


class SearchAlone(LRFinder):
    """An LRFinder after whose search the training ends.

    Args:
        shows: write the files and the picture.
        **options: arguments of `LRFinder`.
    """

    _trains = False

    def __init__(self, *, shows: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.shows = shows

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        leave_fit()

    def _show(self, trainer: Trainer, result: LRFinderResult) -> None:
        if self.shows:
            super()._show(trainer, result)


def search_alone(trainer: Trainer, model: LightningModule, data: Any, finder: SearchAlone) -> LRFinderResult:
    """Search with `finder`, before the trainer's other callbacks begin.

    Raises:
        ValueError: there was no search, as the training has no step, or the search failed.
    """
    before: list[Any] = trainer.callbacks  # type: ignore[attr-defined]  # set from outside the class
    trainer.callbacks = [finder, *before]  # type: ignore[attr-defined]
    try:
        trainer.fit(model, data)
    finally:
        trainer.callbacks = before  # type: ignore[attr-defined]
    if finder.result is None:
        raise ValueError(
            "there was no search, as this training has no step (see max_steps, max_epochs and limits), is a"
            " fast_dev_run, is searched only later (see at_epochs), or runs in processes of its own, which keep the"
            " result (use another strategy); or the search failed, see the warning"
        )
    return finder.result
