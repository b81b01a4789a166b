"""Validations and points of a training that a short list makes shorter than its config's max_steps."""

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from charlm.callbacks.internals.trainer_attributes import steps_per_log
from charlm.callbacks.shared.progress import training_steps


class ShortTraining(Callback):
    """Where max_epochs ends a training before max_steps, validate as often as in max_steps, at the end of epochs.

    The loss is logged as often, too, but not more often than every 10 steps, unless the config asks for that. Where a
    training ends within its first epoch, EarlyStopping does not ask for the loss on val, which nothing has measured.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count epochs instead of steps between the validations."""
        most, interval, steps = trainer.max_steps, trainer.val_check_interval, training_steps(trainer)
        if trainer.check_val_every_n_epoch is None and steps < most:
            every = steps_per_log(trainer)  # set from outside of the Trainer's class, as in the next line
            trainer.log_every_n_steps = min(every, max(10, int(every * steps / most)))  # type: ignore[attr-defined]
            trainer.check_val_every_n_epoch = max(1, int(interval / most * (trainer.max_epochs or 0)))
            trainer.val_check_batch = trainer.num_training_batches
        if steps * trainer.accumulate_grad_batches < trainer.num_training_batches:
            for callback in trainer.early_stopping_callbacks:
                callback.strict &= not str(callback.monitor).endswith("/val")
