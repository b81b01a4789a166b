"""The learning-rate finder: what it measures, says, writes, applies and remembers, on models of other people."""

import csv
import dataclasses
import json
import math
import re
from datetime import timedelta
from itertools import pairwise

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.demos.boring_classes import BoringModel, DemoModel, ManualOptimBoringModel
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.loggers.logger import DummyLogger
from matplotlib.image import imread
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    CosineAnnealingLR,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)
from torch.utils.data import DataLoader, TensorDataset

from charlm.callbacks import LRFinder, StepDecay, StepsPerExecution
from charlm.callbacks.lr_finder import callback as lr_finder
from charlm.callbacks.lr_finder.result import LRFinderResult
from charlm.callbacks.lr_finder.rules import DEFAULT_RULE, RULES
from charlm.callbacks.shared.render import render

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*returned `None`"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks used to create the checkpoint"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended"),
    pytest.mark.filterwarnings("ignore:.*`lr_scheduler.step\\(\\)` before `optimizer.step\\(\\)`"),
]


def line_data():
    """16 batches of 32 with a line through them, and noise around it."""
    x = torch.randn(512, 9, generator=torch.Generator().manual_seed(1))
    return TensorDataset(x[:, :8], x[:, :8].sum(1, keepdim=True) + x[:, 8:])


def rows_of(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


class Line(pl.LightningModule):
    """Least squares on 16 batches; it diverges at high rates."""

    def __init__(self, lr=0.02, optimizer=torch.optim.SGD, scheduler=None, shift=0.0, interval="step"):
        super().__init__()
        self.save_hyperparameters("lr")
        self.layer = torch.nn.Linear(8, 1, bias=False)
        torch.nn.init.zeros_(self.layer.weight)
        self.lr, self.kind, self.scheduler, self.shift, self.interval = lr, optimizer, scheduler, shift, interval
        self.rates, self.indices = [], []

    def training_step(self, batch, batch_idx):
        self.indices.append(batch_idx)
        self.rates.append([group["lr"] for group in self.trainer.optimizers[0].param_groups])
        loss = self.loss(batch)
        self.log("train_loss", loss)
        return loss

    def loss(self, batch):
        return (self.layer(batch[0]) - batch[1]).square().mean() + self.shift

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", 1.0)

    def configure_optimizers(self):
        optimizer = self.kind(self.parameters(), lr=self.lr)
        if self.scheduler is None:
            return optimizer
        scheduler = {"scheduler": self.scheduler(optimizer, self.lr), "interval": self.interval, "monitor": "val_loss"}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

    def train_dataloader(self):
        return DataLoader(line_data(), batch_size=32)

    val_dataloader = train_dataloader


class Rates(pl.Callback):
    """The rates of every training step."""

    def __init__(self):
        self.seen = []

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.seen.append([group["lr"] for of in trainer.optimizers for group in of.param_groups])


def finder(**arguments):
    return LRFinder(**{"min_lr": 1e-4, "max_lr": 10.0, "num_steps": 60} | arguments)


def noted(model, name):
    """A list that `training_step` appends to, and that is not put back after the sweep."""
    before, kept = model.training_step, []

    def training_step(batch, batch_idx):
        kept.append(name(batch, batch_idx))
        return before(batch, batch_idx)

    model.training_step = training_step
    return kept


def rates_of(model, index=0):
    return [group["lr"] for group in model.trainer.optimizers[index].param_groups]


def by_hand(rates, factor=1, clip=None, precision=None):
    """The losses of the sweep in a bare loop over the line's batches, `factor` of them accumulated."""
    model, losses, batches = Line(), [], list(DataLoader(line_data(), batch_size=32))
    optimizer, place = torch.optim.SGD(model.parameters(), lr=1), 0
    for rate in rates:
        window = []
        optimizer.zero_grad()
        for _ in range(factor):
            with torch.autocast("cpu", torch.bfloat16, enabled=precision is not None):
                loss = model.loss(batches[place % 16])
            (loss / factor).backward()
            window.append(loss.item())
            place += 1
        if clip == "norm":
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        elif clip == "value":
            torch.nn.utils.clip_grad_value_(model.parameters(), 0.1)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        losses.append(sum(window) / factor)
    return losses


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        ({"min_lr": 0.0}, "min_lr is 0.0 and max_lr is 10.0; give 0 < min_lr < max_lr"),
        ({"min_lr": 1.0, "max_lr": 0.1}, "min_lr is 1.0 and max_lr is 0.1"),
        ({"max_lr": math.inf}, "max_lr is inf"),
        ({"min_lr": math.nan}, "min_lr is nan"),
        ({"num_steps": 3}, "num_steps is 3; give a whole number, [0-9]+ or more"),
        ({"num_steps": 50.5}, "num_steps is 50.5; give a whole number"),
        ({"repeats": 0}, "repeats is 0; give a whole number, 1 or more"),
        ({"repeats": 1.5}, "repeats is 1.5; give a whole number, 1 or more"),
        ({"rule": "best"}, f"rule is 'best'; give one of .*{DEFAULT_RULE}"),
        ({"stop_factor": 0.0}, "stop_factor is 0.0; give a number above 0, or inf"),
        ({"stop_factor": math.nan}, "stop_factor is nan"),
        ({"optimizer": -1}, "optimizer is -1; give an index, 0 or more"),
    ],
)
def test_bad_arguments_are_named(arguments, culprit):
    with pytest.raises(ValueError, match=culprit):
        finder(**arguments)


