"""Loaders whose iterators continue where the last one ended, so that a search would take batches from the training."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from charlm.callbacks.internals.lightning import Trainer
from charlm.callbacks.internals.loaders import give_back, second_loader, train_loaders
from charlm.callbacks.lr_finder.snapshot import data_snapshot

_COMPARED = 2  # batches; the first one may be the same, as the beginning of a text is


def refuse_streams(trainer: Trainer) -> None:
    """Refuse a loader whose next iterator does not begin with the same batches; it gets back what was read from it.

    Raises:
        ValueError: there is such a loader, in any of the processes, or one that can be read only once.
    """
    streams = []
    names = [type(loader).__name__ for loader in train_loaders(trainer)]
    for place, loader in enumerate(second_loader(trainer).flattened):
        if _begins_anew(loader):
            continue
        snapshot = data_snapshot(trainer)
        first = [*islice(loader, _COMPARED)]
        snapshot.restore()
        second = [*islice(loader, _COMPARED)]
        if alike(first, second):
            snapshot.restore()
        else:
            give_back(trainer, place, [*first, *second])
            streams.append(names[place])
    if not trainer.strategy.reduce_boolean_decision(not streams):
        raise ValueError(
            f"LRFinder cannot search with {' and '.join(streams) or 'a loader of another process'}, because its"
            " iterators do not begin with the same batches. Training begins with those that were read; the ones after"
            " them differ if they are drawn at random. Search in a run of its own, with charlm.callbacks.lr_find"
        )


def _begins_anew(loader: Any) -> bool:
    """Whether each iterator is known to begin with the same batches: worker processes begin as copies, too."""
    if isinstance(loader, DataLoader):
        return loader.num_workers > 0 or not isinstance(loader.dataset, IterableDataset)
    return isinstance(loader, Sequence)


def alike(one: Any, other: Any) -> bool:
    """Whether two batches have equal tensors, arrays, numbers and strings; other objects are taken to be equal."""
    if type(one) is not type(other):
        return False
    match one:
        case Tensor():
            return one.shape == other.shape and bool(torch.equal(one.nan_to_num(), other.nan_to_num()))
        case np.ndarray():
            return one.shape == other.shape and bool(((one == other) | (one != one)).all())
        case Mapping():
            return one.keys() == other.keys() and all(alike(part, other[key]) for key, part in one.items())
        case str() | bytes() | int() | float():
            return bool(one == other)
        case Sequence():
            return len(one) == len(other) and all(map(alike, one, other))
    if is_dataclass(one):
        return all(alike(getattr(one, part.name), getattr(other, part.name)) for part in fields(one))
    return True
