"""The loaders of a training, which Lightning combines into one."""

import copy
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from torch.utils.data import DataLoader

from charlm.callbacks.internals.lightning import CombinedLoader, Trainer


def train_loaders(trainer: Trainer, validation: bool = False) -> list[Any]:
    """The training's loaders, or those of its validation, as a flat list, empty before Lightning has made them."""
    loop = trainer.fit_loop.epoch_loop.val_loop if validation else trainer.fit_loop
    combined = loop._combined_loader
    return list(combined.flattened) if combined is not None else []


def has_kept_workers(trainer: Trainer) -> bool:
    """Whether persistent workers of a loader for the validation have started."""
    return any(getattr(loader, "_iterator", None) is not None for loader in train_loaders(trainer, validation=True))


def start_kept_workers(trainer: Trainer) -> None:
    """Start the persistent workers of the loaders for the validation, for which torch draws a random number.

    It does so once in a process: usually in Lightning's sanity check, which a resumed training does not have.
    """
    if not train_loaders(trainer, validation=True):  # no validation is due in this epoch
        trainer.validating = True
        trainer.fit_loop.epoch_loop.val_loop.setup_data()
        trainer.training = True
    for loader in train_loaders(trainer, validation=True):
        if getattr(loader, "persistent_workers", False):
            iter(loader)


def second_loader(trainer: Trainer, validation: bool = False) -> CombinedLoader:
    """A combined loader with iterators of its own, so that the training's stays where it is.

    Raises:
        ValueError: a loader can be read only once, or there is none for the validation.
    """
    combined = (trainer.fit_loop.epoch_loop.val_loop if validation else trainer.fit_loop)._combined_loader
    if combined is None:  # Lightning makes the training's before on_train_start
        raise ValueError("LRFinder has no validation loader as training starts; give one, or use on='train'")
    second: CombinedLoader = copy.copy(combined)
    second.flattened = [_second(loader) for loader in combined.flattened]
    return second


def give_back(trainer: Trainer, place: int, batches: list[Any]) -> None:
    """Let a loader that continues where it was stopped begin with batches that were read from it since.

    Args:
        trainer: in training, before its first batch or between two epochs.
        place: the loader's place in `train_loaders`.
        batches: in the order in which they were read.
    """
    combined = trainer.fit_loop._combined_loader
    assert combined is not None
    late = _Late(combined.flattened[place], batches)
    combined.flattened = [late if i == place else loader for i, loader in enumerate(combined.flattened)]
    if (begun := combined._iterator) is not None:
        begun.iterables = combined.flattened
        begun.iterators[place] = late.delayed(begun.iterators[place])


class _Late:
    """A loader that is some batches behind another one, with epochs of the same length."""

    def __init__(self, loader: Any, batches: Iterable[Any]) -> None:
        self.loader, self.waiting = loader, deque(batches)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        return self.delayed(iter(self.loader))

    def delayed(self, batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            self.waiting.append(batch)
            yield self.waiting.popleft()


def _second(loader: Any) -> Any:
    if isinstance(loader, Iterator):
        raise ValueError(
            f"LRFinder cannot read batches from a {type(loader).__name__}, which can be read only once;"
            " train on a DataLoader or a list"
        )
    second = copy.copy(loader)
    if isinstance(loader, DataLoader):
        second._iterator = None  # the one of persistent workers
    return second
