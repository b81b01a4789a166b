"""Optimizer steps at given learning rates, on the training's own batches, that leave no trace in the training."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from charlm.callbacks.internals.lightning import Callback, LightningModule, Trainer, is_param_in_hook_signature
from charlm.callbacks.internals.step import OneStep, is_plain
from charlm.callbacks.internals.trainer_attributes import callbacks_of
from charlm.callbacks.lr_finder.isolation import endless_batches, silenced
from charlm.callbacks.lr_finder.restore import Snapshots
from charlm.callbacks.lr_finder.snapshot import data_snapshot, training_snapshot
from charlm.callbacks.shared.evaluating import evaluating
from charlm.callbacks.shared.rates import peak_rates, rated_groups, set_rate

_TRIES = 100  # windows in a row that may have no loss


class NotRestored(RuntimeError):
    """The training is not as it was."""


class LRSweep:
    """Sweeps of the learning rate in a training that is about to begin.

    Use it as a context manager: at its end, also after an exception, the training is as it was. In between the other
    callbacks are not called, and the loggers receive nothing. The module's own hooks are called: those at the start of
    a training and of an epoch, and those of each batch.

    Args:
        trainer: in training, at its start.
        pl_module: the module that it trains.
        optimizer: the index of the optimizer whose rates change; the others keep theirs.
        monitor: the name under which training_step logs or returns the loss; None: its loss as Lightning sees it.
        on: "val" measures the loss of a validation batch after each step, by validation_step.

    Raises:
        ValueError: no such optimizer, one without a learning rate, or a training_step that fetches its own batches.
    """

    def __init__(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: int, monitor: str | None, on: str = "train"
    ) -> None:
        name, several = type(pl_module).__name__, len(trainer.optimizers)
        if not 0 <= optimizer < several:
            allowed = f"give an index from 0 to {several - 1}" if several else "there is no rate to find"
            raise ValueError(f"LRFinder's optimizer is {optimizer}, and {name} has {several}; {allowed}")
        if not rated_groups(trainer.optimizers[optimizer]):
            raise ValueError(f"{name} trains without a learning rate, so LRFinder has none to find")
        if is_param_in_hook_signature(pl_module.training_step, "dataloader_iter", explicit=True):
            raise ValueError(
                f"LRFinder cannot sweep {name}, because its training_step fetches the batches itself;"
                " take (batch, batch_idx), or remove LRFinder"
            )
        self.trainer = trainer
        self.pl_module = pl_module
        self.optimizer = trainer.optimizers[optimizer]
        configured = [config.scheduler for config in trainer.lr_scheduler_configs]
        self.schedulers = [each for each in configured if getattr(each, "optimizer", None) is self.optimizer]
        self.monitor, self.on = monitor, on
        self.logged: dict[str, Any] = {}
        self.error: Exception | None = None  # of a step that counts as diverged
        self.begins = trainer.global_step == 0  # else the module's on_train_start has been called already
        self.callbacks = list(callbacks_of(trainer))
        self.progress = trainer.fit_loop.epoch_loop.batch_progress
        # an epoch shorter than the accumulation ends each window early
        self.window = int(min(trainer.accumulate_grad_batches, trainer.num_training_batches))
        endless = trainer.num_training_batches == math.inf
        self.length = math.inf if endless else trainer.num_training_batches // self.window * self.window

    def __enter__(self) -> "LRSweep":
        trainer, pl_module = self.trainer, self.pl_module
        with ExitStack() as leaving:
            self._start = training_snapshot(trainer, pl_module)
            leaving.callback(Snapshots([self._start, data_snapshot(trainer)]).restore)
            # a scheduler or the module's optimizer_step may change a rate between the start of a batch and its step
            fixed = pl_module.automatic_optimization and is_plain(trainer, pl_module)
            leaving.enter_context(silenced(trainer, pl_module, [] if fixed else [_Rates(self)], self.logged))
            self._batches = endless_batches(trainer)
            leaving.callback(self._batches.close)
            self._validation = endless_batches(trainer, validation=True)
            leaving.callback(self._validation.close)
            self._leaving = leaving.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self._leaving.close()
        except Exception as error:
            raise NotRestored("LRFinder could not restore the training after its steps; remove LRFinder") from error

    def run(self, rates: Sequence[float]) -> Iterator[float]:
        """Take one optimizer step per rate, from the training's initial weights, on the batches that come next.

        Args:
            rates: of the group that has the highest rate; the other groups keep their ratio to it.

        Yields:
            The loss before each step, averaged over the window of accumulated batches and over all processes; NaN for a
            step other than the first that raises an exception, as some modules do when their weights are NaN.
        """
        self._start.restore()
        groups, peaks = rated_groups(self.optimizer), peak_rates(self.optimizer, self.schedulers)
        shares = [peak / max(peaks) if max(peaks) else 1.0 for peak in peaks]
        self.step = OneStep(self.trainer, self.pl_module, lambda hook: None)
        self.index = 0
        if self.begins:
            self.pl_module.on_train_start()
        for number, rate in enumerate(rates):
            self._rates = [(group, rate * share) for group, share in zip(groups, shares, strict=True)]
            try:
                loss = self._loss_of_step()
            except Exception as error:
                # other processes would wait for this one
                if not number or self.trainer.world_size > 1 or isinstance(error, torch.OutOfMemoryError):
                    raise
                self.error, loss = error, math.nan
            yield loss

    @property
    def peak(self) -> float:
        """The configured rate of the group with the highest one: the peak of its schedule."""
        return max(peak_rates(self.optimizer, self.schedulers), default=0.0)

    def set_rates(self) -> None:
        """Set each group's rate for the current step."""
        for group, rate in self._rates:
            set_rate(group, rate)

    def _loss_of_step(self) -> float:
        """Take an optimizer step and return its loss; batches that the module leaves out are replaced by later ones."""
        for _ in range(_TRIES):
            losses = self._window()
            if self.on == "val":
                losses = self._validated()
            if losses:
                mean = torch.stack([torch.as_tensor(loss).detach().float().mean() for loss in losses]).mean()
                if self.trainer.world_size > 1:
                    mean = self.trainer.strategy.reduce(mean, reduce_op="mean")
                return mean.item()
        known = f"; known here: {', '.join(self._known)}" if self._known else ""
        step = f"{type(self.pl_module).__name__}.{'training' if self.on == 'train' else 'validation'}_step"
        raise ValueError(
            f"LRFinder finds no {self.monitor or 'loss'} in what {step} returns or logs: return the loss, or name it"
            f" with LRFinder(monitor=...){known}"
        )

    def _validated(self) -> list[Any]:
        """The loss of the next validation batch, if it has one."""
        self.logged.clear()
        batch = self.step.prepare(next(self._validation))
        several = len(self.trainer.num_val_batches) > 1
        with evaluating(self.pl_module):
            outputs = self.trainer.strategy.validation_step(batch, 0, **({"dataloader_idx": 0} if several else {}))
        loss = self._loss(dict(outputs) if isinstance(outputs, Mapping) else {"loss": outputs}, divided=False)
        return [] if loss is None else [loss]

    def _window(self) -> list[Any]:
        """Train on the batches of one accumulation window; the losses of those that have one."""
        losses: list[Any] = []
        self._known: list[str] = []
        for place in range(self.window):
            batch = self.step.prepare(next(self._batches))
            if self.index == 0:
                self.pl_module.on_train_epoch_start()
            self.progress.current.ready = place + 1
            self.set_rates()
            self.logged.clear()
            if self.pl_module.on_train_batch_start(batch, self.index) == -1:  # skips the rest of the epoch
                self.index = 0
                return []
            outputs = self.step(batch, self.index)
            self.pl_module.on_train_batch_end(outputs, batch, self.index)
            self.index = 0 if self.index + 1 >= self.length else self.index + 1
            # Lightning divides it for the accumulation
            loss = self._loss(outputs, divided=self.pl_module.automatic_optimization)
            losses += [] if loss is None else [loss]
        return losses

    def _loss(self, outputs: dict[str, Any], divided: bool) -> Any:
        name = self.monitor or "loss"
        values = {key: value for key, value in self.logged.items() if isinstance(value, Tensor | int | float)}
        self._known = sorted({*(key for key, value in outputs.items() if value is not None), *values})
        loss = outputs.get(name)
        if loss is None:
            if self.monitor or self.on == "train":
                return values.get(self.monitor or "")
            named = [value for key, value in values.items() if "loss" in key.lower()]  # many log it and return nothing
            return named[0] if len(named) == 1 else None
        return loss * self.trainer.accumulate_grad_batches if divided and name == "loss" else loss


class _Rates(Callback):
    """Sets the rates right before each step of the optimizer that is swept."""

    def __init__(self, sweep: LRSweep) -> None:
        self.sweep = sweep

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        if optimizer is self.sweep.optimizer:
            self.sweep.set_rates()