@pytest.mark.parametrize(
    ("options", "hand"),
    [
        ({}, {}),
        ({"accumulate_grad_batches": 3}, {"factor": 3}),
        ({"gradient_clip_val": 0.5}, {"clip": "norm"}),
        ({"gradient_clip_val": 0.1, "gradient_clip_algorithm": "value"}, {"clip": "value"}),
        ({"precision": "bf16-mixed"}, {"precision": "bf16"}),
        ({"accumulate_grad_batches": 2, "gradient_clip_val": 0.5}, {"factor": 2, "clip": "norm"}),
    ],
    ids=str,
)
def test_the_losses_are_those_of_a_bare_loop(options, hand, trainer):
    callback = finder(apply=False, max_lr=2.0, stop_factor=math.inf)
    model = Line()
    trainer(callback, max_steps=1, **options).fit(model)
    assert callback.lrs == pytest.approx([1e-4 * 20000 ** (i / 59) for i in range(60)])
    losses = callback.result.losses
    assert len(losses) > 50
    assert losses == pytest.approx(by_hand(callback.lrs, **hand)[: len(losses)], rel=1e-5)


class Known(BoringModel):
    """Its loss is the number in the batch, whatever the weights."""

    def training_step(self, batch, batch_idx):
        return {"loss": self.layer.weight.sum() * 0 + batch[0].mean(), "extra": 1}

    def train_dataloader(self):
        return DataLoader(TensorDataset(torch.arange(7.0)[:, None] ** 2), batch_size=1)


@pytest.mark.parametrize("window", [1, 2, 3, 7, 12])
@pytest.mark.parametrize("monitor", [None, "loss"])
def test_an_accumulated_loss_is_the_mean_over_its_window(window, monitor, trainer):
    callback = finder(apply=False, num_steps=20, monitor=monitor, stop_factor=math.inf)
    trainer(callback, max_epochs=1, accumulate_grad_batches=window).fit(Known())
    window = min(window, 7)  # an epoch ends a window
    numbers = [float(i % 7) ** 2 for i in range(20 * window)]
    means = [sum(numbers[i * window : (i + 1) * window]) / window for i in range(20)]
    assert callback.result.losses == pytest.approx(means)


def test_several_sweeps_go_on_with_the_batches_but_begin_with_the_same_weights(trainer):
    callback = finder(apply=False, num_steps=20, repeats=3, stop_factor=math.inf)
    trainer(callback, max_epochs=1).fit(Known())
    numbers = [float(i % 7) ** 2 for i in range(60)]
    assert callback.result.sweeps == [numbers[:20], numbers[20:40], numbers[40:]]
    again = finder(apply=False, repeats=2)
    trainer(again, max_epochs=1).fit(Line())
    first, second = again.result.sweeps
    place = 32 * (len(first) % 16)
    assert second[0] == pytest.approx(line_data().tensors[1][place : place + 32].square().mean().item(), rel=1e-6)


def test_shuffled_batches_are_others_in_the_next_sweep(trainer):
    """Also where each sweep is just one epoch, whose order begins with a random number."""
    model, callback = Known(), finder(apply=False, num_steps=21, repeats=2, stop_factor=math.inf)
    numbers = TensorDataset(torch.arange(21.0)[:, None])
    model.train_dataloader = lambda: DataLoader(numbers, batch_size=1, shuffle=True)
    trainer(callback, max_epochs=1).fit(model)
    first, second = callback.result.sweeps
    assert sorted(first) == sorted(second) == list(range(21))
    assert first != second


def test_the_result_says_what_was_seen(trainer):
    callback = finder(apply=False)
    trainer(callback, max_steps=1).fit(Line())
    result = callback.result
    assert result.status == "ok"
    assert len(result.lrs) == 60 > len(result.losses) == len(result.smoothed)  # it was stopped
    assert set(result.suggestions) <= set(RULES)
    assert result.suggestion == result.suggestions[DEFAULT_RULE] == result.suggestions[callback.rule]
    assert 1e-3 < result.suggestion < 1
    low, high = result.range
    assert 1e-4 <= low < high <= 10
    assert "fell" in result.reason
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.rule = "another"


@pytest.mark.parametrize("rule", RULES)
def test_the_rule_that_is_asked_for_counts(rule, trainer):
    callback = finder(rule=rule)
    model = Line()
    trainer(callback, max_steps=1).fit(model)
    assert callback.result.suggestion == callback.result.suggestions[rule] == rates_of(model)[0]


def test_the_files_hold_the_points_the_numbers_and_the_picture(trainer, tmp_path):
    callback = finder(apply=False, repeats=2)
    trainer(callback, max_steps=1, logger=CSVLogger(tmp_path, name="a", version="b")).fit(Line())
    result, folder = callback.result, tmp_path / "a" / "b"
    rows = rows_of(folder / "lr_finder.csv")
    assert [float(row["lr"]) for row in rows] == result.lrs[: len(rows)]
    assert [float(row["loss"]) for row in rows] == result.losses
    assert [float(row["smoothed"]) for row in rows] == result.smoothed
    for number, sweep in enumerate(result.sweeps, start=1):
        assert [float(row[f"loss_{number}"]) for row in rows if row[f"loss_{number}"]] == sweep
    numbers = json.loads((folder / "lr_finder.json").read_text(encoding="utf-8"))
    assert numbers["suggestion"] == result.suggestion
    assert numbers["suggestions"] == result.suggestions
    assert (numbers["status"], numbers["rule"], numbers["points"]) == ("ok", DEFAULT_RULE, len(rows))
    assert tuple(numbers["range"]) == result.range
    pixels = imread(folder / "lr_finder.png")[..., :3] * 255
    assert (pixels.round() == render(result.figure())).all()


def test_without_a_logger_the_files_go_to_the_root_directory(trainer, tmp_path):
    trainer(finder(apply=False), max_steps=1).fit(Line())
    assert {path.name for path in tmp_path.iterdir()} == {"lr_finder.png", "lr_finder.csv", "lr_finder.json"}


def test_the_picture_goes_to_tensorboard(trainer, tmp_path):
    trainer(finder(apply=False), max_steps=1, logger=TensorBoardLogger(tmp_path)).fit(Line())
    (folder,) = {path.parent for path in tmp_path.rglob("events.*")}
    events = EventAccumulator(str(folder)).Reload()
    assert [event.step for event in events.Images("lr_finder")] == [0]


