"""A training after a sweep with apply=False is compared with the training without LRFinder: nothing may differ."""

import random
from collections import deque

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.demos.boring_classes import BoringModel, ManualOptimBoringModel
from lightning.pytorch.loggers import CSVLogger
from torch.optim.lr_scheduler import ChainedScheduler, ExponentialLR, OneCycleLR, StepLR
from torch.utils.data import ChainDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset
from torchmetrics import MeanMetric

from charlm.callbacks import LRFinder, StepDecay, StepsPerExecution

pytestmark = pytest.mark.filterwarnings(
    "ignore:Trying to infer the `batch_size`", "ignore:LRFinder:UserWarning", "ignore:.* is multi-threaded, use of fork"
)
POINTS = 25
HOOKS = (
    *("on_fit_start", "on_train_start", "on_train_epoch_start", "on_train_batch_start", "on_before_zero_grad"),
    *("on_before_backward", "on_after_backward", "on_before_optimizer_step", "on_train_batch_end"),
    *("on_validation_start", "on_validation_end", "on_train_epoch_end", "on_train_end", "on_save_checkpoint"),
)


def numbers(count=20):
    return TensorDataset(torch.randn(count, 32, generator=torch.Generator().manual_seed(3)))


def first_tensor(batch):
    if isinstance(batch, torch.Tensor):
        return batch
    parts = batch.values() if isinstance(batch, dict) else batch
    return sum(first_tensor(part) for part in parts if part is not None)


class Model(BoringModel):
    """Dropout, ten shuffled batches an epoch, and a logged loss."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Sequential(torch.nn.Linear(32, 4), torch.nn.Dropout(0.3), torch.nn.Linear(4, 2))

    def training_step(self, batch, batch_idx):
        loss = self.step(first_tensor(batch))
        self.log("loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val", self.step(batch[0]))

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=0.003)

    def train_dataloader(self):
        return DataLoader(numbers(), batch_size=2, shuffle=True)

    def val_dataloader(self):
        return DataLoader(numbers(4), batch_size=2)


class WithLoader(Model):
    def __init__(self, loader):
        super().__init__()
        self.train_dataloader = loader


class InnerPosition(IterableDataset):
    """Stores its position, and continues there in the next epoch."""

    def __init__(self, length=7):
        self.position, self.length, self.random = 0, length, random.Random(1)

    def __iter__(self):
        for _ in range(self.length):
            self.position += 1
            yield torch.full((32,), self.position + self.random.random())


class Counting(Dataset):
    """Changes its attributes, inside a Subset, with generators of its own."""

    def __init__(self):
        self.calls, self.seen = 0, deque(maxlen=3)
        self.random, self.old = np.random.default_rng(2), np.random.RandomState(2)

    def __len__(self):
        return 30

    def __getitem__(self, index):
        self.calls += 1
        self.seen.append(index)
        return torch.full((32,), index + self.calls + self.random.random() + self.old.rand(), dtype=torch.float32)


class Noisy(torch.nn.Module):
    """Uses every source of random numbers, and plain attributes of many kinds."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(32, 2)
        self.norm = torch.nn.BatchNorm1d(2, track_running_stats=True)
        self.register_buffer("ema", torch.zeros(2), persistent=False)
        self.register_buffer("late", None)
        self.generator, self.memory = torch.Generator().manual_seed(4), {"calls": [0], "last": None}
        self.metric = MeanMetric()

    def forward(self, x):
        self.memory["calls"][0] += 1
        self.late = torch.ones(2) if self.late is None else self.late + 0.1
        self.fresh = getattr(self, "fresh", 0) + 1
        y = self.norm(self.linear(x))
        self.ema = 0.9 * self.ema + 0.1 * y.detach().mean(0)
        self.metric.update(y.detach().mean())
        noise = torch.rand(2) + torch.rand(2, generator=self.generator) + random.random() + np.random.rand()
        return y * noise + self.ema + self.late + 0.01 * self.fresh + self.memory["calls"][0] + self.metric.compute()


