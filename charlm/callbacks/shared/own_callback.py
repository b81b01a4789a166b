"""The base classes of charlm's callbacks, which belong to one of Lightning's two packages and refuse the other."""

from charlm.callbacks.internals.lightning import PACKAGE, Callback, Checkpoint, LightningModule, ProgressBar, Trainer


class OwnCallback(Callback):
    """A callback that ends `fit` with an explanation if the Trainer is one of the other package."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check the Trainer.

        Raises:
            TypeError: the Trainer is one of the other package.
        """
        if Trainer not in type(trainer).__mro__:
            other = "lightning.pytorch" if PACKAGE == "pytorch_lightning" else "pytorch_lightning"
            raise TypeError(
                f"{type(self).__name__} is a callback for {PACKAGE}, and this Trainer comes from {other}; put"
                f" `import {other}` before the first import of charlm.callbacks, and any import of {PACKAGE} after it"
            )
        super().setup(trainer, pl_module, stage)


class OwnCheckpoint(OwnCallback, Checkpoint):
    """The same for a callback that saves checkpoints."""


class OwnProgressBar(OwnCallback, ProgressBar):
    """The same for a progress bar."""