class Failing(DummyLogger):
    save_dir = None

    def log_image(self, **_):
        raise ZeroDivisionError("no pictures here")


def test_a_logger_that_fails_stops_nothing(trainer):
    callback = finder(apply=False)
    with pytest.warns(UserWarning, match=r"^LRFinder: Failing failed with ZeroDivisionError: no pictures here"):
        trainer(callback, max_steps=1, logger=[Failing(), DummyLogger()]).fit(model := Line())
    assert callback.result.status == "ok"
    assert model.trainer.global_step == 1


def test_a_directory_that_cannot_be_written_stops_nothing(trainer, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match=r"^LRFinder: writing to .*below failed with"):
        trainer(finder(apply=False), max_steps=1, default_root_dir=tmp_path / "file" / "below").fit(model := Line())
    assert model.trainer.global_step == 1


def test_the_figure_shows_the_curves_the_rules_and_the_band(trainer):
    callback = finder(apply=False, repeats=2)
    trainer(callback, max_steps=1).fit(Line())
    result = callback.result
    figure = result.figure()
    (ax,) = figure.axes
    assert figure.canvas.manager is None  # none of pyplot's
    assert ax.get_xscale() == "log"
    assert ax.get_xlim() == pytest.approx((result.lrs[0], result.lrs[-1]))
    lines = {line.get_label(): line for line in ax.lines}
    assert lines["loss"].get_ydata().tolist() == result.losses
    assert lines["smoothed"].get_ydata().tolist() == result.smoothed
    assert lines["loss"].get_linewidth() < lines["smoothed"].get_linewidth()
    smoothed_at = result.lrs[: len(result.smoothed)]
    for name, rate in result.suggestions.items():
        (at,) = lines[f"{name}: {rate:.3g}"].get_xydata()
        assert at[0] == rate
        assert at[1] == result.smoothed[np.abs(np.log(smoothed_at) - math.log(rate)).argmin()]
    assert any(label.startswith("diverged at") for label in lines)
    assert lines[f"one cycle: {result.range[0]:.2g} to {result.range[1]:.2g}"].get_xdata() == pytest.approx(
        result.range
    )
    assert [band.get_label() for band in ax.collections] == ["2 sweeps"]
    assert result.rule in ax.get_title()
    low, high = ax.get_ylim()
    assert low < min(result.smoothed) < result.smoothed[0] < high < max(result.losses), "the rise is cut off"
    one = dataclasses.replace(result, sweeps=result.sweeps[:1])
    assert len(one.figure().axes[0].collections) == 0
    assert any(label.startswith("diverged at") for label in one.figure().axes[0].get_legend_handles_labels()[1])
    whole = dataclasses.replace(result, sweeps=[[3 - 2 * step / 60 for step in range(60)]])
    assert not any(label.startswith("diverged at") for label in whole.figure().axes[0].get_legend_handles_labels()[1])


def test_unless_told_otherwise_300_rates_from_a_millionth_to_10_are_swept(trainer):
    callback = LRFinder(apply=False)
    trainer(callback, max_steps=1).fit(Line())
    assert callback.lrs == pytest.approx(np.geomspace(1e-6, 10, 300).tolist())


def test_the_bar_counts_the_steps_of_all_sweeps_and_of_both_trials(trainer, capsys, monkeypatch):
    ends = {}

    class Bar(lr_finder.tqdm):
        def close(self):
            if not self.disable:
                ends[self.desc.removesuffix(": ")] = self.n
            super().close()

    monkeypatch.setattr(lr_finder, "tqdm", Bar)
    for options in ({"enable_progress_bar": True}, {}):
        callback = finder(repeats=2, trial_steps=70, apply=False)
        trainer(callback, max_steps=1, **options).fit(Line())
        assert callback.result.trial is not None
        said = capsys.readouterr().err
        totals = dict(re.findall(r"(LR sweep|LR trial): +0%\|.*?\| 0/(\d+) ", said))
        assert totals == ({"LR sweep": "120", "LR trial": "140"} if options else {})
        counted = {"LR sweep": sum(map(len, callback.result.sweeps)), "LR trial": 140}
        assert ends == (counted if options else {})
        ends.clear()


# What is suggested for whom


def grouped(model):
    first, second = torch.nn.Linear(8, 1, bias=False), model.layer
    model.first = first
    return torch.optim.SGD([{"params": first.parameters(), "lr": 0.001}, {"params": second.parameters()}], lr=0.01)


class Grouped(Line):
    def configure_optimizers(self):
        return grouped(self)


@pytest.mark.parametrize("apply", [True, False])
def test_groups_keep_the_ratio_of_their_rates(apply, trainer):
    model, callback = Grouped(), finder(apply=apply)
    seen = noted(model, lambda batch, batch_idx: rates_of(model))
    trainer(callback, max_steps=2).fit(model)
    in_sweep, after = seen[:-2], seen[-2:]
    assert [high for _, high in in_sweep] == callback.lrs[: len(in_sweep)]
    assert [low for low, _ in in_sweep] == pytest.approx([rate / 10 for rate in callback.lrs[: len(in_sweep)]])
    top = callback.result.suggestion if apply else 0.01
    assert after == [[pytest.approx(top / 10), top]] * 2


