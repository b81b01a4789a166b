"""Which examples form each batch of an epoch. Dimension key: N examples, B batch."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, cast

import torch
from torch import Tensor

from charlm.data.shuffle import Shuffle

Sampling = Literal["sequential", "epoch", "replacement"]


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """The generator for one epoch of a training: another one for each pair of seed and epoch."""
    return torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)


@dataclass
class BatchOrder:
    """The example numbers of every batch of one epoch, for one process.

    Args:
        total: N, the number of examples.
        batch_size: examples per batch and process. A global batch has `batch_size * world_size` examples.
        sampling: as for `BatchLoader`.
        seed: of the order; None draws from torch's global generator.
        epoch: number of the epoch; each one has its own order.
        rank: number of this process.
        world_size: number of processes.
        cumulative: float64 (N,), the sum of the weights up to each example, which is drawn in proportion to its own;
            None: every example is as likely as any other.
        began: without a seed, in a resumed epoch: the state of torch's global generator in which its order was drawn.
    """

    total: int
    batch_size: int
    sampling: Sampling
    seed: int | None
    epoch: int
    rank: int
    world_size: int
    cumulative: Tensor | None = None
    began: Tensor | None = None

    def __post_init__(self) -> None:
        self.global_size = self.batch_size * self.world_size
        self._drawn = 0  # batches drawn with replacement so far

    def __len__(self) -> int:
        """Batches in the epoch; the last one is smaller where N is no multiple of the global batch."""
        batches = -(-self.total // self.global_size)
        if self.sampling == "sequential":
            return min(batches, self.total // self.world_size)  # so that no rank gets an empty piece
        return batches

    def batches(self, first: int, last: int) -> Tensor:
        """The example numbers of the batches from `first` up to, but without, `last`; int64 (n, B).

        The rows have one size, so a smaller last batch comes alone: n may be less than `last - first`, and is at least
        1. With replacement, ask for the batches in rising order.
        """
        if self.sampling == "sequential" and self.world_size > 1:
            return self._even_piece(first)
        if self.sampling == "replacement":
            numbers = self._draw(first, last)
        else:
            last = max(first + 1, min(last, self.total // self.global_size))
            numbers = self._places(first * self.global_size, last * self.global_size)
            if self.sampling == "epoch" and self.cumulative is not None:
                numbers = self._weighted((numbers + self._offset) / self.total)
        return numbers.view(last - first, self.world_size, -1)[:, self.rank]

    @cached_property
    def _generator(self) -> torch.Generator | None:
        if self.began is not None:
            return torch.Generator().set_state(self.began)
        return None if self.seed is None else epoch_generator(self.seed, self.epoch)

    @cached_property
    def _shuffle(self) -> Shuffle:
        return Shuffle(self.total, self._generator)

    @cached_property
    def _offset(self) -> Tensor:
        """float64 (), in [0, 1); drawn after the shuffle, whatever is asked for first."""
        _ = self._shuffle
        return torch.rand((), dtype=torch.float64, generator=self._generator)

    def _weighted(self, shares: Tensor) -> Tensor:
        """The examples at shares of the weights' sum, float64 (B,), in [0, 1).

        In an epoch these are N shares at equal distances, so that each example comes as often as its weight says,
        rounded up or down; with equal weights that is once (systematic sampling).
        """
        sums = cast("Tensor", self.cumulative)
        return torch.searchsorted(sums, shares * sums[-1], right=True).clamp_(max=self.total - 1)

    def _even_piece(self, batch: int) -> Tensor:
        """This rank's part of a batch in which every rank has as many examples as the others, but for one."""
        first, last = (self.total * k // len(self) for k in (batch, batch + 1))
        return torch.arange(first, last).tensor_split(self.world_size)[self.rank][None]

    def _places(self, first: int, last: int) -> Tensor:
        """The examples at these places of the order; the last batch is filled up so that all ranks have as many."""
        if self.sampling == "sequential":
            return torch.arange(first, min(last, self.total))
        numbers = self._shuffle.piece(first, last)
        return torch.cat([numbers, self._shuffle.piece(0, -len(numbers) % self.world_size)])

    def _draw(self, first: int, last: int) -> Tensor:
        if self.seed is not None and self._drawn < first:  # a resumed epoch: skip what was drawn before
            self._random((first - self._drawn) * self.global_size)
        self._drawn = last
        return self._random((last - first) * self.global_size)

    def _random(self, size: int) -> Tensor:
        if self.cumulative is None:
            return torch.randint(self.total, (size,), generator=self._generator)
        return self._weighted(torch.rand(size, dtype=torch.float64, generator=self._generator))
