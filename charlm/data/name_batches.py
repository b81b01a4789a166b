"""Batches of whole names, in an order that a saved run can take up again. Dimension key: M names, B, L positions."""

from collections.abc import Iterator

import torch
from torch import Tensor

from charlm.data.batches import BatchLoader, Order, epoch_generator
from charlm.data.sequences import Sequences
from charlm.data.shuffle import Shuffle

_POOL = 64  # batches whose names are sorted by length together


class NameLoader(BatchLoader):
    """A `BatchLoader` of whole names: batches of input and target, both int64 (B, L), padding marked by target -1.

    In training the names of a batch are of similar length, so that little is padded: each 64 batches of the shuffled
    list are sorted by length, cut, and come in random order. So the last, smaller batch of an epoch may come earlier
    than the end. Whatever is said of `BatchLoader` holds: the order is a function of (seed, epoch), and of several
    processes each gets its share of every global batch.

    Args: as `BatchLoader`'s, with a `Sequences` for the examples; `batch_size` counts names.

    Raises:
        ValueError: as `BatchLoader`.

    Example:
        >>> from charlm.data.splits import load_splits
        >>> loader = NameLoader(Sequences.of_contexts(load_splits().train), 32, sampling="epoch", seed=0)
        >>> names, target = next(iter(loader))
        >>> names.shape == target.shape, len(names)
        (True, 32)
    """

    contexts: Sequences

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = Order(self) if self.sampling == "sequential" else _Pools(self)
        while self._batch < len(self):
            for index in order.batches(self._batch, self._batch + 1):
                self._batch += 1
                yield self.contexts.gather(index)


class _Pools:
    """The numbers of the names of every training batch of one epoch, for one rank."""

    def __init__(self, loader: NameLoader) -> None:
        self.loader = loader
        self.global_size = loader.batch_size * loader.world_size
        generator = epoch_generator(loader)
        self.key = int(torch.randint(2**62, (), generator=generator))
        self.shuffle = Shuffle(len(loader.contexts), generator) if loader.sampling == "epoch" else None

    def batches(self, first: int, last: int) -> list[Tensor]:
        """int64 (B,) each: the batches from `first` to the end of its pool, be it before `last` or after."""
        loader = self.loader
        pool, done = divmod(first, _POOL)
        generator = torch.Generator().manual_seed(self.key + pool)
        index = self._names(pool * _POOL, min((pool + 1) * _POOL, len(loader)), generator)
        batches = index[loader.contexts.lengths[index].argsort(stable=True)].split(self.global_size)
        order = torch.randperm(len(batches), generator=generator)[done:]
        return [batches[at][loader.rank :: loader.world_size] for at in order.tolist()]

    def _names(self, first: int, last: int, generator: torch.Generator) -> Tensor:
        """Those of the batches `first` to `last` - 1; the end is filled up, so that training ranks keep step."""
        if self.shuffle is None:
            size = (last - first) * self.global_size
            return torch.randint(len(self.loader.contexts), (size,), generator=generator)
        piece = self.shuffle.piece(first * self.global_size, last * self.global_size)
        return torch.cat([piece, self.shuffle.piece(0, -len(piece) % self.loader.world_size)])
