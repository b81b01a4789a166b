"""One optimizer step without the trainer around it, where the trainer would do nothing but call it."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.utilities.model_helpers import is_overridden
from lightning.pytorch.utilities.signature_utils import is_param_in_hook_signature
from torch import Tensor
from torch.optim import SGD, Optimizer

Outputs = dict[str, Any]
Hook = Callable[..., Any]
AT_THE_END = (ModelCheckpoint, ProgressBar)
"""Callbacks that act at the end of an execution only; one that saves every so many steps ends it there."""
_BEFORE_STEP = ("on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step")
_STEP_HOOKS = ("on_train_batch_start", "on_train_batch_end", *_BEFORE_STEP)
GradientFunction = Callable[[Any, int], tuple[Tensor, list[Tensor]]]


def is_plain(trainer: Trainer, pl_module: LightningModule) -> bool:
    """Whether a step is training_step, backward and the optimizer's own step, in float32 and on one device."""
    hooks = ("optimizer_step", "optimizer_zero_grad", "backward")
    profiler = trainer.profiler  # type: ignore[attr-defined]  # set from outside the class
    return (
        type(trainer.strategy) is SingleDeviceStrategy
        and type(trainer.precision_plugin) is Precision
        and type(profiler) is PassThroughProfiler
        and trainer.accumulate_grad_batches == 1
        and not any(is_overridden(hook, pl_module) for hook in hooks)
        and not isinstance(trainer.optimizers[0], torch.optim.LBFGS)  # it evaluates the loss several times a step
    )


class LeanStep:
    """training_step, backward and the optimizer's step, with the hooks in between, in Lightning's order.

    It gives the same weights as Lightning's own, bit for bit. A module that has a method `gradient_function` is asked
    for a quicker way to the gradients: a function of (batch, batch_idx) which logs what training_step logs and returns
    its loss and the gradients of `self.parameters()`, or None where only training_step will do.

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
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.progress = trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress.optimizer
        self.takes_index = is_param_in_hook_signature(pl_module.training_step, "batch_idx", min_args=2)
        self.hooks = {name: overridden(name, trainer, pl_module) for name in _BEFORE_STEP}
        self.clips = trainer.gradient_clip_val is not None or is_overridden("configure_gradient_clipping", pl_module)
        self.gradients = None if self.hooks["on_before_backward"] else _gradient_function(pl_module, self.parameters)
        self.at_once = is_plain_sgd(self.optimizer) and not self.clips and not _watched(trainer, pl_module)
        self.update = _plain_sgd(self.optimizer) if is_plain_sgd(self.optimizer) else self.optimizer.step

    def __call__(self, batch: Any, batch_idx: int) -> Outputs:
        """Do one step; what training_step returned, as on_train_batch_end gets it."""
        self.progress.step.increment_ready()
        self.enter("training_step")
        if self.gradients is not None and self.at_once:
            return self._at_once(batch, batch_idx)
        outputs = (self._derived if self.gradients is not None else self._differentiated)(batch, batch_idx)
        self._call("on_before_optimizer_step", self.optimizer)
        if self.clips:
            trainer = self.trainer
            self.pl_module.configure_gradient_clipping(
                self.optimizer, trainer.gradient_clip_val, trainer.gradient_clip_algorithm
            )
        self.update()
        self.progress.step.increment_completed()
        return outputs

    def _at_once(self, batch: Any, batch_idx: int) -> Outputs:
        """Without `.grad`, which nobody would look at."""
        loss, gradients = self.gradients(batch, batch_idx)  # type: ignore[misc]  # not None here
        self._call("on_before_zero_grad", self.optimizer)
        self.progress.zero_grad.increment_by(1)
        self._call("on_before_optimizer_step", self.optimizer)
        with torch.no_grad():
            torch._foreach_add_(self.parameters, gradients, alpha=-float(self.optimizer.param_groups[0]["lr"]))
        self.progress.step.increment_completed()
        return {"loss": loss}

    def _derived(self, batch: Any, batch_idx: int) -> Outputs:
        loss, gradients = self.gradients(batch, batch_idx)  # type: ignore[misc]  # not None here
        self._call("on_before_zero_grad", self.optimizer)
        self.progress.zero_grad.increment_by(1)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self._call("on_after_backward")
        return {"loss": loss}

    def _differentiated(self, batch: Any, batch_idx: int) -> Outputs:
        output = self.pl_module.training_step(*((batch, batch_idx) if self.takes_index else (batch,)))
        extra = output if isinstance(output, Mapping) else {"loss": output}
        loss = extra["loss"]
        self._zero_grad()
        if loss is None:  # the step is skipped
            return {}
        self._call("on_before_backward", loss)
        loss.backward()
        self._call("on_after_backward")
        return {**extra, "loss": loss.detach()}

    def _zero_grad(self) -> None:
        self._call("on_before_zero_grad", self.optimizer)
        for parameter in self.parameters:
            parameter.grad = None
        self.progress.zero_grad.increment_by(1)

    def _call(self, name: str, *arguments: Any) -> None:
        for hook in self.hooks[name]:
            self.enter(name)
            hook(*arguments)


def overridden(name: str, trainer: Trainer, pl_module: LightningModule) -> list[Hook]:
    """The hooks of that name that do something, ready to be called: those of the callbacks, then the module's.

    Args:
        name: of the hook.
        trainer: whose callbacks are asked.
        pl_module: the module that is trained.
    """
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set from outside the class
    hooks: list[Hook] = [
        partial(getattr(callback, name), trainer, pl_module)
        for callback in callbacks
        if is_overridden(name, callback) and not isinstance(callback, AT_THE_END)
    ]
    return hooks + ([getattr(pl_module, name)] if is_overridden(name, pl_module) else [])


def _gradient_function(pl_module: LightningModule, parameters: list[Tensor]) -> GradientFunction | None:
    """The module's own, unless a subclass has another training_step or the optimizer has other parameters."""
    kinds = type(pl_module).__mro__
    definer = {name: next((i for i, kind in enumerate(kinds) if name in vars(kind)), len(kinds)) for name in _WAYS}
    own = [id(parameter) for parameter in pl_module.parameters()]
    if definer["gradient_function"] > definer["training_step"] or own != [id(p) for p in parameters]:
        return None
    ask: Any = pl_module.gradient_function
    return ask()


