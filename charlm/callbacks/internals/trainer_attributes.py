"""What Lightning sets on a Trainer from outside of its class, where type checkers do not see it."""

from typing import Any

from charlm.callbacks.internals.lightning import Trainer


def callbacks_of(trainer: Trainer) -> list[Any]:
    """The callbacks, in the order in which they are called."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]  # here and below, see above
    return callbacks


def datamodule_of(trainer: Trainer) -> Any:
    """The datamodule, or None."""
    return trainer.datamodule  # type: ignore[attr-defined]


def is_trial(trainer: Trainer) -> bool:
    """Whether it is a `fast_dev_run`, which writes no files."""
    return bool(trainer.fast_dev_run)  # type: ignore[attr-defined]


def steps_per_log(trainer: Trainer) -> int:
    """`log_every_n_steps`; 0 for never."""
    return int(trainer.log_every_n_steps)  # type: ignore[attr-defined]


def epochs_per_reload(trainer: Trainer) -> int:
    """`reload_dataloaders_every_n_epochs`; 0 for never."""
    return int(trainer.reload_dataloaders_every_n_epochs)  # type: ignore[attr-defined]
