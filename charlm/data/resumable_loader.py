"""Batches of any dataset, in an order that a saved training can resume in the middle of an epoch."""

from collections.abc import Iterator, Sized
from typing import Any

from torch.utils.data import DataLoader, Dataset

from charlm.data.batch_order import BatchOrder, Sampling, epoch_generator
from charlm.data.batches import BatchLoader


class ResumableLoader(BatchLoader):
    """A DataLoader that Lightning can resume exactly, for any map-style dataset.

    The order depends on (seed, epoch) alone and Lightning's checkpoints hold the position in it, so a training that was
    stopped continues with the very next batch, without loading the examples before it. Each process gets its piece of
    every global batch; no distributed sampler is needed. Together with the callback ExactResume, a resumed training
    equals one that was never stopped, except for random numbers drawn by worker processes in the interrupted epoch.

    Args:
        dataset: any map-style dataset, with a length and an example for each number below it.
        batch_size: examples per batch and process; null: all of them in one.
        sampling: "epoch" shuffles every epoch, "replacement" draws every batch anew, "sequential" keeps the order, as
            the Trainer's `overfit_batches` needs it.
        seed: of the order.
        rank: number of this process; null: as torch.distributed says each time it is needed, 0 while it is not in use.
        world_size: number of processes; null: likewise, 1 while it is not in use.
        options: further options of `torch.utils.data.DataLoader`, such as `num_workers`, `collate_fn` and `pin_memory`.

    Raises:
        ValueError: as for BatchLoader, or an option that sets the order in another way, such as `shuffle`.

    Example:
        >>> from charlm.callbacks import ResumableLoader
        >>> loader = ResumableLoader(range(10), 4, seed=1)
        >>> [len(batch) for batch in loader]
        [4, 4, 2]
    """

    def __init__(
        self,
        dataset: Dataset[Any] | Sized,
        batch_size: int | None,
        *,
        sampling: Sampling = "epoch",
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        **options: Any,
    ) -> None:
        own = {"shuffle", "sampler", "batch_sampler", "drop_last", "generator"} & options.keys()
        if own:
            raise ValueError(
                f"ResumableLoader sets the order by `sampling` and `seed`, and has smaller last batches; leave"
                f" {', '.join(sorted(own))} out"
            )
        examples: Any = dataset  # of which the base class asks the length alone
        super().__init__(examples, batch_size, sampling=sampling, seed=seed, rank=rank, world_size=world_size)
        self.options = options

    def _keeps_whole_split(self) -> bool:
        return False

    def _batches(self) -> Iterator[Any]:
        rest = _RemainingBatches(self._order(), self._batches_done)
        # for the workers' seeds, so that the global generator is left alone
        generator = epoch_generator(int(self.seed or 0), self.epoch)
        dataset: Any = self.examples
        for batch in DataLoader(dataset, batch_sampler=rest, generator=generator, **self.options):
            self._batches_done += 1
            yield batch


class _RemainingBatches:
    """A DataLoader's batch sampler: the example numbers of each batch from `first` on."""

    def __init__(self, order: BatchOrder, first: int) -> None:
        self.order, self.first = order, first

    def __iter__(self) -> Iterator[list[int]]:
        for batch in range(self.first, len(self.order)):
            yield self.order.batches(batch, batch + 1)[0].tolist()
