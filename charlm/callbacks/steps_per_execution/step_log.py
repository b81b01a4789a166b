"""What the steps of an execution log: the points that Lightning would write, without its cost at every step."""

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from charlm.callbacks.internals.lightning import LightningModule, Trainer
from charlm.callbacks.internals.module_log import begin_batch, captured_log, current_hook, log_in_hook, write_batch
from charlm.callbacks.shared.progress import log_is_due, scalar_step


class StepLog:
    """Takes the place of `LightningModule.log`, which takes longer than a whole step of a small net.

    The latest number of each name is kept, and goes to the loggers at the steps that Lightning writes and to Lightning
    when the execution ends. What Lightning adds up over an epoch, or reduces over processes, goes to Lightning at every
    step; a module that logs such values has its points written by Lightning, too.
    """

    def __init__(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.trainer, self.pl_module = trainer, pl_module
        # the hook of one of the callback's own steps; "" where Lightning names the hook; None in a step of Lightning's
        self.hook: str | None = None
        self._batch: Any = None
        self._is_begun = False  # whether Lightning knows the batch of this step
        self._by_lightning = False  # whether Lightning writes the points
        self._is_behind = False  # whether Lightning lacks the latest values
        self._epoch = -1
        self._latest: dict[tuple[str | None, str], tuple[Any, dict[str, Any]]] = {}  # of the epoch

    def recording(self) -> AbstractContextManager[None]:
        """Log to here, from the module and from callbacks."""
        if self.trainer.current_epoch != self._epoch:  # Lightning forgets the values of an epoch, too
            self._epoch, self._latest = self.trainer.current_epoch, {}
        return captured_log(self.trainer, self.pl_module, self.log)

    def begin(self, batch: Any) -> None:
        """Begin one of the callback's own steps, on `batch`."""
        self._batch, self._is_begun = batch, False

    def end(self) -> None:
        """End the step."""
        is_due = log_is_due(self.trainer)
        if self.trainer.should_stop or (is_due and self._by_lightning):
            self.give_latest()
            self._begin_batch()
            write_batch(self.trainer)
        elif is_due:
            written = [(name, value) for (_, name), (value, of) in self._latest.items() if of["logger"] is not False]
            row = {"epoch": self.trainer.current_epoch, **{name: _number(value) for name, value in written}}
            for logger in self.trainer.loggers if written else ():
                logger.log_metrics(row, scalar_step(self.trainer))

    def give_latest(self) -> None:
        """Let Lightning know the latest values, which brings `trainer.callback_metrics` up to date."""
        if not self._is_behind:
            return
        self._is_behind = False
        begin_batch(self.trainer, self._batch)  # also a second time: in the first one Lightning resets its sums
        for (hook, name), (value, options) in self._latest.items():
            log_in_hook(self.pl_module, hook, name, value, **options)

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
        options |= {"prog_bar": prog_bar, "logger": logger, "on_step": on_step, "on_epoch": on_epoch}
        hook = self.hook or current_hook(self.pl_module)
        is_tensor = type(value) is Tensor
        is_number = value.dim() == 0 if is_tensor else isinstance(value, int | float)
        reduced = sync_dist and self.trainer.world_size > 1
        if is_number and on_step is not False and not on_epoch and not reduced:
            self._latest[hook, name] = (value.detach() if is_tensor and value.requires_grad else value, options)
            if self.hook is not None:
                self._is_behind = True
                return
        else:
            self._by_lightning = True
        self._begin_batch()
        log_in_hook(self.pl_module, hook, name, value, sync_dist=sync_dist, **options)

    def _begin_batch(self) -> None:
        if self.hook is not None and not self._is_begun:
            begin_batch(self.trainer, self._batch)
            self._is_begun = True


def _number(value: Any) -> float:
    """The number that Lightning would write: it turns everything but floats of torch into its default float."""
    if not (isinstance(value, Tensor) and value.is_floating_point()):
        value = torch.as_tensor(value, dtype=torch.get_default_dtype())
    return value.item()
