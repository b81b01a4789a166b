"""What the steps of an execution log, kept until it ends and written then, each value at its own step."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torchmetrics import Metric

from charlm.callbacks.internals.log_capture import log_taken
from charlm.callbacks.steps_per_execution.event_file import write_scalars

Row = tuple[int, dict[str, float]]
_recording: set[int] = set()  # ids of the modules whose steps are recorded
_log = LightningModule.log


def is_recording(pl_module: LightningModule) -> bool:
    """Whether `self.log` costs next to nothing now: the module can log at every step."""
    return id(pl_module) in _recording


class StepLog:
    """Takes the place of `LightningModule.log`, which costs more than a small net's whole step.

    Values of single steps are kept. All else (means over the epoch, torchmetrics objects, values for the progress bar
    only) goes to Lightning at once, and so does everything in the step that Lightning itself runs.

    Args:
        trainer: in training.
        pl_module: the module that logs.
    """

    def __init__(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.trainer = trainer
        self.pl_module = pl_module
        self.loop = trainer.fit_loop.epoch_loop
        # the hook of a step of our own; "" where Lightning names it itself; None in a step that is Lightning's own
        self.hook: str | None = None
        self._batch: Any = None
        self._passed_on = False  # in this step
        self._accumulates = False  # in this step, which Lightning logs nothing of then
        self._kept: list[tuple[int, str, Any, dict[str, Any]]] = []

    def begin(self, batch: Any) -> None:
        """A step of our own, on `batch`, begins."""
        self._batch, self._passed_on = batch, False
        self._accumulates = self.loop.batch_progress.current.ready % self.trainer.accumulate_grad_batches != 0

    def end(self) -> None:
        """It is over."""
        self._batch = None
        if self._passed_on:
            self.trainer._logger_connector.on_batch_end()

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Log to here, also from callbacks, which hold on to the module's `log`."""
        callbacks: list[Callback] = self.trainer.callbacks  # type: ignore[attr-defined]  # set from outside the class
        holding = [(vars(callback), vars(callback)["log"]) for callback in callbacks if "log" in vars(callback)]

        _recording.add(id(self.pl_module))
        try:
            with log_taken(self.pl_module, self.log):
                for own, _ in holding:
                    own["log"] = self.pl_module.log
                yield
        finally:
            _recording.discard(id(self.pl_module))
            for own, before in holding:
                own["log"] = before

    def log(
        self,
        name: str,
        value: Any,
        prog_bar: bool = False,
        logger: bool | None = None,
        on_step: bool | None = None,
        on_epoch: bool | None = None,
        sync_dist: bool = False,
        **options: Any,
    ) -> None:
        """As `LightningModule.log`."""
        by_step = on_step is not False and logger is not False
        is_tensor = type(value) is Tensor
        plain = value.dim() == 0 if is_tensor else isinstance(value, int | float)
        given = {"prog_bar": prog_bar, "logger": logger, "on_step": on_step, "on_epoch": on_epoch, **options}
        if self.hook is None or on_epoch or not by_step or not plain:
            self._pass_on(name, value, sync_dist=sync_dist, **given)
            if isinstance(value, Metric):
                value = value._forward_cache
        if by_step and value is not None and not (self._accumulates and self.hook is not None):
            kept = value.detach() if is_tensor and value.requires_grad else value
            if sync_dist and self.trainer.world_size > 1:
                kept = self.trainer.strategy.reduce(torch.as_tensor(kept, device=self.pl_module.device).clone())
            self._kept.append((self.loop._batches_that_stepped, f"{name}_step" if on_epoch else name, kept, given))

    def drop_written(self) -> None:
        """Forget the latest step's values where Lightning has written them itself."""
        if self.trainer._logger_connector.should_update_logs:
            self._kept = [row for row in self._kept if row[0] != self.loop._batches_that_stepped]

    def give_latest(self) -> None:
        """Bring `trainer.callback_metrics` up to date with the latest step, after which training stops."""
        for step, name, value, given in self._kept:
            if step == self.loop._batches_that_stepped and not given["on_epoch"]:
                self._pass_on(name, value, **given)

    def write(self) -> None:
        """Write all that is kept: every step's to TensorBoard, to other loggers those of `log_every_n_steps`."""
        kept, self._kept = self._kept, []
        if not kept or not self.trainer.loggers or not self.trainer.is_global_zero:
            return
        rows = _rows(kept)
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]  # set from outside the class
        due = [row for row in rows if every and (row[0] + 1) % every == 0]
        for _, scalars in due:
            scalars.setdefault("epoch", self.trainer.current_epoch)  # as Lightning does
        for logger in self.trainer.loggers:
            if isinstance(logger, TensorBoardLogger) and _takes_blocks(logger):
                write_scalars(logger.experiment, rows)
                continue
            for step, scalars in due:
                logger.log_metrics(scalars, step)

    def _pass_on(self, name: str, value: Any, **options: Any) -> None:
        if self.hook is not None:
            if self.hook:
                self.pl_module._current_fx_name = self.hook
            if not self._passed_on:
                self._passed_on = True
                self.trainer._logger_connector.on_batch_start(self._batch)
        _log(self.pl_module, name, value, **options)


def _rows(kept: list[tuple[int, str, Any, dict[str, Any]]]) -> list[Row]:
    """One row a step, its values as numbers: one copy from the device for all of them."""
    tensors = [value for _, _, value, _ in kept if isinstance(value, Tensor)]
    if len({(value.dim(), value.dtype, value.device) for value in tensors}) > 1:
        tensors = [value.detach().reshape(()).float().cpu() for value in tensors]
    numbers = iter(torch.stack(tensors).flatten().tolist() if tensors else [])
    rows: dict[int, dict[str, float]] = {}
    for step, name, value, _ in kept:
        rows.setdefault(step, {})[name] = next(numbers) if isinstance(value, Tensor) else float(value)
    return list(rows.items())


def _takes_blocks(logger: TensorBoardLogger) -> bool:
    """Whether it writes scalars as they are."""
    as_lightning = type(logger).log_metrics is TensorBoardLogger.log_metrics or getattr(logger, "plain_scalars", False)
    return as_lightning and not logger._prefix
