"""Batches gathered from tensors, in an order that a saved run can resume. Dimension key: N examples, B batch, T."""

from collections.abc import Iterator
from typing import Any, Protocol, cast

import torch
import torch.distributed as dist
from torch import Tensor

from charlm.data.batch_order import BatchOrder, Sampling

_GATHERED = 1 << 14  # examples gathered at once, so that many small batches share the cost of one gather


class Examples(Protocol):
    """What a loader gathers batches from: windows (`Contexts`) or whole names (`Sequences`)."""

    def __len__(self) -> int: ...

    def gather(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The inputs and targets of the examples with these numbers, int64 (B,)."""
        ...

    def tensors(self) -> tuple[Tensor, Tensor]:
        """The inputs and targets of all examples in order."""
        ...

    @property
    def example_weights(self) -> Tensor | None:
        """float64 (N,), how often each example counts; None: once."""
        ...


class BatchLoader:
    """An iterable of (context, target) batches, for Lightning or for a plain loop; much faster than a DataLoader.

    The order depends on (seed, epoch) alone, so a run saved after any batch resumes with the very next one. Lightning
    calls `set_epoch`, `state_dict` and `load_state_dict` by itself; a plain loop calls `set_epoch(epoch)` before each
    pass, or gets the same order again. With several processes, every global batch of `batch_size * world_size` examples
    is cut into one piece per rank.

    Args:
        examples: what to gather from, usually a `Contexts`.
        batch_size: examples per batch and process; None: the whole split in one batch.
        sampling: "epoch" shuffles and shows every example once per epoch; "replacement" draws every batch anew, as the
            course's `torch.randint` loop does, and calls ceil(N / B) batches an epoch; "sequential" keeps the order.
            If the examples have weights, the first two draw in proportion to them, N examples an epoch; "sequential"
            gives the weights as a third part of each batch, float32 (B,).
        seed: of the order; None draws from torch's global generator.
        rank: number of this process; None: as torch.distributed says each time it is needed, 0 while it is not in use.
        world_size: number of processes; None: likewise, 1 while it is not in use. With 0 and 1 each process has all.
        device: where the batches go, many of them in one copy, so that a training step does not wait for its own.

    Raises:
        ValueError: an argument outside its range, no examples, or too few of them for all processes.

    Example:
        >>> from charlm.data.splits import load_splits
        >>> loader = BatchLoader(load_splits().train, 32, sampling="epoch", seed=0)
        >>> context, target = next(iter(loader))
        >>> tuple(context.shape), tuple(target.shape)
        ((32, 3), (32,))
    """

    batch_sampler = None  # Lightning asks for it wherever there is a `sampler`

    def __init__(
        self,
        examples: Examples,
        batch_size: int | None,
        *,
        sampling: Sampling = "sequential",
        seed: int | None = 0,
        rank: int | None = None,
        world_size: int | None = None,
        device: torch.device | None = None,
    ) -> None:
        if sampling not in ("sequential", "epoch", "replacement"):
            raise ValueError(f"sampling is {sampling!r}; give 'sequential', 'epoch' or 'replacement'")
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; give at least 1, or null for the whole split in one batch")
        if len(examples) == 0:
            raise ValueError("this split has no examples; give it a share in `split`, or choose a smaller `block_size`")
        self.examples = examples
        self.batch_size = min(batch_size or len(examples), len(examples))
        self.sampling: Sampling = sampling
        self.seed = seed
        self._given_rank = rank
        self._given_world_size = world_size
        self.device = device or torch.device("cpu")
        self.epoch = 0
        self.repeats = False  # whether all epochs have the order of the first one, as overfit_batches promises
        self._batches_done = 0  # in the current pass
        self._began: Tensor | None = None  # torch's global generator, which the current order was drawn from
        self._resumes = False  # whether the next pass goes on after `_batches_done`
        self._counted_in = 1  # the number of processes that `_batches_done` counts for
        self._whole_split: tuple[Tensor, ...] | None = None
        # a dataset of ResumableLoader has none
        self._weights = weights = cast("Tensor | None", getattr(examples, "example_weights", None))
        self._cumulative = None if weights is None or sampling == "sequential" else weights.cumsum(0)
        self._order()  # refuses a number of processes that is known to be wrong

    @property
    def rank(self) -> int:
        """Number of this process; Lightning starts torch.distributed after the loader is made."""
        return (dist.get_rank() if _is_spread() else 0) if self._given_rank is None else self._given_rank

    @property
    def world_size(self) -> int:
        """Number of processes."""
        given = self._given_world_size
        return (dist.get_world_size() if _is_spread() else 1) if given is None else given

    @property
    def sampler(self) -> "BatchLoader":
        """Where Lightning looks for `set_epoch`."""
        return self

    def __len__(self) -> int:
        """Batches per epoch; the last one is smaller where N is no multiple of the global batch."""
        return len(self._order())

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass."""
        if epoch != self.epoch:
            self._batches_done, self._resumes = 0, False
        self.epoch = epoch

    def state_dict(self) -> dict[str, Any]:
        """The position in the epoch, as plain numbers, and everything that the order depends on."""
        state = {"epoch": self.epoch, "batch": self._batches_done, **self._identity()}
        if self._began is not None:
            state["began"] = self._began
        if self._batches_done:
            state["world_size"] = self._counted_in  # torch.distributed may be over by now
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next pass continue at the position in `state`.

        Raises:
            ValueError: the state belongs to other examples, another batch size, sampling, seed or number of processes.
        """
        self._refuse_others(state)
        self.epoch, self._batches_done, self._began = state["epoch"], state["batch"], state.get("began")
        self._resumes, self._counted_in = True, self.world_size

    def _refuse_others(self, state: dict[str, Any]) -> None:
        now = self._identity()
        differing = [f"{key} {state.get(key)!r}, now {now[key]!r}" for key in now if state.get(key) != now[key]]
        if differing:
            raise ValueError(
                f"the checkpoint was made with other batches ({'; '.join(differing)});"
                " resume with the data settings and as many processes as that run had, or start a new run"
            )

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        # This is a generator, so it starts at the first next(): Lightning has set the epoch by then.
        if not self._resumes:
            self._batches_done = 0
        else:
            self._refuse_others(self.state_dict())  # torch.distributed may have begun since the state was loaded
        self._resumes, self._counted_in = False, self.world_size
        if self.seed is None and self.sampling == "epoch" and not self._batches_done:
            self._began = torch.get_rng_state()
        yield from self._one_batch() if self._keeps_whole_split() else self._batches()

    def _identity(self) -> dict[str, Any]:
        return {
            "examples": len(self.examples),
            "batch_size": self.batch_size,
            "sampling": self.sampling,
            "seed": self.seed,
            "world_size": self.world_size,
        }

    def _order(self) -> BatchOrder:
        total, rank, world_size = len(self.examples), self.rank, self.world_size
        if not 0 <= rank < world_size:
            raise ValueError(f"rank is {rank}; with {world_size} processes it is at least 0 and below {world_size}")
        if world_size > 1 and total < 2 * world_size:
            raise ValueError(f"{total} examples are too few for {world_size} processes; use fewer devices")
        sizes, process = (total, self.batch_size), (rank, world_size)
        began = self._began if self._batches_done and not self.repeats else None
        seed, epoch = (self.seed or 0, 0) if self.repeats else (self.seed, self.epoch)
        return BatchOrder(*sizes, self.sampling, seed, epoch, *process, self._cumulative, began)

    def _keeps_whole_split(self) -> bool:
        """Whether every epoch is one and the same batch, whose order does not matter."""
        draws = self.sampling == "replacement" or self._cumulative is not None
        return self.batch_size == len(self.examples) and not draws and self.world_size == 1

    def _one_batch(self) -> Iterator[tuple[Tensor, ...]]:
        if self._whole_split is None:
            whole = self._with_weights(self.examples.tensors(), slice(None))
            self._whole_split = tuple(part.to(self.device) for part in whole)
        if self._batches_done == 0:
            self._batches_done = 1
            yield self._whole_split

    def _with_weights(self, batch: tuple[Tensor, ...], index: Tensor | slice) -> tuple[Tensor, ...]:
        """The examples with these numbers; if they are not drawn by their weights, the weights are a third part."""
        if self._weights is None or self._cumulative is not None:
            return batch
        return (*batch, self._weights[index].float())

    def _batches(self) -> Iterator[tuple[Tensor, ...]]:
        order = self._order()
        # without a seed one at a time: torch's global generator serves the training step in between, too
        at_once = max(1, _GATHERED // self.batch_size) if self.seed is not None else 1
        while self._batches_done < len(order):
            index = order.batches(self._batches_done, min(self._batches_done + at_once, len(order)))
            gathered = self._with_weights(self.examples.gather(index.flatten()), index.flatten())
            parts = (part.to(self.device).view(*index.shape, *part.shape[1:]).unbind() for part in gathered)
            for batch in zip(*parts, strict=True):
                self._batches_done += 1
                yield batch


def _is_spread() -> bool:
    return dist.is_available() and dist.is_initialized()
