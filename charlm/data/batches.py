"""Batches gathered from tensors, in an order that a saved run can take up again. Dimension key: N examples, B, T."""

from collections.abc import Iterator
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from charlm.data.shuffle import Shuffle

_GATHERED = 1 << 14  # examples gathered at a time: the cost of a gather is shared by all small batches in it


class Examples(Protocol):
    """What a loader gathers batches from."""

    def __len__(self) -> int: ...

    def gather(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The examples of these numbers, int64 (B,): what goes in and what is to come out."""
        ...

    def tensors(self) -> tuple[Tensor, Tensor]:
        """All of them in order."""
        ...


class BatchLoader:
    """An iterable of (context, target) batches, for Lightning or for a plain loop; much faster than a DataLoader.

    The order is a function of (seed, epoch) alone, so a run saved after any batch goes on with the very next one.
    Lightning calls `set_epoch` (through `sampler`), `state_dict` and `load_state_dict` by itself; a plain loop calls
    `set_epoch(epoch)` before each pass, or gets the same order again. With several processes every global batch of
    `batch_size * world_size` examples is cut into one piece a rank.

    Args:
        contexts: the examples, as a rule a `Contexts`.
        batch_size: examples a batch and process; None: all examples of the split in one batch.
        sampling: "epoch" shuffles and shows every example once an epoch; "replacement" draws every batch anew, as the
            course's `torch.randint` loop does, and calls ceil(N / B) batches an epoch; "sequential" keeps the order.
        seed: of the order; None draws from torch's global generator, which a resumed run cannot take up exactly.
        rank: number of this process.
        world_size: number of processes.

    Raises:
        ValueError: an argument outside its range, no examples, or too few of them for all processes.

    Example:
        >>> from charlm.data.splits import load_splits
        >>> loader = BatchLoader(load_splits().train, 32, sampling="epoch", seed=0)
        >>> context, target = next(iter(loader))
        >>> tuple(context.shape), tuple(target.shape)
        ((32, 3), (32,))
    """

    def __init__(
        self,
        contexts: Examples,
        batch_size: int | None,
        *,
        sampling: Literal["sequential", "epoch", "replacement"] = "sequential",
        seed: int | None = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if sampling not in ("sequential", "epoch", "replacement"):
            raise ValueError(f"sampling is {sampling!r}; give 'sequential', 'epoch' or 'replacement'")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank is {rank}; with {world_size} processes it is at least 0 and below {world_size}")
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; give at least 1, or null for the whole split in one batch")
        if len(contexts) == 0:
            raise ValueError(
                "this split has no examples; give it a share in data.split, or choose a smaller block_size"
            )
        if world_size > 1 and len(contexts) < 2 * world_size:
            raise ValueError(f"{len(contexts)} examples are too few for {world_size} processes; use fewer devices")
        self.contexts = contexts
        self.batch_size = min(batch_size or len(contexts), len(contexts))
        self.sampling = sampling
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        if sampling != "sequential":
            self.sampler, self.batch_sampler = self, None  # where Lightning looks for set_epoch
        self._batch = 0
        self._resume: tuple[int, int] | None = None  # (epoch, batches already seen in it)
        self._whole: tuple[Tensor, Tensor] | None = None

    def __len__(self) -> int:
        """Batches an epoch, the last one smaller where N is no multiple."""
        batches = -(-len(self.contexts) // (self.batch_size * self.world_size))
        if self.sampling == "sequential":
            return min(batches, len(self.contexts) // self.world_size)  # no rank gets an empty piece
        return batches

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass."""
        if epoch != self.epoch:
            self._batch = 0  # a checkpoint may be saved before the new epoch's first batch
        self.epoch = epoch

    def state_dict(self) -> dict[str, Any]:
        """Where the pass stands, as plain numbers, and what the order depends on."""
        return {"epoch": self.epoch, "batch": self._batch, **self._identity()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken.

        Raises:
            ValueError: the state is of another list, batch size, sampling or seed, so that the order would differ.
        """
        now = self._identity()
        differing = [f"{key} {state.get(key)!r}, now {now[key]!r}" for key in now if state.get(key) != now[key]]
        if differing:
            raise ValueError(
                f"the checkpoint was made with other batches ({'; '.join(differing)});"
                " resume with the data settings of that run, or start a new run"
            )
        self.epoch, self._batch = state["epoch"], state["batch"]
        self._resume = (self.epoch, self._batch)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        # A generator: this runs at the first next(), when Lightning has set the epoch.
        epoch, batch = self._resume or (self.epoch, 0)
        self._batch = batch if epoch == self.epoch else 0
        self._resume = None
        yield from (
            self._whole_split() if self.batch_size == len(self.contexts) and self._is_fixed() else self._batches()
        )

    def _identity(self) -> dict[str, Any]:
        return {
            "examples": len(self.contexts),
            "batch_size": self.batch_size,
            "sampling": self.sampling,
            "seed": self.seed,
            "world_size": self.world_size,
        }

    def _is_fixed(self) -> bool:
        return self.sampling != "replacement" and self.world_size == 1

    def _whole_split(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Full-batch training: the one batch is gathered once and its order does not matter."""
        if self._whole is None:
            self._whole = self.contexts.tensors()
        if self._batch == 0:
            self._batch = 1
            yield self._whole

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        per_gather = max(1, _GATHERED // self.batch_size) if self.seed is not None else 1
        order = Order(self)
        while self._batch < len(self):
            index = order.batches(self._batch, min(self._batch + per_gather, len(self)))
            context, target = self.contexts.gather(index.flatten())
            for batch in zip(context.view(*index.shape, -1).unbind(), target.view(index.shape).unbind(), strict=True):
                self._batch += 1
                yield batch


class Order:
    """The example numbers of every batch of one epoch, for one rank; asked for in rising order."""

    def __init__(self, loader: BatchLoader) -> None:
        self.loader = loader
        self.total = len(loader.contexts)
        self.global_size = loader.batch_size * loader.world_size
        self.drawn = 0
        self.generator: torch.Generator | None = None
        if loader.seed is not None:
            self.generator = torch.Generator().manual_seed((loader.seed * 1_000_003 + loader.epoch) % 2**63)
        self.shuffle = Shuffle(self.total, self.generator) if loader.sampling == "epoch" else None

    def batches(self, first: int, last: int) -> Tensor:
        """int64 (n, B): of the batches from `first` on, before `last`, as many as are of one size; at least one."""
        if self.loader.sampling == "sequential" and self.loader.world_size > 1:
            return self._even_piece(first)
        if self.loader.sampling == "replacement":
            index = self._draw(first, last)
        else:
            last = max(first + 1, min(last, self.total // self.global_size))
            index = self._piece(first * self.global_size, last * self.global_size)
        return index.view(last - first, self.loader.world_size, -1)[:, self.loader.rank]

    def _even_piece(self, number: int) -> Tensor:
        """Every example once, in even pieces, so that no rank is idle in a sequential pass."""
        first, last = (self.total * k // len(self.loader) for k in (number, number + 1))
        return torch.arange(first, last).tensor_split(self.loader.world_size)[self.loader.rank][None]

    def _piece(self, first: int, last: int) -> Tensor:
        """The examples at these places; the last batch, filled up from the first so that training ranks keep step."""
        if self.shuffle is None:
            return torch.arange(first, min(last, self.total))
        piece = self.shuffle.piece(first, last)
        return torch.cat([piece, self.shuffle.piece(0, -len(piece) % self.loader.world_size)])

    def _draw(self, first: int, last: int) -> Tensor:
        if self.generator is not None and self.drawn < first:  # a resumed epoch: pass over what was drawn before
            torch.randint(self.total, ((first - self.drawn) * self.global_size,), generator=self.generator)
        self.drawn = last
        return torch.randint(self.total, ((last - first) * self.global_size,), generator=self.generator)
