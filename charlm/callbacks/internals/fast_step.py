"""One optimizer step without the trainer around it, where the trainer would do nothing but call it."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loops.optimization.automatic import ClosureResult
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from lightning.pytorch.utilities.signature_utils import is_param_in_hook_signature
from torch import Tensor
from torch.optim import SGD, Optimizer, optimizer

Outputs = dict[str, Any]
Hook = Callable[..., Any]
GradientFunction = Callable[[Any, int], tuple[Tensor, list[Tensor]] | None]
_BEFORE_STEP = ("on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step")
_STEP_HOOKS = ("on_train_batch_start", "on_train_batch_end", *_BEFORE_STEP)


def is_plain(trainer: Trainer, pl_module: LightningModule) -> bool:
    """Whether a step is training_step, backward and the step of an optimizer of torch, in float32.

    So it is on one device, and in processes on the CPU, whose gradients torch averages within backward.
    """
    own = ("optimizer_step", "optimizer_zero_grad", "backward")
    profiler = trainer.profiler  # type: ignore[attr-defined]  # set from outside the class
    kind = type(trainer.optimizers[0]) if trainer.optimizers else None
    return (
        (type(trainer.strategy) is SingleDeviceStrategy or in_processes(trainer))
        and type(trainer.precision_plugin) is Precision
        and type(profiler) is PassThroughProfiler
        and trainer.accumulate_grad_batches == 1
        and not any(overrides(pl_module, hook) for hook in own)
        # others may take a closure, LBFGS does; those of torch.optim ignore it but for its loss
        and kind is not None
        and kind.__module__.startswith("torch.optim.")
        and kind is not torch.optim.LBFGS
    )


def in_processes(trainer: Trainer) -> bool:
    """Whether several processes train together on the CPU."""
    return type(trainer.strategy) is DDPStrategy and trainer.strategy.root_device.type == "cpu"


class LeanStep:
    """training_step, backward and the optimizer's step, with the hooks in between, in Lightning's order.

    It gives the same weights as Lightning's own, bit for bit. A module that has a method `gradient_function` is asked,
    once an execution, for a quicker way to the gradients: a function of (batch, batch_idx) which logs what
    training_step logs and returns its loss and the gradients of `self.parameters()`. None from the method, or at a step
    from the function, asks for training_step; so does a weight whose memory was replaced since.

    Args:
        trainer: one for which `is_plain`.
        pl_module: the module it trains.
        enter: called with the name of each hook before it.
    """

    def __init__(self, trainer: Trainer, pl_module: LightningModule, enter: Callable[[str], None]) -> None:
        self.trainer = trainer
        self.pl_module = pl_module
        self.enter = enter
        self.optimizer = trainer.optimizers[0]
        self.progress = trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress.optimizer
        self.takes_index = is_param_in_hook_signature(pl_module.training_step, "batch_idx", min_args=2)
        self.hooks = {name: overridden(name, trainer, pl_module) for name in _BEFORE_STEP}
        self.clips = trainer.gradient_clip_val is not None or overrides(pl_module, "configure_gradient_clipping")
        alone = not in_processes(trainer)
        # in processes the module is called by torch's wrapper around it
        self.training_step: Hook = pl_module.training_step if alone else trainer.strategy.training_step
        by_hand = alone and not self.hooks["on_before_backward"]
        self.gradients = _gradient_function(pl_module, self.optimizer) if by_hand else None
        self.weights = list(pl_module.parameters()) if self.gradients is not None else []
        self.memory = [weight.detach() for weight in self.weights]
        self._look_at_optimizer()

    def __call__(self, batch: Any, batch_idx: int) -> Outputs:
        """Do one step; what training_step returned, as on_train_batch_end gets it."""
        if _shape(self.optimizer) != self.shape:  # a group or a hook was added
            self._look_at_optimizer()
        self.progress.step.increment_ready()
        self.enter("training_step")
        derived = self.gradients(batch, batch_idx) if self.gradients is not None and self._in_place() else None
        outputs = self._differentiated(batch, batch_idx) if derived is None else self._derived(*derived)
        self._call("on_before_optimizer_step", self.optimizer)
        if self.clips:
            trainer = self.trainer
            self.pl_module.configure_gradient_clipping(
                self.optimizer, trainer.gradient_clip_val, trainer.gradient_clip_algorithm
            )
        if not self.short:
            self.optimizer.step()
        elif derived is not None and not self.watched:
            # in their own memory, which nobody has moved since: sooner than within no_grad
            torch._foreach_add_(self.memory, derived[1], alpha=-float(self.optimizer.param_groups[0]["lr"]))
        else:
            learnt = [[p for p in group["params"] if p.grad is not None] for group in self.optimizer.param_groups]
            self._subtract(learnt, [[p.grad for p in parameters] for parameters in learnt])
        self.progress.step.increment_completed()
        return outputs

    def _look_at_optimizer(self) -> None:
        self.shape = _shape(self.optimizer)
        self.short = is_plain_sgd(self.optimizer)
        several = len(self.optimizer.param_groups) > 1
        self.watched = not self.short or self.clips or several or _watched(self.trainer, self.pl_module)
        learnt = [id(p) for group in self.optimizer.param_groups for p in group["params"]]
        if [id(weight) for weight in self.weights] != learnt:
            self.gradients = None

    def _in_place(self) -> bool:
        """Whether all weights are where they were when the way to the gradients was asked for."""
        return all(w.data_ptr() == m.data_ptr() for w, m in zip(self.weights, self.memory, strict=True))

    def _derived(self, loss: Tensor, gradients: list[Tensor]) -> Outputs:
        self._call("on_before_zero_grad", self.optimizer)
        self.progress.zero_grad.increment_by(1)
        if self.watched:  # else nobody would look at them
            for parameter, gradient in zip(self.weights, gradients, strict=True):
                parameter.grad = gradient
        self._call("on_after_backward")
        return {"loss": loss}

    def _differentiated(self, batch: Any, batch_idx: int) -> Outputs:
        output = self.training_step(*((batch, batch_idx) if self.takes_index else (batch,)))
        if not isinstance(output, Tensor):
            ClosureResult.from_training_step_output(output)  # refuses what has no loss
        extra = output if isinstance(output, Mapping) else {"loss": output}
        loss = extra["loss"]
        self._call("on_before_zero_grad", self.optimizer)
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None
        self.progress.zero_grad.increment_by(1)
        if loss is None:  # the step is skipped
            return {}
        self._call("on_before_backward", loss)
        loss.backward()
        self._call("on_after_backward")
        return {**extra, "loss": loss.detach()}

    def _subtract(self, parameters: list[list[Tensor]], gradients: list[list[Any]]) -> None:
        with torch.no_grad():
            for group, weights, slopes in zip(self.optimizer.param_groups, parameters, gradients, strict=True):
                if weights:
                    torch._foreach_add_(weights, slopes, alpha=-float(group["lr"]))

    def _call(self, name: str, *arguments: Any) -> None:
        for hook in self.hooks[name]:
            self.enter(name)
            hook(*arguments)


def overrides(owner: Callback | LightningModule, name: str) -> bool:
    """Whether a callback or a module does something in the hook `name`, by its class or by itself."""
    base = Callback if isinstance(owner, Callback) else LightningModule
    hook = getattr(owner, name)
    return getattr(hook, "__func__", hook) is not getattr(base, name)


def overridden(name: str, trainer: Trainer, pl_module: LightningModule) -> list[Hook]:
    """The hooks of that name that do something, ready to be called: those of the callbacks, then the module's."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set from outside the class
    hooks: list[Hook] = [
        partial(getattr(callback, name), trainer, pl_module) for callback in callbacks if acts(callback, name)
    ]
    return hooks + ([getattr(pl_module, name)] if overrides(pl_module, name) else [])


