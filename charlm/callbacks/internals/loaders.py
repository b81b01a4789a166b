"""The loaders of a training, which Lightning combines into one."""

import copy
from collections.abc import Iterator
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.utilities.combined_loader import CombinedLoader
from torch.utils.data import DataLoader


def train_loaders(trainer: Trainer) -> list[Any]:
    """The loaders as a flat list, empty before Lightning has made them."""
    combined = trainer.fit_loop._combined_loader
    return list(combined.flattened) if combined is not None else []


def second_loader(trainer: Trainer) -> CombinedLoader:
    """A combined loader with iterators of its own, so that the training's stays where it is.

    Raises:
        ValueError: a loader can be read only once.
    """
    combined = trainer.fit_loop._combined_loader
    assert combined is not None  # Lightning makes it before on_train_start
    second: CombinedLoader = copy.copy(combined)
    second.flattened = [_second(loader) for loader in combined.flattened]
    return second


def _second(loader: Any) -> Any:
    if isinstance(loader, Iterator):
        raise ValueError(
            f"LRFinder cannot read batches from a {type(loader).__name__}, which can be read only once;"
            " train on a DataLoader or a list"
        )
    second = copy.copy(loader)
    if isinstance(loader, DataLoader):
        vars(second).update({"_iterator": None, "persistent_workers": False})  # persistent workers share one iterator
    return second
