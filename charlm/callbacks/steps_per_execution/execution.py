"""The steps of one execution but the last one, which is Lightning's own."""

import math
from functools import partial
from typing import Any

from charlm.callbacks.internals.lightning import LightningModule, Trainer
from charlm.callbacks.internals.step import OneStep, Outputs
from charlm.callbacks.internals.step_count import (
    count_scalar_steps,
    count_steps,
    scalar_step,
    steps_between_checkpoints,
)
from charlm.callbacks.internals.step_hooks import STEP_HOOKS, acts_every_step, offers, overrides, step_hooks
from charlm.callbacks.internals.trainer_attributes import callbacks_of, steps_per_log
from charlm.callbacks.steps_per_execution.step_log import StepLog


class Execution:
    """Steps that leave Lightning's counters, the loader and all callbacks as if Lightning had done them.

    Steps in which nothing is logged and no callback acts are bare: gradients by the module's own function, and update.
    """

    def __init__(self, trainer: Trainer, pl_module: LightningModule, log: StepLog) -> None:
        self.trainer, self.pl_module, self.log = trainer, pl_module, log
        self.loop = trainer.fit_loop.epoch_loop
        self.progress = self.loop.batch_progress
        self.starts = step_hooks("on_train_batch_start", trainer, pl_module)
        self.ends = step_hooks("on_train_batch_end", trainer, pl_module)
        self.callbacks = callbacks_of(trainer)
        self.stopper = next((callback for callback in self.callbacks if hasattr(callback, "stops_now")), None)
        self.step = OneStep(trainer, pl_module, partial(setattr, log, "hook"))
        self.acting = [each for each in self.callbacks if any(acts_every_step(each, hook) for hook in STEP_HOOKS)]
        self.has_bare_steps = (
            self.step.own_gradients() is not None
            and not self.step.clips
            and not trainer.lr_scheduler_configs
            and not any(overrides(pl_module, hook) for hook in STEP_HOOKS)
            and all(offers(each, "next_step", *STEP_HOOKS) for each in self.acting)
        )

    def lead(self, fetcher: Any, steps: int) -> Any:
        """Do all steps but the last one.

        Args:
            fetcher: gives Lightning its batches.
            steps: an execution ends at the multiples of this number of optimizer steps.

        Returns:
            What the last batch is to be fetched from; None where training is to stop at once.

        Raises:
            StopIteration: a hook has asked for the end of the epoch.
        """
        self.progress.is_last_batch = False
        left = batches_left(self.trainer, steps) - 1
        while left > 0:
            done, fetched = self._bare_steps(fetcher, left) if self.has_bare_steps and fetcher.length else (0, None)
            left -= done
            if done and self._stops_now():
                count_scalar_steps(self.trainer, -1)  # the loop counts the last step itself
                return None
            if not left:
                break
            fetched = fetched or next(fetcher)
            left -= 1
            # a loader without a length tells only now that this batch is its last; Lightning warns of a batch of None
            if fetcher.done or fetched[0] is None:
                return _Fetched(fetcher, fetched)
            stops = self._do(self.step.prepare(fetched[0]))
            if stops or self._stops_now():
                return None
            if self.progress.current.ready % self.trainer.accumulate_grad_batches == 0:
                count_scalar_steps(self.trainer)
        return fetcher

    def _stops_now(self) -> bool:
        return self.stopper is not None and self.stopper.stops_now

    def _bare_steps(self, fetcher: Any, most: int) -> tuple[int, Any]:
        """Do the steps up to the next one in which somebody acts: their number, and a batch that is to be done again.

        That is one whose loss is NaN or infinite, which a callback may wait for.
        """
        every = steps_per_log(self.trainer)
        until_log = every - 1 - scalar_step(self.trainer) % every if every else math.inf
        begun, done = self.trainer.global_step, 0
        most = min(most, until_log, *(callback.next_step(self.trainer) - begun for callback in self.acting))
        gradients = self.step.own_gradients() if most > 0 else None
        if gradients is None:
            return 0, None
        update = self.step.bare_update()
        try:
            while True:
                fetched = next(fetcher)
                loss, of_weights = gradients(self.step.prepare(fetched[0]), False)
                if not math.isfinite(loss):
                    return done, fetched
                update(of_weights)
                done += 1
                if done >= most or self._stops_now():
                    self.step.set_gradients(of_weights)
                    return done, None
        finally:
            count_steps(self.trainer, done)

    def _do(self, batch: Any) -> bool:
        """Do one step; whether training stops after it."""
        index = self.progress.current.ready
        self.progress.increment_ready()
        self.log.begin(batch)
        if self.starts:
            self._start(batch, index)
        self.progress.increment_started()
        outputs = self.step(batch, index)
        self.progress.increment_processed()
        if self.trainer.lr_scheduler_configs:
            self.loop.update_lr_schedulers("step", update_plateau_schedulers=False)
        self.log.hook = "on_train_batch_end"
        for hook in self.ends:
            hook(outputs, batch, index)
        stops = self.trainer.should_stop or self.trainer.received_sigterm
        if stops:
            self._end_execution(outputs, batch, index)
        self.log.end()
        self.progress.increment_completed()
        return stops

    def _start(self, batch: Any, index: int) -> None:
        answer = None
        self.log.hook = "on_train_batch_start"
        for hook in self.starts:
            answer = hook(batch, index)
        if answer == -1 and overrides(self.pl_module, "on_train_batch_start"):
            # the last answer is the module's: as in Lightning the rest of the epoch is left out
            self.progress.increment_by(0, is_last_batch=True)
            self.progress.increment_processed()
            self.loop.update_lr_schedulers("step", update_plateau_schedulers=False)
            self.loop.update_lr_schedulers("epoch", update_plateau_schedulers=False)
            self.log.give_latest()
            _ = self.trainer.callback_metrics, self.trainer.progress_bar_metrics  # they take the values when read
            raise StopIteration

    def _end_execution(self, outputs: Outputs, batch: Any, index: int) -> None:
        """Training stops after this step: call the callbacks that act at the end of an execution."""
        self.log.give_latest()
        for callback in self.callbacks:
            if overrides(callback, "on_train_batch_end") and not acts_every_step(callback, "on_train_batch_end"):
                callback.on_train_batch_end(self.trainer, self.pl_module, outputs, batch, index)