def acts(callback: Callback, name: str) -> bool:
    """Whether it does something in that hook at every step.

    ModelCheckpoint and progress bars act at the end of an execution: those of Lightning, and those that say
    `per_execution = True`.
    """
    if not overrides(callback, name):
        return False
    if not name.startswith("on_train_batch"):
        return True
    at_the_end = getattr(getattr(callback, name), "__module__", "").startswith(
        ("lightning.pytorch.callbacks.model_checkpoint", "lightning.pytorch.callbacks.progress")
    )
    return not (at_the_end or getattr(callback, "per_execution", False))


def _gradient_function(pl_module: LightningModule, optimizer: Optimizer) -> GradientFunction | None:
    """The module's own, unless a subclass, or the module itself, has another training_step."""
    kinds = [vars(pl_module), *map(vars, type(pl_module).__mro__)]
    first = next((i for i, names in enumerate(kinds) if "gradient_function" in names), len(kinds))
    if first > next(i for i, names in enumerate(kinds) if "training_step" in names):
        return None
    ask: Any = pl_module.gradient_function
    return ask()


def _shape(of: Optimizer) -> tuple[object, ...]:
    """What tells whether an optimizer has got parameters or hooks since it was last looked at."""
    before, after, all_before, all_after = _hooks(of)
    return [len(g["params"]) for g in of.param_groups], len(before), len(after), len(all_before), len(all_after)


def _hooks(of: Optimizer) -> tuple[Mapping[int, Any], ...]:
    own = (of._optimizer_step_pre_hooks, of._optimizer_step_post_hooks)
    return (*own, optimizer._global_optimizer_pre_hooks, optimizer._global_optimizer_post_hooks)


def is_plain_sgd(of: Optimizer) -> bool:
    """Whether a step subtracts each rate times its gradients, and nothing else: sooner done than by its method."""
    extras = ("momentum", "weight_decay", "maximize", "differentiable", "fused")
    plain = not any(group[extra] for group in of.param_groups for extra in extras) if type(of) is SGD else False
    return plain and not any(_hooks(of)) and "step" not in vars(of)


def _watched(trainer: Trainer, pl_module: LightningModule) -> bool:
    """Whether somebody acts at every step who may look at `.grad`; some callbacks say `reads_gradients = False`."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set from outside the class
    acting = [callback for callback in callbacks if getattr(callback, "reads_gradients", True)]
    by_callback = any(acts(callback, hook) for callback in acting for hook in _STEP_HOOKS)
    return by_callback or any(overrides(pl_module, hook) for hook in _STEP_HOOKS)
