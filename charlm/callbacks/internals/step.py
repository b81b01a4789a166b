"""One step of a LightningModule on one batch, without the loop around it."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from charlm.callbacks.internals.fast_step import FastStep, Outputs, is_plain
from charlm.callbacks.internals.lightning import (
    LightningModule,
    MixedPrecision,
    Precision,
    SingleDeviceStrategy,
    Trainer,
    is_overridden,
    is_param_in_hook_signature,
)

_TRANSFERS = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")


class OneStep:
    """What Lightning does with a batch between its hooks `on_train_batch_start` and `on_train_batch_end`.

    FastStep does the step where the result is the same, else Lightning's own optimization does it.

    Args:
        trainer: in training.
        pl_module: the module that is trained.
        enter: called with the name of each hook before the hook, and with "" where Lightning names its hooks itself.
    """

    def __init__(self, trainer: Trainer, pl_module: LightningModule, enter: Callable[[str], None]) -> None:
        self.trainer = trainer
        self.pl_module = pl_module
        self.enter = enter
        self.loop = trainer.fit_loop.epoch_loop
        self.takes_index = is_param_in_hook_signature(pl_module.training_step, "batch_idx", min_args=2)
        self.transfers = not _stays_as_it_is(trainer, pl_module)
        self.step: Callable[[Any, int], Outputs] = self._by_lightning
        if pl_module.automatic_optimization and is_plain(trainer, pl_module):
            self.step = FastStep(trainer, pl_module, enter)

    def prepare(self, batch: Any) -> Any:
        """The batch as the model gets it: on its device, in its precision."""
        if not self.transfers:
            return batch
        batch = self.trainer.precision_plugin.convert_input(batch)
        batch = self.pl_module._on_before_batch_transfer(batch, dataloader_idx=0)
        return self.trainer.strategy.batch_to_device(batch, dataloader_idx=0)

    def _by_lightning(self, batch: Any, index: int) -> Outputs:
        """Lightning's own step, with its precision, clipping, accumulation and communication between processes."""
        self.trainer.strategy.on_train_batch_start(batch, index)
        arguments = OrderedDict(batch=batch, **({"batch_idx": index} if self.takes_index else {}))
        self.enter("")
        if self.pl_module.automatic_optimization:
            return self.loop.automatic_optimization.run(self.trainer.optimizers[0], index, arguments)
        return self.loop.manual_optimization.run(arguments)


def _stays_as_it_is(trainer: Trainer, pl_module: LightningModule) -> bool:
    """Whether the model gets a batch as the loader gives it, on the CPU."""
    data = trainer.datamodule  # type: ignore[attr-defined]  # set from outside the class
    changed = [hook for hook in _TRANSFERS for owner in (pl_module, data) if is_overridden(hook, owner)]
    on_cpu = type(trainer.strategy) is SingleDeviceStrategy and trainer.strategy.root_device.type == "cpu"
    return on_cpu and type(trainer.precision_plugin) in (Precision, MixedPrecision) and not changed
