"""The base classes of charlm's callbacks, which belong to one of Lightning's two packages and refuse the other."""

from typing import Any

from charlm.callbacks.internals.lightning import (
    PACKAGE,
    PACKAGES,
    Callback,
    Checkpoint,
    LightningModule,
    ProgressBar,
    Trainer,
)


class OwnCallback(Callback):
    """A callback that ends `fit` with an explanation if the Trainer is one of the other package."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check the Trainer.

        Raises:
            TypeError: the Trainer is one of the other package.
        """
        if Trainer not in type(trainer).__mro__:
            other = next(name for name in PACKAGES if name != PACKAGE)
            raise TypeError(
                f"{type(self).__name__} is a callback for {PACKAGE}, and this Trainer comes from {other}; put"
                f" `import {other}` before all imports of charlm.callbacks and of {PACKAGE}"
            )
        super().setup(trainer, pl_module, stage)


class OwnCheckpoint(OwnCallback, Checkpoint):
    """The same for a callback that saves checkpoints."""


class OwnProgressBar(OwnCallback, ProgressBar):
    """The same for a progress bar; copies of it, as in a checkpoint, lack the Trainer and what is on the screen."""

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_trainer": None, "_bar": None}
