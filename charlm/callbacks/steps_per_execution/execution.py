"""The steps of one execution but the last one, which is Lightning's own."""

from typing import Any

from charlm.callbacks.internals.fast_step import Outputs
from charlm.callbacks.internals.lightning import LightningModule, Trainer
from charlm.callbacks.internals.module_log import read_metrics
from charlm.callbacks.internals.step import OneStep
from charlm.callbacks.internals.step_count import count_scalar_steps, steps_between_checkpoints
from charlm.callbacks.internals.step_hooks import acts_every_step, overrides, step_hooks
from charlm.callbacks.steps_per_execution.bare_steps import BareSteps
from charlm.callbacks.steps_per_execution.step_log import StepLog


class Execution:
    """Steps that leave Lightning's counters, the loader and all callbacks as if Lightning had done them.

    Args:
        trainer: in training, under automatic optimization.
        pl_module: the module that is trained.
        log: takes what the module logs.
    """

    def __init__(self, trainer: Trainer, pl_module: LightningModule, log: StepLog) -> None:
        self.trainer = trainer
        self.pl_module = pl_module
        self.log = log
        self.loop = trainer.fit_loop.epoch_loop
        self.progress = self.loop.batch_progress
        self.starts = step_hooks("on_train_batch_start", trainer, pl_module)
        self.ends = step_hooks("on_train_batch_end", trainer, pl_module)
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]  # set from outside the class
        self.stopper = next((callback for callback in callbacks if hasattr(callback, "stops_now")), None)
        one = OneStep(trainer, pl_module, self._enter)
        self.prepare, self.step = (one.prepare if one.transfers else None), one.step
        self.bare = BareSteps(trainer, pl_module, None if one.transfers else one.step, self._stops_now)

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
            done, fetched = self.bare.run(fetcher, left)
            left -= done
            if done and self._stops_now():
                return None
            if not left:
                break
            fetched = fetched or next(fetcher)
            left -= 1
            # a loader without a length tells only now that this batch is its last; Lightning warns of a batch of None
            if fetcher.done or fetched[0] is None:
                return _Fetched(fetcher, fetched)
            stops = self._do(fetched[0] if self.prepare is None else self.prepare(fetched[0]))
            if stops or self._stops_now():
                return None
            if self.progress.current.ready % self.trainer.accumulate_grad_batches == 0:
                count_scalar_steps(self.trainer)
        return fetcher

    def _stops_now(self) -> bool:
        return self.stopper is not None and self.stopper.stops_now

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
            read_metrics(self.trainer)
            raise StopIteration

    def _end_execution(self, outputs: Outputs, batch: Any, index: int) -> None:
        """Training stops after this step: call the callbacks that act at the end of an execution."""
        self.log.give_latest()
        callbacks: list[Any] = self.trainer.callbacks  # type: ignore[attr-defined]  # set from outside the class
        for callback in callbacks:
            if overrides(callback, "on_train_batch_end") and not acts_every_step(callback, "on_train_batch_end"):
                callback.on_train_batch_end(self.trainer, self.pl_module, outputs, batch, index)

    def _enter(self, hook: str) -> None:
        self.log.hook = hook


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
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]  # set from outside the class
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
