"""The base classes of charlm's callbacks: they refuse a Trainer of Lightning's other package, and mend its counters."""

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
from charlm.callbacks.internals.loop_state import count_resumed_epoch


class BaseCallback(Callback):
    """A callback that explains the mistake if it is given to a Trainer of Lightning's other package."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check the Trainer.

        Raises:
            TypeError: the Trainer is of the other package.
        """
        if not issubclass(type(trainer), Trainer):
            other = next(name for name in PACKAGES if name != PACKAGE)
            raise TypeError(
                f"{type(self).__name__} is a callback for {PACKAGE}, and this Trainer comes from {other}; put"
                f" `import {other}` before all imports of charlm.callbacks and of {PACKAGE}"
            )
        super().setup(trainer, pl_module, stage)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        count_resumed_epoch(trainer)


class BaseCheckpoint(BaseCallback, Checkpoint):
    """`BaseCallback` for a callback that saves checkpoints."""


class BaseProgressBar(BaseCallback, ProgressBar):
    """`BaseCallback` for a progress bar.

    A pickled copy, as in saved hyperparameters, has neither the Trainer nor the bar on the screen.
    """

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_trainer": None, "_bar": None}
