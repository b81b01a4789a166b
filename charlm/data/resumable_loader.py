"""Batches of any dataset, in an order that a saved training can take up again in the middle of an epoch."""

from collections.abc import Callable, Iterator, Sized
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, Dataset

from charlm.data.batches import BatchLoader, Order


class ResumableLoader(BatchLoader):
    """A DataLoader that Lightning can resume exactly, for any map-style dataset.

    The order is a function of (seed, epoch) alone and Lightning's checkpoints hold the place in it, so that a training
    which was stopped goes on with the very next batch; no example is loaded for those that were seen. Each process gets
    its piece of every global batch: nothing is to be sharded by a sampler. Together with the callback ExactResume a
    resumed training is the one that was never stopped; only random numbers that a worker process draws differ in the
    epoch that was cut.

    Args:
        dataset: has a length and gives an example by its number.
        batch_size: examples a batch and process; null: all of them in one.
        sampling: "epoch" shuffles every epoch, "replacement" draws every batch anew, "sequential" keeps the order.
        seed: of the order.
        rank: number of this process; null: as torch.distributed has it when the loader is made.
        world_size: number of processes; null likewise.
        options: further ones of `torch.utils.data.DataLoader`, such as `num_workers`, `collate_fn` and `pin_memory`.

    Raises:
        ValueError: as BatchLoader, or an option that this class has in other words.

    Example:
        >>> loader = ResumableLoader(range(10), 4, seed=1)
        >>> [len(batch) for batch in loader]
        [4, 4, 2]
    """

    def __init__(
        self,
        dataset: Dataset[Any] | Sized,
        batch_size: int | None,
        *,
        sampling: Literal["sequential", "epoch", "replacement"] = "epoch",
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        **options: Any,
    ) -> None:
        own = {"shuffle", "sampler", "batch_sampler", "drop_last", "generator"} & options.keys()
        if own:
            raise ValueError(f"ResumableLoader orders the examples by itself; leave {', '.join(sorted(own))} out")
        spread = dist.is_available() and dist.is_initialized()
        rank = rank if rank is not None else dist.get_rank() if spread else 0
        world_size = world_size if world_size is not None else dist.get_world_size() if spread else 1
        super().__init__(dataset, batch_size, sampling=sampling, seed=seed, rank=rank, world_size=world_size)  # type: ignore[arg-type]  # only its length is asked for there
        self.options = options

    def _is_fixed(self) -> bool:
        return False

    def _batches(self) -> Iterator[Any]:
        order, first = Order(self), self._batch
        rest = _Numbers(lambda: (order.batches(k, k + 1)[0].tolist() for k in range(first, len(self))))
        # a generator of its own for the workers' seeds, so that the global one is not drawn from
        generator = torch.Generator().manual_seed((int(self.seed or 0) * 1_000_003 + self.epoch) % 2**63)
        for batch in DataLoader(self.contexts, batch_sampler=rest, generator=generator, **self.options):  # type: ignore[arg-type]  # a dataset, see __init__
            self._batch += 1
            yield batch


class _Numbers:
    """What a DataLoader takes for its batch sampler: an iterable of lists of numbers."""

    def __init__(self, make: Callable[[], Iterator[list[int]]]) -> None:
        self.make = make

    def __iter__(self) -> Iterator[list[int]]:
        return self.make()
