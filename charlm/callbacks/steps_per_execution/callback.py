"""Many optimizer steps for each iteration of Lightning's training loop: small models at the speed of a bare loop.

The callback replaces the `advance` of one training loop, which fetches a batch and makes a step of it, by one that
first does many steps by itself (execution.py, each by lean_step.py) and then calls Lightning's. What is private of the
other packages and used for it, as read in Lightning 2.6.6, torch 2.13, torchmetrics 1.9 and TensorBoard 2.21:

- `_TrainingEpochLoop._batches_that_stepped`, the x-axis of Lightning's scalars;
- `LightningModule._current_fx_name`, the hook that logs, and `_on_before_batch_transfer`;
- `Trainer._logger_connector`: whether Lightning writes the latest step, and its means over an epoch;
- `ModelCheckpoint._every_n_train_steps`, where an execution has to end; `TensorBoardLogger._prefix`;
- `Optimizer._optimizer_step_pre_hooks` and `_optimizer_step_post_hooks`, and torch.optim.optimizer's
  `_global_optimizer_pre_hooks` and `_global_optimizer_post_hooks`, which forbid the short way to a step;
- `Metric._forward_cache`, a metric's value for the latest batch;
- `EventFileWriter._general_file_writer`, its open file.

tests/test_lightning_internals.py fails when one of them moves.
"""

from functools import partial
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.signature_utils import is_param_in_hook_signature

from charlm.callbacks.steps_per_execution.execution import Execution
from charlm.callbacks.steps_per_execution.step_log import StepLog


class StepsPerExecution(Callback):
    """Run many optimizer steps for each iteration of Lightning's training loop.

    A step of a small model takes less time than what Lightning does around it: hooks of every part, results, profiler,
    loggers. This callback does that once for `steps` steps, and in between only what the steps need. They stay what
    they are: the same batches, the same weights as one by one, bit for bit; `trainer.global_step`, `max_steps`,
    validations and checkpoints come at the same steps and the same batches; learning-rate schedulers and every
    callback act before and after each step. What `self.log` gets is written for every step to TensorBoard (to other
    loggers every `log_every_n_steps`).

    What is done once an execution: the progress bar moves, and `trainer.callback_metrics` is brought up to date, so
    that a callback which reads it within an execution sees the one before; an execution also ends where a checkpoint
    or a validation is due. Callbacks can say `per_execution = True` to act in `on_train_batch_start` and
    `on_train_batch_end` only then. A profiler, an optimizer that is not torch's own, mixed precision, gradient
    accumulation, several GPUs and modules with their own `optimizer_step` take Lightning's own step inside an
    execution, which still is about twice as fast as without. Names as in Keras
    (`Model.compile(steps_per_execution=...)`).

    Args:
        steps: optimizer steps an execution, >= 1; 1: Lightning's loop as it is.

    Raises:
        ValueError: `steps` < 1 or, as training starts, manual optimization or a `training_step(dataloader_iter)`.
    """

    def __init__(self, steps: int = 250) -> None:
        if not isinstance(steps, int) or steps < 1:
            raise ValueError(f"StepsPerExecution's steps is a whole number from 1 on, not {steps}; 1 changes nothing")
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
        try:
            with log.recording():
                rest = fetcher
                if not trainer.fit_loop.epoch_loop.restarting:  # else Lightning has to find its place first
                    rest = Execution(trainer, pl_module, log).lead(fetcher, self.steps)
                log.hook = None
                log.write()
                if rest is not None:
                    one(rest)
                    log.drop_written()
        finally:
            log.hook = None
            log.write()

    def _refuse(self, trainer: Trainer, pl_module: LightningModule) -> None:
        name = type(pl_module).__name__
        if not pl_module.automatic_optimization:
            raise ValueError(
                f"StepsPerExecution(steps={self.steps}) cannot run {name}, which optimizes by hand: only its"
                " training_step knows its steps. Remove the callback or set steps=1; or let Lightning optimize"
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