class Stateful(Model):
    def __init__(self):
        super().__init__()
        self.layer = Noisy()
        self.hidden, self.calls = None, 0

    def on_train_start(self):
        self.hidden = (torch.zeros(2), torch.zeros(2))

    def on_train_epoch_start(self):
        self.in_epoch = 0

    def training_step(self, batch, batch_idx):
        self.in_epoch += 1
        self.hidden[0].add_(1)
        loss = super().training_step(batch, batch_idx) * (1 + self.hidden[0].mean() + self.in_epoch)
        self.logger.log_metrics({"direct": loss.item()}, self.global_step)
        self.log_dict({"in_epoch": self.in_epoch, "hidden": self.hidden[0].mean()}, on_step=True, on_epoch=True)
        return loss

    def on_train_batch_end(self, outputs, batch, batch_idx):
        self.calls += 1
        self.log("calls", float(self.calls))


class Silent(Model):
    """Logs nothing, because torch 2.13 cannot compile Lightning's `log`."""

    def training_step(self, batch, batch_idx):
        return self.step(batch[0])


class Stopping(Model):
    """Asks for the end of the training at a step that only the sweep reaches."""

    def training_step(self, batch, batch_idx):
        self.trainer.should_stop = self.trainer.global_step == POINTS - 1
        return super().training_step(batch, batch_idx)


class Manual(ManualOptimBoringModel):
    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.log("loss", loss)
        return loss


class Lbfgs(Model):
    def configure_optimizers(self):
        return torch.optim.LBFGS(self.parameters(), lr=0.1, max_iter=3)


def scheduled(make, interval="step"):
    def configured(model):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": make(optimizer), "interval": interval}}

    return lambda: type("Scheduled", (Model,), {"configure_optimizers": configured})()


def loader(of=numbers, **options):
    return lambda: WithLoader(lambda: DataLoader(of(), **{"batch_size": 2} | options))


def own_generator():
    return WithLoader(lambda: DataLoader(numbers(), 2, shuffle=True, generator=torch.Generator().manual_seed(8)))


def half_of_counting():
    return Subset(Counting(), range(0, 30, 2))