def test_groups_of_a_cycle_keep_the_ratio_of_their_peaks(trainer):
    model, callback = Grouped(), finder()
    optimizer = grouped(model)
    cycle = CyclicLR(optimizer, [0.001, 0.01], [0.2, 0.05], step_size_up=2, cycle_momentum=False)
    model.configure_optimizers = lambda: ([optimizer], [{"scheduler": cycle, "interval": "step"}])
    seen = noted(model, lambda batch, batch_idx: rates_of(model))
    trainer(callback, max_steps=3).fit(model)
    assert [high for high, _ in seen[:-3]] == callback.lrs[: len(seen) - 3]
    assert [low for _, low in seen[:-3]] == pytest.approx([rate / 4 for rate in callback.lrs[: len(seen) - 3]])
    found = callback.result.suggestion
    assert seen[-1] == pytest.approx([found, found / 4])
    assert seen[-3] == pytest.approx([found * 0.005, found * 0.05])


class Hooked(Line):
    """Says which of its hooks are called."""

    def __init__(self, called):
        super().__init__()
        for hook in (
            *("on_train_start", "on_train_epoch_start", "on_train_batch_start", "on_before_zero_grad"),
            *("on_before_backward", "on_after_backward", "on_before_optimizer_step", "on_train_batch_end"),
        ):
            setattr(self, hook, lambda *_, hook=hook: called(hook))


@pytest.mark.parametrize("options", [{}, {"precision": "bf16-mixed"}])
def test_the_modules_own_hooks_are_called_as_in_training(options, trainer):
    heard = [[], []]

    class Ends(pl.Callback):
        def on_train_start(self, trainer, module):
            heard.append([])

    callback = finder(num_steps=20, apply=False, stop_factor=math.inf, max_lr=1e-2)
    trainer(callback, Ends(), max_steps=20, **options).fit(Hooked(lambda hook: heard[-1].append(hook)))
    in_sweep, in_training = heard[1:]
    assert in_sweep == in_training
    assert in_sweep.count("on_train_batch_end") == 20


def test_a_rate_that_is_a_tensor_stays_the_tensor_that_it_was(trainer):
    model = Line()
    model.kind = lambda weights, lr: torch.optim.AdamW(
        [{"params": [weight]} for weight in [*weights, torch.nn.Parameter(torch.zeros(1))]], lr=torch.tensor(lr)
    )
    callback, rates = finder(), Rates()
    trainer(callback, rates, max_steps=1).fit(model)
    first, second = rates.seen[0]
    assert isinstance(first, torch.Tensor)
    assert first.item() == second.item() == pytest.approx(callback.result.suggestion)


def cyclic(optimizer, lr):
    return CyclicLR(optimizer, lr / 10, lr, step_size_up=5, cycle_momentum=False)


def sequence(optimizer, lr):
    return SequentialLR(optimizer, [LinearLR(optimizer, 0.1, total_iters=4), StepLR(optimizer, 3)], milestones=[4])


SCHEDULERS = {
    "StepLR": lambda optimizer, lr: StepLR(optimizer, 5, 0.5),
    "CosineAnnealingLR": lambda optimizer, lr: CosineAnnealingLR(optimizer, 20),
    "CosineAnnealingLR to a rate": lambda optimizer, lr: CosineAnnealingLR(optimizer, 20, eta_min=1e-5),
    "LambdaLR from 0": lambda optimizer, lr: LambdaLR(optimizer, lambda step: min(1, step / 5)),
    "OneCycleLR": lambda optimizer, lr: OneCycleLR(optimizer, lr, 30),
    "OneCycleLR in three phases": lambda optimizer, lr: OneCycleLR(optimizer, lr, 30, three_phase=True),
    "CyclicLR": cyclic,
    "SequentialLR": sequence,
    "ChainedScheduler": lambda optimizer, lr: ChainedScheduler([ExponentialLR(optimizer, 0.9), StepLR(optimizer, 4)]),
    "both": lambda optimizer, lr: ChainedScheduler([sequence(optimizer, lr), ExponentialLR(optimizer, 0.9)]),
    "ReduceLROnPlateau": lambda optimizer, lr: ReduceLROnPlateau(optimizer, patience=0, factor=0.5),
}


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_a_schedule_goes_on_from_the_rate_as_if_it_had_been_configured(name, optimizer, trainer):
    interval = "epoch" if name == "ReduceLROnPlateau" else "step"

    def rates(lr, *callbacks):
        model, seen = Line(lr, optimizer, SCHEDULERS[name], interval=interval), Rates()
        fits = trainer(*callbacks, seen, max_epochs=10, max_steps=24, limit_train_batches=8, limit_val_batches=1)
        fits.fit(model)
        last = [float(rate) for config in fits.lr_scheduler_configs for rate in config.scheduler.get_last_lr()]
        return [float(rate) for (rate,) in seen.seen] + last

    callback = finder()
    found = rates(0.003, callback)
    suggestion = callback.result.suggestion
    configured = rates(suggestion)
    assert found == pytest.approx(configured, rel=1e-12)
    assert len(set(found)) > 2
    assert max(found) == pytest.approx(suggestion) or name == "both"  # whose peak comes when it has fallen
    assert suggestion != 0.003


def test_the_schedulers_first_rate_is_the_new_one_already(trainer):
    class Look(pl.Callback):
        def on_train_epoch_start(self, trainer, module):
            (config,) = trainer.lr_scheduler_configs
            self.seen = (config.scheduler.get_last_lr(), rates_of(module))

    callback, look = finder(), Look()
    trainer(callback, look, max_steps=1).fit(Line(scheduler=sequence))
    assert look.seen[0] == look.seen[1] == [pytest.approx(callback.result.suggestion / 10)]


class Unknown:
    """A scheduler like those of other libraries: it sets the rate itself."""

    def __init__(self, optimizer, lr):
        self.optimizer, self.lr = optimizer, lr

    def step(self, *_):
        self.optimizer.param_groups[0]["lr"] = self.lr

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


class ForUnknown(Line):
    def lr_scheduler_step(self, scheduler, metric):
        scheduler.step()


