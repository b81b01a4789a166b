"""The callbacks and plugins of a Trainer on the command line."""

import logging
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.callbacks import Callback, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.plugins import CheckpointIO

from charlm.callbacks.atomic_io import AtomicCheckpointIO
from charlm.callbacks.dashboard.callback import Dashboard
from charlm.callbacks.embedding_pca.callback import EmbeddingPCA
from charlm.callbacks.exact_resume.callback import ExactResume
from charlm.callbacks.finite_loss import FiniteLoss
from charlm.callbacks.graceful_stop import GracefulStop
from charlm.callbacks.internals.step_hooks import overrides
from charlm.callbacks.lr_finder.callback import LRFinder
from charlm.callbacks.name_samples import NameSamples
from charlm.callbacks.progress_bar import StepProgressBar
from charlm.callbacks.step_decay.callback import StepDecay
from charlm.callbacks.steps_per_execution.callback import StepsPerExecution
from charlm.cli.trainer.short_training import ShortTraining

log = logging.getLogger(__name__)

_RELIABLE = (GracefulStop, ExactResume, FiniteLoss)
_OWN = (
    *(StepDecay, EmbeddingPCA, StepsPerExecution, LRFinder, NameSamples, Dashboard),
    *_RELIABLE,
)
"""Imported here so that the command line knows their short names."""
_SHOWING: dict[str, type[Callback]] = {"name_samples": NameSamples, "dashboard": Dashboard}
"""In every `fit`, each with an option of its own, since a config may replace the list `callbacks`."""


def add_showing(parser: LightningArgumentParser) -> None:
    """Add the options --name_samples and --dashboard; null leaves the callback out."""
    for option, kind in _SHOWING.items():
        given: Any = {"class_path": f"{kind.__module__}.{kind.__name__}"}
        parser.add_argument(
            f"--{option}", type=kind | None, default=given, help=f"every fit has {kind.__name__}; null leaves it out"
        )


def callbacks_of(command: str, options: Namespace) -> list[Callback]:
    """The user's callbacks, and the command's own unless the user gave one of the same class.

    Args:
        command: "fit", "lr-find" or another subcommand.
        options: its options, instantiated.
    """
    given = options.trainer.callbacks or []
    given = list(given) if isinstance(given, list) else [given]
    if command == "lr-find":
        return [
            GracefulStop(),
            *(c for c in given if isinstance(c, StepDecay) or not isinstance(c, (*_OWN, ProgressBar))),
        ]
    # a callback of the user replaces the same one of the shipped config; Lightning would refuse both
    once: dict[Any, Callback] = {}
    for callback in given:
        comes_once = isinstance(callback, _OWN) or overrides(callback, "state_dict")
        key = callback.state_key if comes_once else id(callback)
        if key in once and not type(callback).__module__.startswith(("charlm.", "lightning.")):
            log.warning(
                f"Only the last of several callbacks with the state_key {key!r} is used; to have all of them, let their"
                " class return a state_key that holds its arguments"
            )
        once[key] = callback
    callbacks = list(once.values())
    by_itself: list[Callback | None] = []
    if command == "fit":
        rates = StepDecay([])  # without milestones it logs the rates, and changes none
        by_itself = [*(kind() for kind in _RELIABLE), ShortTraining(), rates, *(options[option] for option in _SHOWING)]
    added = [own for own in by_itself if own is not None and not any(isinstance(c, type(own)) for c in callbacks)]
    callbacks += added
    if options.trainer.enable_progress_bar is not False and not any(isinstance(c, ProgressBar) for c in callbacks):
        callbacks.append(StepProgressBar(columns={"train": "loss_mean/train", "val": "loss/val"}))
    # first what a signal has to find ready, whatever another one does as training starts; last what shows the others
    return sorted(
        callbacks, key=lambda callback: isinstance(callback, ProgressBar) - isinstance(callback, GracefulStop)
    )


def plugins_of(options: Namespace) -> list[Any]:
    """The user's plugins, and AtomicCheckpointIO unless the user gave another CheckpointIO."""
    given = options.trainer.plugins or []
    given = list(given) if isinstance(given, list) else [given]
    return given if any(isinstance(plugin, CheckpointIO) for plugin in given) else [*given, AtomicCheckpointIO()]
