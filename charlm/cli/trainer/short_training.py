"""Validations of a training that a short list makes shorter than its config's max_steps."""

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from charlm.callbacks.shared.progress import training_steps


class ShortTraining(Callback):
    """Where max_epochs ends a training before max_steps, validate as often as in max_steps, at the end of epochs."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count epochs instead of steps between the validations."""
        most, interval = trainer.max_steps, trainer.val_check_interval
        if trainer.check_val_every_n_epoch is None and training_steps(trainer) < most:
            trainer.check_val_every_n_epoch = max(1, int(interval / most * (trainer.max_epochs or 0)))
            trainer.val_check_batch = trainer.num_training_batches