def test_an_unknown_scheduler_is_refused_unless_nothing_is_applied(trainer):
    model = ForUnknown(scheduler=Unknown)
    seen = noted(model, lambda *_: 1)
    with pytest.raises(
        ValueError, match=r"^LRFinder cannot keep Unknown at the rate .* no base_lrs .* LRFinder\(apply=False\)"
    ):
        trainer(finder(), max_steps=1).fit(model)
    assert not seen  # before the sweep
    callback, model = finder(apply=False), ForUnknown(scheduler=Unknown)
    trainer(callback, max_steps=1).fit(model)
    assert callback.result.status == "ok"
    assert rates_of(model) == [0.02]


def test_a_training_that_is_applied_is_that_with_the_rate_from_the_start(trainer):
    """The weights, not only the rates."""
    callback, found = finder(), Line(optimizer=torch.optim.AdamW)
    trainer(callback, max_steps=20).fit(found)
    configured = Line(callback.result.suggestion, torch.optim.AdamW)
    trainer(max_steps=20).fit(configured)
    assert torch.equal(found.layer.weight, configured.layer.weight)
    assert not torch.equal(found.layer.weight, torch.zeros(1, 8))


def test_the_hyperparameter_gets_the_rate_and_others_keep_theirs(trainer):
    model, callback = Line(), finder()
    trainer(callback, max_steps=1).fit(model)
    assert model.hparams["lr"] == model.lr == rates_of(model)[0] == callback.result.suggestion
    other = Line()
    other.learning_rate, other.lr = 0.5, 0.02
    other.hparams["lr"] = 0.7
    trainer(finder(), max_steps=1).fit(other)
    assert (other.learning_rate, other.hparams["lr"]) == (0.5, 0.7)
    assert other.lr == rates_of(other)[0]
    kept = Line()
    trainer(finder(apply=False), max_steps=1).fit(kept)
    assert (kept.hparams["lr"], kept.lr, rates_of(kept)) == (0.02, 0.02, [0.02])


def test_rates_of_0_cannot_be_scaled(trainer):
    with pytest.raises(ValueError, match=r"^LRFinder cannot scale .* because all are 0"):
        trainer(finder(), max_steps=1).fit(Line(0.0))


@pytest.mark.parametrize("order", [1, -1])
def test_the_decay_and_the_executions_of_this_package_follow_the_rate(order, trainer):
    callback, rates = finder(), Rates()
    others = [StepDecay([3, 5], gamma=0.5), StepsPerExecution(4)]
    trainer(*[callback, *others][::order], rates, max_steps=7).fit(Line())
    found = callback.result.suggestion
    assert [rate for (rate,) in rates.seen] == [found] * 3 + [found / 2] * 2 + [found / 4] * 2


# Manual optimization


class Gan(pl.LightningModule):
    """Two optimizers; the second one's schedule is stepped before it, as nobody should."""

    def __init__(self, **options):
        super().__init__()
        self.automatic_optimization = False
        self.first, self.second = (torch.nn.Linear(8, 1, bias=False) for _ in range(2))
        self.options, self.stepped, self.returned = options, [[], []], None

    def training_step(self, batch, batch_idx):
        for number, (part, optimizer) in enumerate(zip((self.first, self.second), self.optimizers(), strict=True)):
            loss = (part(batch[0]) - batch[1]).square().mean()
            optimizer.zero_grad()
            self.manual_backward(loss)
            if number:
                self.lr_schedulers().step()
            optimizer.step()
            self.log(f"loss_{number}", loss)
        return self.returned

    def configure_optimizers(self):
        first = torch.optim.SGD(self.first.parameters(), lr=0.05)
        second = torch.optim.SGD(self.second.parameters(), lr=0.01)
        for number, optimizer in enumerate((first, second)):
            optimizer.register_step_post_hook(
                lambda of, *_, seen=self.stepped[number]: seen.append(of.param_groups[0]["lr"])
            )
        return [first, second], [StepLR(second, 2, 0.5)]

    def train_dataloader(self):
        return DataLoader(line_data(), batch_size=32)


class Held:
    """Holds lists in an object of its own class, into which a snapshot does not look."""

    def __init__(self, lists):
        self.lists = lists

    def __getitem__(self, index):
        return self.lists[index]


def test_of_two_optimizers_the_one_that_is_meant_is_swept(trainer):
    for number in (0, 1):
        model = Gan()
        seen = [[], []]
        model.stepped = Held(seen)
        callback = finder(optimizer=number, monitor=f"loss_{number}")
        trainer(callback, max_epochs=1, limit_train_batches=5).fit(model)
        points = len(callback.result.losses)
        assert callback.result.status == "ok"
        assert seen[number][:points] == callback.lrs[:points]
        found = callback.result.suggestion
        if number:
            assert seen[0] == [0.05] * (points + 5)
            assert seen[1][points:] == [found, found / 2, found / 2, found / 4, found / 4]
        else:
            assert seen[1][points:] == [0.01, 0.005, 0.005, 0.0025, 0.0025]
            assert seen[0][points:] == [found] * 5


def test_two_finders_find_for_two_optimizers(trainer, tmp_path):
    finders = [finder(optimizer=number, monitor=f"loss_{number}") for number in (0, 1)]
    model = Gan()
    trainer(*finders, max_epochs=1, limit_train_batches=1).fit(model)
    assert rates_of(model, 0) == [finders[0].result.suggestion]
    assert rates_of(model, 1) == [finders[1].result.suggestion]
    assert len({path.name for path in tmp_path.glob("lr_finder*")}) == 6
    saved = tmp_path / "end.ckpt"
    model.trainer.save_checkpoint(saved)
    states = torch.load(saved, weights_only=True)["callbacks"]
    assert len([key for key in states if key.startswith("LRFinder")]) == 2


