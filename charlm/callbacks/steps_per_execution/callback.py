"""Many optimizer steps for each iteration of Lightning's training loop: small models at the speed of a bare loop.

The callback replaces `advance` of one training loop, which fetches a batch and trains on it, by a method that first
does many steps by itself (execution.py, each step by internals/step.py) and then calls Lightning's `advance`.
"""

from functools import partial
from typing import Any

from charlm.callbacks.internals.averaging import steps_are_left_out
from charlm.callbacks.internals.lightning import LightningModule, Trainer, is_param_in_hook_signature
from charlm.callbacks.shared.base_callback import BaseCallback
from charlm.callbacks.steps_per_execution.execution import Execution
from charlm.callbacks.steps_per_execution.step_log import StepLog


class StepsPerExecution(BaseCallback):
    """Train small models faster: many optimizer steps for each iteration of Lightning's training loop.

    A step of a small model takes less time than what Lightning does around it: hooks of every part, results, profiler,
    loggers. This callback does that once for `steps` steps, and in between only what the steps need. The result is the
    same: the same batches and the same weights, bit for bit; `trainer.global_step`, `max_steps`, validations and
    checkpoints at the same steps; learning-rate schedulers and callbacks that act before and after each step; and the
    same points in the loggers, every `log_every_n_steps`.

    The progress bar and `trainer.callback_metrics` are updated at the end of an execution, which also ends where a
    checkpoint or a validation is due. Callbacks with `per_execution = True` get `on_train_batch_start` and
    `on_train_batch_end` only then. A callback with a method `next_step(trainer)` names the next step, counted from 0,
    in which its hooks have something to do; they may be left out before it. With a profiler, an optimizer that is not
    torch's own, precision 16-mixed, several processes or a module with its own `optimizer_step`, Lightning's own step
    runs inside an execution, which is still about twice as fast. The name is Keras's
    (`Model.compile(steps_per_execution=...)`).

    Args:
        steps: optimizer steps per execution, >= 1; 1: Lightning's loop without a change.

    Example:
        >>> from charlm.callbacks import StepsPerExecution
        >>> from lightning.pytorch import Trainer
        >>> from lightning.pytorch.demos.boring_classes import BoringModel
        >>> trainer = Trainer(max_steps=60, enable_progress_bar=False, callbacks=[StepsPerExecution(20)])
        >>> trainer.fit(BoringModel())
        >>> trainer.global_step
        60

    Raises:
        ValueError: `steps` < 1 or, as training starts, manual optimization or a `training_step(dataloader_iter)`.
    """

    def __init__(self, steps: int = 250) -> None:
        if not isinstance(steps, int) or steps < 1:
            raise ValueError(
                f"StepsPerExecution's steps is {steps}; give a whole number of at least 1, where 1 changes nothing"
            )
        self.steps = steps

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.steps == 1:
            return
        self._refuse(trainer, pl_module)
        loop = trainer.fit_loop.epoch_loop
        # an attribute of the one loop: its class, and other trainers, stay as they are
        advance = partial(self._advance, trainer, pl_module, StepLog(trainer, pl_module), loop.advance)
        vars(loop)["advance"] = advance

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._remove(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._remove(trainer)

    def _advance(self, trainer: Trainer, pl_module: LightningModule, log: StepLog, one: Any, fetcher: Any) -> None:
        """One execution in place of the loop's one step."""
        with log.recording():
            rest = fetcher
            # else Lightning first has to find where to continue
            if not trainer.fit_loop.epoch_loop.restarting and not steps_are_left_out(trainer):
                rest = Execution(trainer, pl_module, log).lead(fetcher, self.steps)
            log.give_latest()
            log.hook = None
            if rest is not None:
                one(rest)

    def _refuse(self, trainer: Trainer, pl_module: LightningModule) -> None:
        name = type(pl_module).__name__
        if not pl_module.automatic_optimization:
            raise ValueError(
                f"StepsPerExecution(steps={self.steps}) cannot run {name}, which uses manual optimization:"
                " only its training_step knows its steps. Remove the callback, set steps=1, or optimize automatically"
            )
        if is_param_in_hook_signature(pl_module.training_step, "dataloader_iter", explicit=True):
            raise ValueError(
                f"StepsPerExecution(steps={self.steps}) cannot run {name}, whose training_step fetches its batches"
                " itself. Remove the callback or set steps=1; or take (batch, batch_idx)"
            )
        if "advance" in vars(trainer.fit_loop.epoch_loop):
            raise ValueError("there are two StepsPerExecution callbacks; keep one")

    def _remove(self, trainer: Trainer) -> None:
        vars(trainer.fit_loop.epoch_loop).pop("advance", None)
