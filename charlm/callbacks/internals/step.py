"""One step of a LightningModule on one batch, without the loop around it."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer, optimizer

from charlm.callbacks.internals.lightning import (
    ClosureResult,
    LightningModule,
    MixedPrecision,
    PassThroughProfiler,
    Precision,
    SingleDeviceStrategy,
    Trainer,
    is_overridden,
    is_param_in_hook_signature,
)
from charlm.callbacks.internals.step_hooks import offers, overrides, step_hooks
from charlm.callbacks.internals.trainer_attributes import datamodule_of

Outputs = dict[str, Any]
GradientFunction = Callable[[Any, bool], tuple[float, list[Tensor]]]
_TRANSFERS = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")
_MORE = ("momentum", "weight_decay", "maximize", "differentiable", "fused")  # what else a step of SGD may do
_HOOKS = ("on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step")


def is_plain(trainer: Trainer, pl_module: LightningModule) -> bool:
    """Whether a step is training_step, backward and the step of an optimizer of torch, on one device.

    Gradients may be accumulated, and the precision may be float32 or bf16-mixed, which needs no scaling.
    """
    own = ("optimizer_step", "optimizer_zero_grad", "backward")
    precision, profiler = trainer.precision_plugin, trainer.profiler  # type: ignore[attr-defined]  # set from outside
    kind = type(trainer.optimizers[0])
    return (
        type(trainer.strategy) is SingleDeviceStrategy
        and (type(precision) is Precision or (type(precision) is MixedPrecision and precision.scaler is None))
        and type(profiler) is PassThroughProfiler
        and not any(overrides(pl_module, hook) for hook in own)
        # LBFGS calls its closure several times, and optimizers from elsewhere may; the others of torch do not
        and kind.__module__.startswith("torch.optim.")
        and kind is not torch.optim.LBFGS
    )


class OneStep:
    """What Lightning does with a batch between its hooks `on_train_batch_start` and `on_train_batch_end`.

    Lightning's own optimization does it, or, if `is_plain`, this class, in the same order and equal bit for bit. The
    gradients then come from `training_step` and `backward`, or from the module's own `gradient_function`, if it has
    that method. It is called once per execution and returns a function, or None where it does not apply. The function
    takes a batch and whether to log what `training_step` logs (or only to record the loss for a later log); it returns
    the loss as a number and the gradients of `self.parameters()`.

    Args:
        trainer: in training.
        pl_module: the module that is trained.
        enter: called with the name of each hook before the hook, and with "" where Lightning names its hooks itself.
    """

    def __init__(self, trainer: Trainer, pl_module: LightningModule, enter: Callable[[str], None]) -> None:
        self.trainer, self.pl_module, self.enter = trainer, pl_module, enter
        self.loop = trainer.fit_loop.epoch_loop
        self.takes_index = is_param_in_hook_signature(pl_module.training_step, "batch_idx", min_args=2)
        self.weights, self._own = list(pl_module.parameters()), None
        precision = trainer.precision_plugin
        data = datamodule_of(trainer)
        self._is_ready = (  # whether the loader gives a batch as the model gets it
            type(trainer.strategy) is SingleDeviceStrategy
            and trainer.strategy.root_device.type == "cpu"
            and type(precision) in (Precision, MixedPrecision)
            and not any(is_overridden(hook, owner) for hook in _TRANSFERS for owner in (pl_module, data))
        )
        self._is_plain = pl_module.automatic_optimization and is_plain(trainer, pl_module)
        if not self._is_plain:
            return
        self.optimizer = trainer.optimizers[0]
        self.progress = self.loop.automatic_optimization.optim_progress.optimizer
        self.accumulates = trainer.accumulate_grad_batches
        mixed = type(precision) is MixedPrecision
        self.precision = precision.train_step_context if mixed else nullcontext
        self.hooks = {name: hooks for name in _HOOKS if (hooks := step_hooks(name, trainer, pl_module))}
        self.clips = trainer.gradient_clip_val is not None or overrides(pl_module, "configure_gradient_clipping")
        waits = mixed or self.accumulates > 1 or "on_before_backward" in self.hooks  # for the loss of autograd
        if not waits and offers(pl_module, "gradient_function", "training_step"):
            # any attribute of a module may be a tensor, for type checkers
            self._own, self._places = pl_module.gradient_function(), self._where()  # type: ignore[operator]
        self.no_grad = torch.no_grad()  # to make one takes half as long as the subtraction

    def prepare(self, batch: Any) -> Any:
        """The batch as the model gets it: on its device, in its precision."""
        if self._is_ready:
            return batch
        batch = self.trainer.precision_plugin.convert_input(batch)
        batch = self.pl_module._on_before_batch_transfer(batch, dataloader_idx=0)
        return self.trainer.strategy.batch_to_device(batch, dataloader_idx=0)

    def __call__(self, batch: Any, batch_idx: int) -> Outputs:
        """Do one step and return what `on_train_batch_end` gets as `outputs`."""
        if not self._is_plain:
            return self._by_lightning(batch, batch_idx)
        ready = self.loop.batch_progress.current.ready
        updates = ready % self.accumulates == 0 or ready >= self.trainer.num_training_batches
        if updates:
            self.progress.step.increment_ready()
        self.enter("training_step")
        own = self.own_gradients()
        outputs = self._gradients(batch, batch_idx) if own is None else self._gradients_of_module(own, batch)
        if updates:
            self._update()
            self.progress.step.increment_completed()
        return outputs

    def own_gradients(self) -> GradientFunction | None:
        """The module's own function; None where there is none, or where a weight was moved or frozen since."""
        return self._own if self._own is not None and self._places == self._where() else None

    def set_gradients(self, gradients: list[Tensor]) -> None:
        """Set the `.grad` of each weight."""
        for weight, gradient in zip(self.weights, gradients, strict=True):
            weight.grad = gradient

    def bare_update(self) -> Callable[[list[Tensor]], object]:
        """The step of the optimizer alone, at the rates of now, as a function of the gradients of all weights."""
        of = self.optimizer
        if is_plain_sgd(of) and len(of.param_groups) == 1 and set(of.param_groups[0]["params"]) == set(self.weights):
            detached, rate = [weight.detach() for weight in self.weights], float(of.param_groups[0]["lr"])
            return lambda gradients: torch._foreach_add_(detached, gradients, alpha=-rate)

        def update(gradients: list[Tensor]) -> None:
            self.set_gradients(gradients)
            of.step()

        return update

    def _by_lightning(self, batch: Any, index: int) -> Outputs:
        self.trainer.strategy.on_train_batch_start(batch, index)
        arguments = OrderedDict(batch=batch, **({"batch_idx": index} if self.takes_index else {}))
        self.enter("")
        if self.pl_module.automatic_optimization:
            return self.loop.automatic_optimization.run(self.trainer.optimizers[0], index, arguments)
        return self.loop.manual_optimization.run(arguments)

    def _where(self) -> list[tuple[int, bool]]:
        return [(weight.data_ptr(), weight.requires_grad) for weight in self.weights]

    def _gradients_of_module(self, own: GradientFunction, batch: Any) -> Outputs:
        loss, gradients = own(batch, True)
        self._call("on_before_zero_grad", self.optimizer)
        self.progress.zero_grad.increment_by(1)
        self.set_gradients(gradients)
        self._call("on_after_backward")
        return {"loss": torch.tensor(loss, dtype=self.weights[0].dtype)}

    def _gradients(self, batch: Any, batch_idx: int) -> Outputs:
        """Set every `.grad` by `training_step` and `backward`, or add to it."""
        with self.precision():
            output: Any = self.pl_module.training_step(*((batch, batch_idx) if self.takes_index else (batch,)))
        if not isinstance(output, Tensor):
            ClosureResult.from_training_step_output(output)  # raises Lightning's error where there is no loss
        extra = output if isinstance(output, Mapping) else {"loss": output}
        loss = extra["loss"]
        if batch_idx % self.accumulates == 0:
            self._call("on_before_zero_grad", self.optimizer)
            for group in self.optimizer.param_groups:
                for weight in group["params"]:
                    weight.grad = None
            self.progress.zero_grad.increment_by(1)
        if loss is None:  # training_step returned None: a step without an update
            return {}
        if self.accumulates > 1:
            loss = loss / self.accumulates
        self._call("on_before_backward", loss)
        loss.backward()
        self._call("on_after_backward")
        return {**extra, "loss": loss.detach()}

    def _update(self) -> None:
        """The step of the optimizer, with its hooks and the clipping before it."""
        self._call("on_before_optimizer_step", self.optimizer)
        if self.clips:
            value, algorithm = self.trainer.gradient_clip_val, self.trainer.gradient_clip_algorithm
            self.pl_module.configure_gradient_clipping(self.optimizer, value, algorithm)
        if is_plain_sgd(self.optimizer):
            with self.no_grad:
                for group in self.optimizer.param_groups:
                    learned = [weight for weight in group["params"] if weight.grad is not None]
                    if learned:
                        torch._foreach_add_(learned, [w.grad for w in learned], alpha=-float(group["lr"]))
        else:
            self.optimizer.step()

    def _call(self, name: str, *arguments: Any) -> None:
        if name in self.hooks:
            self.enter(name)
            for hook in self.hooks[name]:
                hook(*arguments)


def is_plain_sgd(of: Optimizer) -> bool:
    """Whether a step only subtracts rate times gradient: `SGD.step` takes several times as long for a small net."""
    if type(of) is not SGD or "step" in vars(of) or of._optimizer_step_pre_hooks or of._optimizer_step_post_hooks:
        return False
    if optimizer._global_optimizer_pre_hooks or optimizer._global_optimizer_post_hooks:
        return False
    return not any(group[option] for group in of.param_groups for option in _MORE)