def test_by_hand_with_one_optimizer_the_losses_are_those_of_the_steps(trainer):
    class Counted(ManualOptimBoringModel):
        def training_step(self, batch, batch_idx):
            seen.append(rates_of(self)[0])
            super().training_step(batch, batch_idx)
            return {"loss": torch.tensor(float(len(seen))), "other": torch.tensor(0.5)}

    for monitor, expected in ((None, [float(i + 1) for i in range(20)]), ("other", [0.5] * 20)):
        seen, callback = [], finder(apply=False, num_steps=20, monitor=monitor, stop_factor=math.inf)
        trainer(callback, max_epochs=1, limit_train_batches=1).fit(Counted())
        assert callback.result.losses == expected
        assert seen[:20] == callback.lrs


def test_an_optimizer_that_is_not_there_is_named(trainer):
    with pytest.raises(ValueError, match=r"^LRFinder's optimizer is 2, and Gan has 2; give an index from 0 to 1"):
        trainer(finder(optimizer=2), max_steps=1).fit(Gan())
    model = Line()
    model.configure_optimizers = lambda: None
    with pytest.warns(UserWarning, match="this fit will run with no optimizer"):  # noqa: SIM117
        with pytest.raises(ValueError, match=r"^LRFinder (cannot scale|has no learning rate to suggest)"):
            trainer(finder(), max_steps=1).fit(model)


# Losses that are not as they should be


def test_a_loss_below_zero_gives_the_same_rate(trainer):
    found = []
    for shift in (0.0, -30.0):
        callback = finder(apply=False)
        trainer(callback, max_steps=1).fit(Line(shift=shift))
        assert min(callback.result.losses) < 1 + shift
        assert callback.result.status == "ok"
        found.append(callback.result.suggestion)
    assert found[0] == pytest.approx(found[1], rel=0.3)


class Breaking(Line):
    """Its loss is what it is told from a rate on."""

    def __init__(self, value, above):
        super().__init__()
        self.value, self.above = value, above

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        return loss * self.value if rates_of(self)[0] > self.above else loss


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_sweep_ends_where_the_loss_is_no_number(value, trainer):
    callback = finder(apply=False)
    trainer(callback, max_steps=1).fit(model := Breaking(value, 0.1))
    result = callback.result
    assert not math.isfinite(result.losses[-1])
    assert all(map(math.isfinite, result.losses[:-1]))
    assert result.lrs[len(result.losses) - 2] <= 0.1 < result.lrs[len(result.losses) - 1]
    assert result.status == "ok"
    assert 0 < result.suggestion <= 0.1
    assert torch.isfinite(model.layer.weight).all()
    assert result.figure().axes


CURVES = {  # status: (model, arguments, what to do)
    "too_few_points": (lambda: Breaking(math.nan, 0.0), {}, "give a lower min_lr or more num_steps"),
    "never_descended": (lambda: Line(shift=1e8), {}, "give a lower min_lr, or check the model and its data"),
    "never_diverged": (lambda: Line(), {"max_lr": 0.2, "num_steps": 150}, "a higher max_lr may show a better rate"),
    "minimum_at_edge": (lambda: Line(), {"max_lr": 0.02, "num_steps": 150}, "give a wider range"),
}


@pytest.mark.parametrize("status", CURVES)
def test_every_status_says_what_to_do_and_only_a_rate_is_applied(status, trainer, tmp_path):
    make, arguments, advice = CURVES[status]
    callback = finder(apply=False, **arguments)
    trainer(callback, max_steps=1).fit(make())
    result = callback.result
    assert (result.status, advice in result.reason) == (status, True)
    assert json.loads((tmp_path / "lr_finder.json").read_text(encoding="utf-8"))["status"] == status
    assert result.reason in result.figure().axes[0].get_title()
    applied = finder(**arguments)
    model = make()
    if result.suggestion is None:
        with pytest.raises(
            ValueError, match=f"^LRFinder has no learning rate to suggest: .*{advice}. To train at the configured"
        ):
            trainer(applied, max_steps=1).fit(model)
        assert applied.result.status == status
        assert rates_of(model) == [0.02]
    else:
        trainer(applied, max_steps=1).fit(model)
        assert rates_of(model) == [result.suggestion]


class Skipping(Known):
    """No loss in every third step."""

    def training_step(self, batch, batch_idx):
        return None if batch[0].item() in (4.0, 25.0) else super().training_step(batch, batch_idx)


def test_batches_without_a_loss_are_replaced_and_windows_average_the_others(trainer):
    callback = finder(apply=False, num_steps=20, stop_factor=math.inf)
    trainer(callback, max_epochs=1).fit(Skipping())
    assert callback.result.losses == ([0.0, 1.0, 9.0, 16.0, 36.0] * 4)
    callback = finder(apply=False, num_steps=20, stop_factor=math.inf)
    trainer(callback, max_epochs=1, accumulate_grad_batches=7).fit(Skipping())
    assert callback.result.losses == pytest.approx([62 / 5] * 20)


class Leaving(Known):
    """Leaves each epoch at its third batch."""

    def on_train_epoch_start(self):
        self.seen = 0

    def on_train_batch_start(self, batch, batch_idx):
        self.seen += 1
        assert self.seen == batch_idx + 1
        return -1 if batch_idx == 2 else None


def test_a_module_that_leaves_its_epochs_begins_a_new_one(trainer):
    callback = finder(apply=False, num_steps=20, stop_factor=math.inf)
    trainer(callback, max_epochs=1).fit(Leaving())
    numbers = [float(i % 7) ** 2 for i in range(30) if i % 3 != 2]
    assert callback.result.losses == numbers


def test_indices_of_batches_stay_within_an_epoch(trainer):
    model = Line()
    seen = noted(model, lambda batch, batch_idx: batch_idx)
    trainer(finder(apply=False, stop_factor=math.inf), max_epochs=1, limit_train_batches=5).fit(model)
    assert seen[:60] == list(range(5)) * 12


class Never(Line):
    def training_step(self, batch, batch_idx):
        super().training_step(batch, batch_idx)