BY_VALUE = {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"}
PERSISTENT = {"shuffle": True, "num_workers": 2, "persistent_workers": True}
SETUPS = {  # (model, options of the Trainer, arguments of LRFinder)
    "plain": (Model, {}, {}),
    "state of every kind, two sweeps": (Stateful, {"accumulate_grad_batches": 3}, {"repeats": 2}),
    "accumulation beyond an epoch": (Model, {"accumulate_grad_batches": 40}, {}),
    "bf16-mixed, clipping by norm": (Model, {"precision": "bf16-mixed", "gradient_clip_val": 0.1}, {}),
    "double, clipping by value": (Model, {"precision": "64-true"} | BY_VALUE, {}),
    "LBFGS": (Lbfgs, {}, {}),
    "manual optimization": (Manual, {}, {}),
    "iterables that go on": (loader(lambda: ChainDataset([InnerPosition(), InnerPosition()])), {"max_epochs": 4}, {}),
    "dataset that counts": (loader(half_of_counting, shuffle=True), {}, {}),
    "list of batches": (lambda: WithLoader(lambda: [torch.ones(2, 32) * i for i in range(5)]), {}, {}),
    "own generator": (own_generator, {}, {}),
    "on validation batches": (Model, {}, {"on": "val", "monitor": "val"}),
    "two workers": (loader(shuffle=True, num_workers=2), {}, {}),
    "limited batches, few steps": (Model, {"limit_train_batches": 3, "max_epochs": -1, "max_steps": 7}, {}),
    "asks to stop": (Stopping, {}, {}),
    "fast_dev_run": (Model, {"fast_dev_run": 2}, {}),
    "one cycle": (scheduled(lambda of: OneCycleLR(of, 0.1, 40)), {}, {}),
    "chained": (scheduled(lambda of: ChainedScheduler([ExponentialLR(of, 0.9), StepLR(of, 4)]), "epoch"), {}, {}),
    "compiled": (lambda: torch.compile(Silent(), backend="eager"), {}, {}),
    "persistent workers": (loader(half_of_counting, **PERSISTENT), {}, {}),
}


class Witness(pl.Callback):
    """Records at every hook the batch and everything that tells one training from another."""

    def __init__(self):
        self.seen = []

    def note(self, hook, trainer, module, *rest):
        batch = [] if hook == "on_save_checkpoint" else [spell(each) for each in rest]
        weights = [p.detach().double().sum().item() for p in module.parameters()]
        gradients = [None if p.grad is None else p.grad.double().sum().item() for p in module.parameters()]
        rates = [group["lr"] for of in trainer.optimizers for group in of.param_groups]
        at = (trainer.global_step, trainer.current_epoch, trainer.fit_loop.total_batch_idx, trainer.fit_loop.batch_idx)
        self.seen.append((hook, at, weights, gradients, rates, batch))


for name in HOOKS:
    setattr(Witness, name, lambda self, trainer, module, *rest, hook=name: self.note(hook, trainer, module, *rest))


def spell(value):
    """A value as plain numbers and texts, which can be compared."""
    if isinstance(value, torch.Tensor):
        return value.detach().double().flatten().tolist()
    if isinstance(value, dict):
        return {str(key): spell(item) for key, item in value.items()}
    if isinstance(value, list | tuple | deque):
        return [spell(item) for item in value]
    return value if isinstance(value, int | float | str | None) else type(value).__name__


def end_of(folder, model, options, *callbacks):
    """Everything that a training leaves behind."""
    pl.seed_everything(5)
    made, witness = model(), Witness()
    options = {"max_epochs": 2, "log_every_n_steps": 1, "limit_val_batches": 1, "accelerator": "cpu"} | options
    fits = pl.Trainer(
        default_root_dir=folder, logger=CSVLogger(folder, name="", version="run"), enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[witness, *callbacks, LearningRateMonitor(), ModelCheckpoint(save_last=True)],
        **options,
    )  # fmt: skip
    fits.fit(made)
    metrics = folder / "run" / "metrics.csv"
    state = fits._checkpoint_connector.dump_checkpoint(False)
    return {
        "seen": witness.seen,
        "logged": metrics.read_text() if metrics.exists() else None,
        "files": sorted(
            path.relative_to(folder).as_posix() for path in folder.rglob("*") if "lr_finder" not in path.name
        ),
        "checkpoint": {key: spell(value) for key, value in state.items() if key != "callbacks"},
        "random": (torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state())),
        "attributes": [spell({k: v for k, v in vars(of).items() if k[0] != "_"}) for of in made.modules()],
        "metrics": spell(dict(fits.callback_metrics)),
    }


def assert_same(one, other):
    for key in one:
        assert one[key] == other[key], key


def finder(**arguments):
    """A sweep and trials that are no longer than needed."""
    short = {"min_lr": 1e-4, "max_lr": 1.0, "num_steps": POINTS, "trial_steps": 30, "apply": False}
    return LRFinder(**short | arguments)