class _Fetched:
    """A fetcher whose next batch is here already."""

    def __init__(self, fetcher: Any, fetched: Any) -> None:
        self.fetched = fetched
        self.done = fetcher.done

    def __next__(self) -> Any:
        return self.fetched


def batches_left(trainer: Trainer, steps: int) -> int:
    """Batches until the execution ends, at least 1: at a multiple of `steps`, or before it where something is due.

    Due are the end of the epoch and of the training, a validation, and a checkpoint of every so many steps.
    """
    progress, done = trainer.fit_loop.epoch_loop.batch_progress, trainer.global_step
    callbacks = callbacks_of(trainer)
    if any(config.reduce_on_plateau and config.interval == "step" for config in trainer.lr_scheduler_configs):
        return 1  # the scheduler reads trainer.callback_metrics after every step
    periods = [steps, *map(steps_between_checkpoints, callbacks)]
    ends = [(done // period + 1) * period for period in periods if period > 0]
    if trainer.max_steps > 0:
        ends.append(trainer.max_steps)
    accumulated = trainer.accumulate_grad_batches
    left: list[float] = [(min(ends) - done) * accumulated - progress.current.ready % accumulated]
    left.append(trainer.num_training_batches - progress.current.ready)
    if trainer.val_check_batch is not None:
        seen = progress.total.ready if trainer.check_val_every_n_epoch is None else progress.current.ready
        left.append(trainer.val_check_batch - seen % trainer.val_check_batch)
    return int(max(1, min(left)))