def test_a_loss_that_is_only_logged_is_found_by_its_name(trainer):
    rates = {}
    for kind, monitor in ((Line, None), (Line, "train_loss"), (Never, "train_loss")):
        callback = finder(apply=False, monitor=monitor, stop_factor=math.inf)
        trainer(callback, max_steps=1).fit(kind()) if kind is Line else trainer(callback, max_epochs=1).fit(kind())
        rates[kind, monitor] = callback.result.losses
    assert rates[Line, None] == rates[Line, "train_loss"]
    assert len(set(rates[Never, "train_loss"])) == 16  # no step without a loss to Lightning: the batches' own losses


@pytest.mark.parametrize("window", [1, 2])
def test_a_loss_that_is_nowhere_is_missed(window, trainer):
    message = r"finds no loss in what Never.training_step returns or logs: .*monitor=\.\.\.\); known here: train_loss"
    with pytest.raises(ValueError, match=message):
        trainer(finder(), max_epochs=1, accumulate_grad_batches=window).fit(Never())
    with pytest.raises(ValueError, match=r"^LRFinder finds no lost in what Line.*known here: loss, train_loss"):
        trainer(finder(monitor="lost"), max_epochs=1).fit(Line())


# Loaders that cannot be swept


def test_what_can_be_read_only_once_is_refused(trainer):
    model = Line()
    model.train_dataloader = lambda: iter([[torch.zeros(4, 8), torch.zeros(4, 1)]])
    with pytest.raises(
        ValueError, match=r"^LRFinder cannot read batches from a list_iterator, which can be read only once"
    ):
        trainer(finder(), max_steps=1).fit(model)


class Fetching(BoringModel):
    def training_step(self, dataloader_iter):
        return self.step(next(dataloader_iter)[0])


@pytest.mark.filterwarnings("ignore:You are using the `dataloader_iter`", "ignore:Found `dataloader_iter` argument")
def test_a_module_that_fetches_its_batches_is_refused(trainer):
    with pytest.raises(
        ValueError, match=r"^LRFinder cannot sweep Fetching, because its training_step fetches the batches itself"
    ):
        trainer(finder(), max_steps=1).fit(Fetching())


def test_batches_that_are_none_are_passed_over(trainer):
    model, callback = Known(), finder(apply=False, num_steps=20, stop_factor=math.inf)
    batches = TensorDataset(torch.tensor([1.0, 2.0, 3.0]))
    collate = {1.0: [torch.ones(1)], 2.0: None, 3.0: [torch.full((1,), 3.0)]}
    model.train_dataloader = lambda: DataLoader(batches, collate_fn=lambda items: collate[items[0][0].item()])
    with pytest.warns(UserWarning, match=r"^train_dataloader yielded None"):
        trainer(callback, max_epochs=1).fit(model)
    assert callback.result.losses == [1.0, 3.0] * 10


# Going on