_WAYS = ("gradient_function", "training_step")


def is_plain_sgd(optimizer: Optimizer) -> bool:
    """Whether a step subtracts each rate times its gradients, and nothing else comes of it."""
    groups = optimizer.param_groups
    hooked = optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks or "step" in vars(optimizer)
    extras = ("momentum", "weight_decay", "maximize", "differentiable", "fused")
    sparse = any(p.grad is not None and p.grad.is_sparse for group in groups for p in group["params"])
    return (
        type(optimizer) is SGD and not hooked and not sparse and not any(g[extra] for g in groups for extra in extras)
    )


def _plain_sgd(optimizer: Optimizer) -> Callable[[], None]:
    """The step of plain SGD as the one operation that it is: the method around it takes longer."""

    def update() -> None:
        with torch.no_grad():
            for group in optimizer.param_groups:
                parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
                if parameters:
                    gradients = [parameter.grad for parameter in parameters]
                    torch._foreach_add_(parameters, gradients, alpha=-float(group["lr"]))

    return update


def _watched(trainer: Trainer, pl_module: LightningModule) -> bool:
    """Whether somebody acts at every step who may look at `.grad`; callbacks that do not say `reads_gradients = False`.

    Several groups count as watched too: their rates differ.
    """
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set from outside the class
    acting = [c for c in callbacks if getattr(c, "reads_gradients", True) and not isinstance(c, AT_THE_END)]
    by_step = any(is_overridden(hook, owner) for owner in (*acting, pl_module) for hook in _STEP_HOOKS)
    return by_step or len(trainer.optimizers[0].param_groups) > 1
