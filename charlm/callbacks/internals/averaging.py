"""What Lightning's StochasticWeightAveraging (SWA) and WeightAveraging do to a training."""

from copy import deepcopy

from torch.optim.swa_utils import SWALR

from charlm.callbacks.internals.lightning import LightningModule, StochasticWeightAveraging, Trainer, WeightAveraging
from charlm.callbacks.internals.trainer_attributes import callbacks_of


def averages_weights(trainer: Trainer) -> bool:
    """Whether a WeightAveraging, such as an EMA, takes the place of the weights when training ends."""
    return any(isinstance(callback, WeightAveraging) for callback in callbacks_of(trainer))


def epochs_with_steps(trainer: Trainer) -> int:
    """`max_epochs`, without the epoch that SWA adds for the statistics of batch norm."""
    most = trainer.max_epochs or 0
    return min([most, *(getattr(callback, "_max_epochs", most) for callback in _averaging(trainer))])


def swa_has_begun(trainer: Trainer) -> bool:
    """Whether SWA has begun, here or in the training that is resumed, which it takes up as the next epoch starts."""
    begun = any(isinstance(config.scheduler, SWALR) for config in trainer.lr_scheduler_configs)
    return begun or any(callback._scheduler_state is not None for callback in _averaging(trainer))


def steps_are_left_out(trainer: Trainer) -> bool:
    """Whether SWA's extra epoch has begun, in which Lightning computes no gradients."""
    return trainer.fit_loop.epoch_loop.automatic_optimization._skip_backward


def go_on_averaging(trainer: Trainer, pl_module: LightningModule) -> None:
    """Let SWA go on in a training that is resumed within an epoch: it acts only where an epoch starts."""
    for callback in _averaging(trainer):
        # which sets the first rate of its schedule and, in the last epoch, begins the statistics of batch norm
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        rates, state = [group["lr"] for group in groups], deepcopy(pl_module.state_dict())
        callback.on_train_epoch_start(trainer, pl_module)
        pl_module.load_state_dict(state)
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate


def _averaging(trainer: Trainer) -> list[StochasticWeightAveraging]:
    return [callback for callback in callbacks_of(trainer) if isinstance(callback, StochasticWeightAveraging)]
