"""Measures a task of lr_finder.py once: its sweeps, and the validation loss after training at each rate."""

import itertools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from lr_tasks import T, Task
from torch import Tensor, nn
from torch.nn import functional as F

from charlm.data.splits import load_splits

Batch = tuple[Tensor, Tensor]
MIN_LR, MAX_LR, POINTS, SWEEPS = 1e-6, 10.0, 300, 5
STEPS, SEEDS = 1500, (0, 1)
MARGIN = 0.15  # nats above the best at which the grid ends
# half decades at which the search begins, as powers of the root of ten
START = {"sgd": -1, "momentum": -3, "adamw": -5}


@dataclass(frozen=True)
class Data:
    """Contexts and targets to train on and to validate with, int64 (N, T) and (N,)."""

    train: Batch
    val: Batch

    @classmethod
    def load(cls, path: str) -> "Data":
        """The names' splits as the package makes them."""
        splits = load_splits(path, block_size=T)
        return cls(*(part.gather(torch.arange(len(part))) for part in (splits.train, splits.val)))

    def batches(self, seed: int, size: int = 64) -> Iterator[Batch]:
        """Batches drawn with replacement, without end."""
        generator = torch.Generator().manual_seed(seed)
        context, target = self.train
        while True:
            index = torch.randint(len(target), (size,), generator=generator)
            yield context[index], target[index]


@dataclass(frozen=True)
class Measured:
    """A task's measurements.

    Args:
        untrained: the validation loss before training, mean of the seeds.
        lrs: rates trained with, rising: half decades, and quarters beside the best of them.
        losses: the validation loss after training at each, mean of the seeds; at most `untrained`.
        sweeps: raw losses of each sweep, up to the last that is finite.
    """

    untrained: float
    lrs: Sequence[float]
    losses: Sequence[float]
    sweeps: Sequence[Sequence[float]]

    def best(self) -> float:
        """The loss at the best of the half decades."""
        return min(loss for lr, loss in zip(self.lrs, self.losses, strict=True) if _is_half_decade(lr))

    def regret(self, lr: float) -> float:
        """Nats lost by training at `lr` and not at the best half decade; 0 for a rate that is better still.

        Between trained rates the loss is linear in log(lr), and so it is from the lowest of them down to that of the
        untrained net at `MIN_LR`; above the highest it is that of the untrained net.
        """
        lrs, losses = list(self.lrs), list(self.losses)
        if lrs[0] > MIN_LR:
            lrs, losses = [MIN_LR, *lrs], [self.untrained, *losses]
        loss = self.untrained if lr > lrs[-1] * 1.001 else float(np.interp(math.log(lr), np.log(lrs), losses))
        return max(0.0, loss - self.best())


def ladder() -> list[float]:
    """The rates of a sweep, even in log(lr)."""
    return [MIN_LR * (MAX_LR / MIN_LR) ** (i / (POINTS - 1)) for i in range(POINTS)]


def measure(task: Task, data: Data) -> Measured:
    """Sweep, then train at rates around the best."""
    sweeps = [sweep(task, data, seed) for seed in range(SWEEPS)]
    untrained = float(np.mean([validate(task.build(1.0, seed)[0], data) for seed in SEEDS]))
    grid = search(lambda half: train(task, data, 10 ** (half / 2), untrained), START[task.optimizer])
    lrs = sorted(grid)
    return Measured(untrained, [10 ** (half / 2) for half in lrs], [grid[half] for half in lrs], sweeps)


def search(loss: Callable[[float], float], start: int) -> dict[float, float]:
    """The losses of half decades, up and down from `start` until they are `MARGIN` above the best; then of quarters.

    Quarters are trained at within three quarters of a decade of the best, between neighbours that were.
    """
    top, bottom = round(2 * math.log10(MAX_LR)), round(2 * math.log10(MIN_LR))
    found: dict[float, float] = {start: loss(start)}
    for halves in (range(start + 1, top + 1), range(start - 1, bottom - 1, -1)):
        for half in halves:
            found[half] = loss(half)
            if found[half] > min(found.values()) + MARGIN:
                break
    best = min(found, key=found.__getitem__)
    for quarter in (best - 1.5, best - 0.5, best + 0.5, best + 1.5):
        if min(found) < quarter < max(found):
            found[quarter] = loss(quarter)
    return found


def train(task: Task, data: Data, lr: float, untrained: float) -> float:
    """The validation loss after `STEPS` steps, mean of the seeds; a run that diverged counts as untrained."""
    return float(np.mean([min(_train(task, data, lr, seed), untrained) for seed in SEEDS]))


def _train(task: Task, data: Data, lr: float, seed: int) -> float:
    net, optimizer = task.build(lr, seed)
    losses = steps(net, optimizer, data.batches(1000 + seed))
    finite = all(math.isfinite(loss) for loss in itertools.islice(losses, STEPS))
    loss = validate(net, data) if finite else math.inf
    return loss if math.isfinite(loss) else math.inf


def sweep(task: Task, data: Data, seed: int) -> list[float]:
    """The loss of each batch before its step, at rising rates, from the same net each time; it ends before infinity."""
    net, optimizer = task.build(MIN_LR, 0)
    losses, taken = [], steps(net, optimizer, data.batches(2000 + seed))
    for lr in ladder():
        optimizer.param_groups[0]["lr"] = lr
        loss = next(taken)
        if not math.isfinite(loss):
            break
        losses.append(loss)
    return losses


def steps(net: nn.Module, optimizer: torch.optim.Optimizer, batches: Iterator[Batch]) -> Iterator[float]:
    """Train, a step each time that its loss is asked for."""
    for context, target in batches:
        loss = F.cross_entropy(net(context), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.item()


def validate(net: nn.Module, data: Data) -> float:
    """The mean loss of the validation split."""
    net.eval()
    with torch.no_grad():
        loss = F.cross_entropy(net(data.val[0]), data.val[1]).item()
    net.train()
    return loss


def read(cache: Path) -> dict[str, Measured]:
    """What was measured before, by the task's name."""
    if not cache.exists():
        return {}
    kept = json.loads(cache.read_text(encoding="utf-8")).items()
    return {name: Measured(**{key: values[key] for key in values if key != "trials"}) for name, values in kept}


def keep(cache: Path, measured: dict[str, Measured]) -> None:
    """Write the cache."""
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_text(json.dumps({name: asdict(values) for name, values in measured.items()}), encoding="utf-8")


def _is_half_decade(lr: float) -> bool:
    return abs(math.log10(lr) * 2 - round(math.log10(lr) * 2)) < 1e-6
