"""Batches of a training's loaders which the training itself does not lose."""

import copy
from collections.abc import Generator, Iterator
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.utilities.combined_loader import CombinedLoader
from torch.utils.data import DataLoader


def endless_batches(trainer: Trainer) -> Generator[Any]:
    """Batches of the training's loaders, from iterators of their own, again and again.

    Args:
        trainer: in training; its limits and the mode of its loaders count.

    Raises:
        ValueError: a loader that can be read only once, or that has no batch.
    """
    combined = trainer.fit_loop._combined_loader
    assert combined is not None  # it is there before on_train_start
    second: CombinedLoader = copy.copy(combined)
    second.flattened = [_second(loader) for loader in combined.flattened]
    try:
        while True:
            empty = True
            for batch, _, _ in second:
                if batch is not None:  # which Lightning skips
                    empty = False
                    yield batch
            if empty:
                raise ValueError("LRFinder got no batch from the training's loader; give it some, or leave it out")
    finally:
        second.reset()


def _second(loader: Any) -> Any:
    """A loader that can be iterated beside the first, which goes on where it is."""
    if isinstance(loader, Iterator):
        raise ValueError(
            f"LRFinder cannot read batches from a {type(loader).__name__}, which can be read only once;"
            " train on a DataLoader or a list"
        )
    second = copy.copy(loader)
    if isinstance(loader, DataLoader):
        vars(second).update(_iterator=None, persistent_workers=False)  # else both would share one iterator
    return second