@pytest.mark.parametrize("setup", SETUPS)
def test_a_training_after_a_sweep_is_the_training_without_it(setup, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    model, options, arguments = SETUPS[setup]
    callback = finder(**arguments)
    without = end_of(tmp_path / "without", model, options)
    assert_same(without, end_of(tmp_path / "with", model, options, callback))
    assert not list((tmp_path / "elsewhere").iterdir())
    if setup == "fast_dev_run":
        assert callback.result is None
    else:
        assert len(callback.result.sweeps) == arguments.get("repeats", 1)
        assert all(len(sweep) > 10 for sweep in callback.result.sweeps)
        assert len(callback.result.climb.trials) > 2


@pytest.mark.parametrize("order", [1, -1])
def test_a_sweep_is_transparent_beside_other_callbacks(order, tmp_path, drawn):
    def others():
        return [StepDecay([5, 9], gamma=0.5), StepsPerExecution(4)]

    without = end_of(tmp_path / "without", Model, {}, *others()[::order])
    assert_same(without, end_of(tmp_path / "with", Model, {}, *[finder(), *others()][::order]))


SCRIPT = """
import sys
from types import SimpleNamespace

import lightning.pytorch as pl
import torch
from lightning.pytorch.demos.boring_classes import BoringModel
from torch.utils.data import DataLoader, TensorDataset

from charlm.callbacks import LRFinder


class Model(BoringModel):
    def __init__(self):
        super().__init__()
        parts = torch.nn.Linear(32, 300), torch.nn.BatchNorm1d(300), torch.nn.Dropout(0.2), torch.nn.Linear(300, 1)
        self.layer = torch.nn.Sequential(*parts)
        self.seen, self.of_process = [], SimpleNamespace(losses=[])  # the losses are not restored

    def training_step(self, batch, batch_idx):
        self.seen.append(batch[0].sum().item())
        loss = (self.layer(batch[0]) - batch[1]).square().mean()
        self.of_process.losses.append(loss.item())
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.001, momentum=0.5)

    def train_dataloader(self):
        x = torch.randn(480, 32, generator=torch.Generator().manual_seed(3))
        return DataLoader(TensorDataset(x, x.sum(1, keepdim=True) + 3), batch_size=20, shuffle=True)

    def on_train_end(self):
        trainer, random = self.trainer, torch.get_rng_state()
        end = {"weights": self.state_dict(), "seen": self.seen, "random": random, "own_losses": self.of_process.losses}
        end["optimizer"] = trainer.optimizers[0].state_dict()
        for result in [finder.result for finder in trainer.callbacks]:
            trials = [(trial.rate, trial.loss) for trial in result.climb.trials]
            end |= {"sweeps": result.sweeps, "suggestion": result.suggestion, "trials": trials}
        torch.save(end, f"{trainer.default_root_dir}-{trainer.global_rank}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for kind in sys.argv[1:]:
        pl.seed_everything(3)
        sweep = LRFinder(1e-5, max_lr=1e3, num_steps=60, repeats=2, apply=kind == "apply", trial_steps=30)
        trainer = pl.Trainer(
            accelerator="cpu", devices=2, strategy="ddp_fork", max_epochs=2, limit_val_batches=1,
            accumulate_grad_batches=2, precision="bf16-mixed", enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, logger=False, default_root_dir=kind, callbacks=[sweep] * (kind != "without"),
        )
        trainer.fit(Model())
"""


@pytest.mark.slow
def test_two_processes_sweep_without_a_trace_and_measure_stop_and_train_together(tmp_path, python):
    (tmp_path / "train.py").write_text(SCRIPT)
    kinds = ("without", "sweep", "apply")
    ran = python("train.py", *kinds)
    assert ran.returncode == 0, ran.stderr
    ends = {kind: [torch.load(tmp_path / f"{kind}-{rank}.pt", weights_only=True) for rank in (0, 1)] for kind in kinds}
    for without, swept in zip(ends["without"], ends["sweep"], strict=True):
        for key in ("seen", "random", "optimizer", "weights"):
            assert spell(swept[key]) == spell(without[key]), key
    first, second = ends["apply"]
    points = [len(sweep) for sweep in first["sweeps"]]
    assert first["sweeps"] == second["sweeps"]
    assert all(10 < count < 60 for count in points)  # both stopped before the end
    both = [(a + b) / 2 for a, b in zip(first["own_losses"], second["own_losses"], strict=True)]
    means = [(a + b) / 2 for a, b in zip(both[::2], both[1::2], strict=True)]
    assert [loss for sweep in first["sweeps"] for loss in sweep] == pytest.approx(means[: sum(points)], rel=1e-6)
    assert first["trials"] == second["trials"]
    of_trial = means[sum(points) :][20:30]
    assert first["trials"][0][1] == pytest.approx(sum(of_trial) / 10, rel=1e-6)
    assert first["own_losses"] != second["own_losses"]
    assert [end["optimizer"]["param_groups"][0]["lr"] for end in ends["apply"]] == [first["suggestion"]] * 2
    learned = {name: weight for name, weight in first["weights"].items() if "running" not in name}
    assert all(torch.equal(weight, second["weights"][name]) for name, weight in learned.items())
