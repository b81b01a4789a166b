"""Trains all rates of a problem at once, and keeps their losses. R runs, P numbers of a net's weights."""

import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from lr_tasks import PROBLEMS, Problem
from torch import Tensor
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

STEPS = (500, 1500, 6000)
OPTIMIZERS = ("SGD", "momentum", "AdamW")
SCHEDULES = ("constant", "one cycle")
SEEDS = (0,)


@dataclass(frozen=True)
class Run:
    """A training; `lr` is the peak of its schedule. `steps` of a constant rate may be cut short without a loss."""

    optimizer: str
    lr: float
    schedule: str
    steps: int


class Runs:
    """Trainings of one net on the same batches, in step, as rows of one tensor.

    Args:
        problem: the net, data and loss.
        seed: of the first weights and of the batches.
        runs: sorted by optimizer, as `OPTIMIZERS` are.
    """

    def __init__(self, problem: Problem, seed: int, runs: Sequence[Run]) -> None:
        net = problem.net(seed)
        self.problem, self.runs, self.t = problem, list(runs), 0
        self.data, self.rows = problem.data(), problem.batches(seed, max(run.steps for run in runs))
        weights = dict(net.named_parameters())
        self.names, self.shapes = list(weights), [weight.shape for weight in weights.values()]
        start = torch.cat([weight.detach().flatten() for weight in weights.values()])
        self.weights = start.repeat(len(runs), 1).requires_grad_()
        self.first, self.second = torch.zeros_like(self.weights), torch.zeros_like(self.weights)
        rates = {key: factors(*key) for key in {(run.schedule, run.steps) for run in runs}}
        length = max(run.steps for run in runs)
        self.rates = torch.zeros(length, len(runs))
        for at, run in enumerate(runs):
            self.rates[: run.steps, at] = run.lr * torch.tensor(rates[run.schedule, run.steps])

        def loss(row: Sequence[Tensor], x: Tensor, y: Tensor) -> Tensor:
            own = {name: part.view(shape) for name, part, shape in zip(self.names, row, self.shapes, strict=True)}
            return problem.loss(functional_call(net, own, (x,)), y)

        self.loss = vmap(loss, in_dims=(0, None, None))

    def losses(self, weights: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """The loss of each run, (R,)."""
        with sdpa_kernel(SDPBackend.MATH):  # the others are not for vmap
            return self.loss(weights.split([shape.numel() for shape in self.shapes], 1), x, y)

    def step(self) -> Tensor:
        """Take one step; the loss of each run before it, (R,)."""
        x, y = (part[self.rows[self.t]] for part in self.data[:2])
        losses = self.losses(self.weights, x, y)
        (gradient,) = torch.autograd.grad(losses.sum(), self.weights)
        rates, kinds = self.rates[self.t][:, None], [run.optimizer for run in self.runs]
        self.t += 1
        with torch.no_grad():
            at = 0
            for kind in OPTIMIZERS:
                part = slice(at, at := at + kinds.count(kind))
                w, g, m, v, lr = (each[part] for each in (self.weights, gradient, self.first, self.second, rates))
                update(kind, w, g, m, v, lr, self.t)
        return losses.detach()

    @torch.no_grad()
    def validate(self) -> Tensor:
        """The validation loss of each run, (R,)."""
        return torch.cat([self.losses(part, *self.data[2:]) for part in self.weights.split(16)])

    def keep(self, which: Sequence[int]) -> None:
        """Go on with these runs alone."""
        self.runs = [self.runs[at] for at in which]
        self.first, self.second, self.rates = self.first[which], self.second[which], self.rates[:, which]
        self.weights = self.weights.detach()[which].requires_grad_()


def update(kind: str, w: Tensor, g: Tensor, m: Tensor, v: Tensor, lr: Tensor, t: int) -> None:
    """One step of torch.optim's SGD, SGD with momentum 0.9, or AdamW with its defaults, at a rate for each row."""
    if kind == "SGD":
        w.addcmul_(g, lr, value=-1)
    elif kind == "momentum":
        w.addcmul_(m.mul_(0.9).add_(g), lr, value=-1)
    else:
        w.mul_(1 - 0.01 * lr)
        m.lerp_(g, 0.1)
        v.mul_(0.999).addcmul_(g, g, value=0.001)
        w.addcmul_(m / (v.sqrt() / math.sqrt(1 - 0.999**t) + 1e-8), lr / (1 - 0.9**t), value=-1)


def factors(schedule: str, steps: int) -> list[float]:
    """The rate of each step, divided by the peak."""
    if schedule == "constant":
        return [1.0] * steps
    optimizer = torch.optim.SGD([torch.zeros(1)], 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the optimizer takes no step here
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=steps, cycle_momentum=False)
        found = []
        for step in range(steps):
            found.append(float(scheduler.get_last_lr()[0]))
            if step + 1 < steps:
                scheduler.step()
    return found


class Truth:
    """Validation losses by problem, optimizer, schedule, steps and rate, in a file with a JSON object a line.

    Args:
        file: read first; each new loss is appended.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.found: dict[tuple[str, int, Run], float] = {}
        for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
            row = json.loads(line)
            key = row["problem"], row["seed"], Run(row["optimizer"], row["lr"], row["schedule"], row["steps"])
            self.found[key] = row["loss"]

    def add(self, name: str, runs: Sequence[Run]) -> bool:
        """Train the runs that the file lacks, with each seed, and return whether there were any."""
        before = len(self.found)
        for seed in SEEDS:
            missing = [run for run in runs if (name, seed, run) not in self.found]
            with self.file.open("a", encoding="utf-8") as file:
                for run, loss in trained(PROBLEMS[name], seed, missing) if missing else ():
                    self.found[name, seed, run] = loss
                    file.write(json.dumps({"problem": name, "seed": seed, **vars(run), "loss": loss}) + "\n")
        return len(self.found) > before

    def loss(self, name: str, run: Run) -> float:
        """The loss of a run, mean of the seeds; infinite where one diverged."""
        losses = [self.found[name, seed, run] for seed in SEEDS]
        return fmean(losses) if all(map(math.isfinite, losses)) else math.inf

    def curve(self, name: str, optimizer: str, schedule: str, steps: int) -> Mapping[float, float]:
        """The loss at each rate, the rates rising."""
        runs = {run for problem, _, run in self.found if problem == name}
        of_target = [run for run in runs if (run.optimizer, run.schedule, run.steps) == (optimizer, schedule, steps)]
        return {run.lr: self.loss(name, run) for run in sorted(of_target, key=lambda run: run.lr)}

    def share(self, name: str, run: Run) -> float:
        """The share of the removable loss that a training leaves, linear in log(lr) between trained rates."""
        curve = self.curve(name, run.optimizer, run.schedule, run.steps)
        best, first = min(curve.values()), untrained(PROBLEMS[name])
        lrs, shares = list(curve), [min(1.0, (loss - best) / (first - best)) for loss in curve.values()]
        if run.lr <= 0 or run.lr > lrs[-1] * 1.01:
            return 1.0
        lrs, shares = [lrs[0] / 100, *lrs], [1.0, *shares]  # a hundredth of the lowest rate trains nothing
        return float(np.interp(math.log(run.lr), np.log(lrs), shares))


def trained(problem: Problem, seed: int, runs: Sequence[Run]) -> Iterator[tuple[Run, float]]:
    """Each run with its validation loss. A constant rate is trained once for all its lengths."""
    wanted = set(runs)
    longest = {
        run if run.schedule != "constant" else (run.optimizer, run.lr): run
        for run in sorted(wanted, key=lambda run: run.steps)
    }
    training = Runs(problem, seed, sorted(longest.values(), key=lambda run: OPTIMIZERS.index(run.optimizer)))
    for steps in sorted({run.steps for run in runs}):
        while training.t < steps:
            training.step()
        for run, loss in zip(training.runs, training.validate().tolist(), strict=True):
            done = Run(run.optimizer, run.lr, run.schedule, steps)
            if done in wanted and (run.steps == steps or run.schedule == "constant"):
                yield done, loss
        going = [at for at, run in enumerate(training.runs) if run.steps > steps]
        if going:
            training.keep(going)


@cache
def untrained(problem: Problem) -> float:
    """The validation loss before training, mean of the seeds."""
    x, y = problem.data()[2:]
    with torch.no_grad():
        return fmean(problem.loss(problem.net(seed)(x), y).item() for seed in SEEDS)


def rate(quarter: int) -> float:
    """The rate that many quarters of a decade above 1."""
    return float(10 ** (quarter / 4))


COARSE = {"SGD": range(-16, 13, 2), "momentum": range(-20, 9, 2), "AdamW": range(-24, 5, 2)}  # quarters of a decade
FINE = {"constant": (-6, *range(-4, 3), 4, 7), "one cycle": (-5, *range(-2, 5), 6, 9)}  # around the best of 500 steps


def measure(truth: Truth, name: str) -> None:
    """Train a problem at all rates that matter: quarters of a decade around the best of each target."""
    coarse = {o: [Run(o, rate(q), "constant", STEPS[0]) for q in COARSE[o]] for o in OPTIMIZERS}
    truth.add(name, [run for runs in coarse.values() for run in runs])
    targets = list(product(OPTIMIZERS, SCHEDULES, STEPS))
    middle = {o: quarter(min(coarse[o], key=lambda run: truth.loss(name, run)).lr) for o in OPTIMIZERS}
    missing = [Run(o, rate(middle[o] + q), schedule, steps) for o, schedule, steps in targets for q in FINE[schedule]]
    while truth.add(name, missing):  # until the best of each target has neighbours on both sides
        curves = {target: truth.curve(name, *target) for target in targets}
        at = {target: quarter(min(curve, key=curve.__getitem__)) for target, curve in curves.items()}
        missing = [Run(t[0], rate(at[t] + q), *t[1:]) for t in targets for q in (-1, 1)]


def quarter(lr: float) -> int:
    """The inverse of `rate`."""
    return round(4 * math.log10(lr))