def end_of(model):
    state = model.trainer._checkpoint_connector.dump_checkpoint(False)
    return {name: str(state[name]) for name in ("epoch", "global_step", "loops", "optimizer_states", "lr_schedulers")}


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks used to create the checkpoint")
def test_a_resumed_training_has_the_result_and_no_second_sweep(trainer, tmp_path):
    """Epoch, step, optimizer, schedule and weights are those of the unbroken training."""

    def fit(*more, **options):
        pl.seed_everything(2)
        model, callback, rates = Line(0.003, torch.optim.AdamW, SCHEDULERS["CosineAnnealingLR"]), finder(), Rates()
        steps_of = noted(model, lambda *_: model.trainer.global_step)
        trainer(callback, rates, *more, max_epochs=2, enable_checkpointing=bool(more)).fit(model, **options)
        return model, callback.result, steps_of, rates.seen

    saved = tmp_path / "saved" / "epoch=0.ckpt"
    keep = ModelCheckpoint(saved.parent, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
    unbroken, result, steps, rates = fit(keep)
    points = len(result.losses)
    assert steps == [*range(points), *range(32)]
    assert any(key.startswith("LRFinder") for key in torch.load(saved, weights_only=True)["callbacks"])
    resumed, again, steps, after = fit(ckpt_path=saved)
    assert steps == list(range(16, 32))
    assert again == result
    assert after == rates[16:]
    assert end_of(unbroken) == end_of(resumed)
    assert torch.equal(unbroken.layer.weight, resumed.layer.weight)


def test_a_checkpoint_without_a_finder_is_gone_on_from_without_a_sweep(trainer, tmp_path):
    trainer(max_steps=5).fit(before := Line())
    before.trainer.save_checkpoint(tmp_path / "end.ckpt")
    model, callback = Line(), finder()
    seen = noted(model, lambda *_: model.trainer.global_step)
    trainer(callback, max_steps=8).fit(model, ckpt_path=tmp_path / "end.ckpt")
    assert seen == [5, 6, 7]
    assert callback.result is None


def test_the_next_fit_of_a_trainer_goes_on_and_that_of_a_new_one_sweeps(trainer):
    model, callback = Line(), finder()
    fits = trainer(callback, max_steps=4)
    fits.fit(model)
    result = callback.result
    fits.fit_loop.epoch_loop.max_steps = 6
    fits.fit(model)
    assert callback.result is result
    trainer(callback, max_steps=1).fit(Line(shift=2.0))
    assert callback.result is not result
    assert callback.result.losses[0] == pytest.approx(result.losses[0] + 2)


@pytest.mark.parametrize("options", [{"max_steps": 3}, {"max_epochs": 1}, {"max_time": timedelta(hours=1)}])
def test_a_sweep_may_be_longer_than_the_training(options, trainer):
    model, callback = Line(), finder(apply=False, stop_factor=math.inf, max_lr=0.5, num_steps=50)
    trainer(callback, limit_train_batches=4, **{"max_epochs": 2} | options).fit(model)
    assert len(callback.result.losses) == 50
    assert model.trainer.global_step == options.get("max_steps", 4 * options.get("max_epochs", 2))


def test_a_trial_run_has_no_sweep(trainer, tmp_path):
    model, callback = Line(), finder()
    trainer(callback, fast_dev_run=2).fit(model)
    assert callback.result is None
    assert rates_of(model) == [0.02]
    assert not list(tmp_path.iterdir())


# An end in mid-sweep


class Ending(DemoModel):
    """Raises at its twelfth step, under whatever name."""

    def __init__(self, error):
        super().__init__()
        self.error, self.norm = error, torch.nn.BatchNorm1d(32)

    def training_step(self, batch, batch_idx):
        if self.trainer.global_step == 12:
            raise self.error
        self.log("loss", 1.0)
        return super().training_step(self.norm(batch[0]) + torch.rand(1), batch_idx)

    def train_dataloader(self):
        return DataLoader(TensorDataset(torch.randn(20, 32)), batch_size=2, shuffle=True)


class Before(pl.Callback):
    """Everything before the sweep, and when it has failed."""

    def on_train_start(self, trainer, module):
        self.before = self.look(trainer, module)

    def on_exception(self, trainer, module, exception):
        self.after = self.look(trainer, module)

    def look(self, trainer, module):
        state = {name: value.tolist() for name, value in module.state_dict().items()}
        return (
            list(map(id, trainer.callbacks)), list(map(id, trainer.loggers)), id(trainer.profiler), trainer.global_step,
            pl.LightningModule.log, state, torch.get_rng_state().tolist(), str(trainer.optimizers[0].state_dict()),
            [p.grad for p in module.parameters()], trainer.fit_loop.epoch_loop.batch_progress.state_dict(),
        )  # fmt: skip


@pytest.mark.parametrize("error", [ZeroDivisionError("broken"), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
def test_an_end_in_mid_sweep_leaves_everything_as_it_was(error, trainer, tmp_path):
    log, before, callback = pl.LightningModule.log, Before(), finder()
    with pytest.raises((ZeroDivisionError, KeyboardInterrupt, SystemExit)):
        trainer(before, callback, LearningRateMonitor(), max_steps=1, logger=CSVLogger(tmp_path)).fit(Ending(error))
    assert before.before == before.after
    assert pl.LightningModule.log is log
    assert callback.result is None


def test_loggers_and_callbacks_hear_nothing_of_the_sweep(trainer, tmp_path):
    class Heard(pl.Callback):
        steps, rates = 0, ()

        def on_before_optimizer_step(self, trainer, module, optimizer):
            self.steps += 1
            self.rates = (*self.rates, rates_of(module)[0])

    logger, heard, callback = CSVLogger(tmp_path, name="", version=""), Heard(), finder()
    trainer(heard, callback, LearningRateMonitor(), max_steps=3, logger=logger, log_every_n_steps=1).fit(Line())
    found = callback.result.suggestion
    assert heard.rates == (found,) * 3
    rows = rows_of(tmp_path / "metrics.csv")
    assert [int(row["step"]) for row in rows if row["train_loss"]] == [0, 1, 2]
    assert {float(row["lr-SGD"]) for row in rows if row["lr-SGD"]} == {found}


def test_the_rates_of_a_sweep_are_even_on_a_logarithmic_scale():
    lrs = LRFinder(min_lr=1e-3, max_lr=1.0, num_steps=31).lrs
    assert (lrs[0], lrs[-1], len(lrs)) == (1e-3, pytest.approx(1.0), 31)
    assert [b / a for a, b in pairwise(lrs)] == [pytest.approx(10**0.1)] * 30


class Fixed(Line):
    """Has its rate from nowhere but its own lines."""

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.001)


def test_the_next_fit_of_a_trainer_has_the_rate_that_was_found(trainer):
    """Its optimizer is a new one, whose rate is the module's."""
    model, callback = Fixed(), finder()
    fits = trainer(callback, max_steps=4)
    fits.fit(model)
    fits.fit_loop.epoch_loop.max_steps = 6
    fits.fit(model)
    assert rates_of(model) == [callback.result.suggestion]


def test_a_resumed_module_has_the_rate_as_its_hyperparameter(trainer, tmp_path):
    before = finder()
    trainer(before, max_steps=4).fit(model := Line())
    model.trainer.save_checkpoint(tmp_path / "end.ckpt")
    trainer(after := finder(), max_steps=6).fit(resumed := Line(), ckpt_path=tmp_path / "end.ckpt")
    assert resumed.lr == resumed.hparams["lr"] == rates_of(resumed)[0] == before.result.suggestion
    assert after.result == before.result


CURVE = [3.0] * 40 + [3.0 - 0.1 * step for step in range(20)] + [1.0] * 10 + [1.0 + step for step in range(5)]
RATES = [1e-4 * 1.1**step for step in range(100)]


@pytest.mark.parametrize(
    ("weak", "status"),
    [
        ([3.0 + 0.01 * (-1) ** step for step in range(100)], "never_descended"),
        ([math.nan], "too_few_points"),
        (CURVE[:10], "too_few_points"),
    ],
)
def test_a_sweep_that_shows_nothing_is_outvoted_and_alone_says_why(weak, status):
    alone = LRFinderResult.of(RATES, [CURVE], DEFAULT_RULE)
    both = LRFinderResult.of(RATES, [CURVE, weak, CURVE], DEFAULT_RULE)
    assert alone.status == both.status == "ok"
    assert both.suggestions == pytest.approx(alone.suggestions)
    assert both.range == pytest.approx(alone.range)
    outvoted = LRFinderResult.of(RATES, [CURVE, weak, weak], DEFAULT_RULE)
    assert (outvoted.suggestion, outvoted.status) == (None, status)
    assert both.losses[0] == pytest.approx(3.0, abs=0.01)
    assert len(render(both.figure())) == 500
