"""The learning-rate finder: what it measures, says, writes, applies and restores, in other people's modules."""

import csv
import json
import math
from types import SimpleNamespace

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.demos.boring_classes import BoringModel
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from matplotlib.image import imread
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.optim import lr_scheduler as schedulers
from torch.utils.data import DataLoader, TensorDataset

from charlm.callbacks import LRFinder
from charlm.callbacks.lr_finder.result import LRFinderResult
from charlm.callbacks.lr_finder.rules import DEFAULT_RULE
from charlm.callbacks.shared.render import render

BEFORE = "ignore:.*`lr_scheduler.step\\(\\)` before `optimizer.step\\(\\)`"
pytestmark = pytest.mark.filterwarnings("ignore:.*returned `None`", BEFORE)


def line_data():
    """16 batches of 32 points around a line."""
    x = torch.randn(512, 9, generator=torch.Generator().manual_seed(1))
    return TensorDataset(x[:, :8], x[:, :8].sum(1, keepdim=True) + x[:, 8:])


class Line(pl.LightningModule):
    """Least squares on 16 batches an epoch; it diverges at high rates."""

    def __init__(self, lr=0.02, optimizer=torch.optim.SGD, scheduler=None, shift=0.0, interval="step"):
        super().__init__()
        self.save_hyperparameters("lr")
        self.layer = torch.nn.Linear(8, 1, bias=False)
        torch.nn.init.zeros_(self.layer.weight)
        self.lr, self.kind, self.scheduler, self.shift, self.interval = lr, optimizer, scheduler, shift, interval

    def training_step(self, batch, batch_idx):
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


class Known(BoringModel):
    """Its loss is the number in the batch, whatever the weights: 0, 1, 4, ... to 36."""

    def training_step(self, batch, batch_idx):
        return {"loss": self.layer.weight.sum() * 0 + batch[0].mean(), "extra": 1}

    def train_dataloader(self):
        return DataLoader(TensorDataset(torch.arange(7.0)[:, None] ** 2), batch_size=1)


class Rates(pl.Callback):
    """Records the rates of every training step, without those of the sweep."""

    def __init__(self):
        self.seen = []

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.seen.append([group["lr"] for of in trainer.optimizers for group in of.param_groups])


def finder(**arguments):
    """Without trials, and without a word where it fails."""
    of_sweep = {"min_lr": 1e-4, "max_lr": 10.0, "num_steps": 60, "trial_steps": 0, "on_failure": "raise"}
    return LRFinder(**of_sweep | arguments)


def swept(trainer, model, options=None, **arguments):
    """The result of a sweep that runs to its end over 20 rates."""
    callback = finder(**{"apply": False, "num_steps": 20, "stop_factor": math.inf} | arguments)
    trainer(callback, **{"max_epochs": 1} | (options or {})).fit(model)
    return callback.result


def recorded(model, name):
    """A list to which `training_step` appends; it is not restored after the sweep."""
    before, seen = model.training_step, []

    def training_step(batch, batch_idx):
        seen.append(name(batch, batch_idx))
        return before(batch, batch_idx)

    model.training_step = training_step
    return seen


def rates_of(model, index=0):
    return [group["lr"] for group in model.trainer.optimizers[index].param_groups]


# Measuring


def losses_of_a_bare_loop(rates, factor, clip, precision):
    """The losses of the sweep over the line's batches, `factor` of them accumulated."""
    model, losses, batches = Line(), [], list(DataLoader(line_data(), batch_size=32))
    optimizer = torch.optim.SGD(model.parameters(), lr=1)
    for step, rate in enumerate(rates):
        window = []
        optimizer.zero_grad()
        for place in range(step * factor, (step + 1) * factor):
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
                loss = model.loss(batches[place % 16])
            (loss / factor).backward()
            window.append(loss.item())
        if clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        losses.append(sum(window) / factor)
    return losses


@pytest.mark.parametrize(
    ("factor", "clip", "precision"), [(1, None, "32-true"), (2, 0.5, "32-true"), (1, None, "bf16-mixed")]
)
def test_the_losses_are_those_of_a_bare_loop(factor, clip, precision, trainer):
    options = {"accumulate_grad_batches": factor, "gradient_clip_val": clip, "precision": precision}
    result = swept(trainer, Line(), options, max_lr=2.0, num_steps=60)
    assert result.lrs == pytest.approx(np.geomspace(1e-4, 2, 60).tolist())
    assert result.losses == pytest.approx(losses_of_a_bare_loop(result.lrs, factor, clip, precision), rel=1e-5)


@pytest.mark.parametrize(("window", "monitor"), [(3, "loss"), (12, None)])
def test_an_accumulated_loss_is_the_mean_over_its_window(window, monitor, trainer):
    result = swept(trainer, Known(), {"accumulate_grad_batches": window}, monitor=monitor)
    window = min(window, 7)  # an epoch ends a window
    numbers = [float(i % 7) ** 2 for i in range(20 * window)]
    assert result.losses == pytest.approx([sum(numbers[i * window : (i + 1) * window]) / window for i in range(20)])


def test_several_sweeps_continue_with_the_batches_and_begin_with_the_same_weights(trainer):
    numbers, seen = [float(i % 7) ** 2 for i in range(60)], recorded(model := Known(), lambda batch, index: index)
    assert swept(trainer, model, repeats=3).sweeps == [numbers[:20], numbers[20:40], numbers[40:]]
    assert seen[:20] == [i % 7 for i in range(20)], "indices stay within an epoch"
    first, second = swept(trainer, Line(), repeats=2, num_steps=60, stop_factor=2.0).sweeps
    place = 32 * (len(first) % 16)
    assert second[0] == pytest.approx(line_data().tensors[1][place : place + 32].square().mean().item(), rel=1e-6)


def test_shuffled_batches_differ_in_the_next_sweep(trainer):
    """Even if each sweep is exactly one epoch, whose order begins with a random number."""
    model, numbers = Known(), TensorDataset(torch.arange(21.0)[:, None])
    model.train_dataloader = lambda: DataLoader(numbers, batch_size=1, shuffle=True)
    first, second = swept(trainer, model, num_steps=21, repeats=2).sweeps
    assert sorted(first) == sorted(second) == list(range(21))
    assert first != second


def test_batches_and_windows_without_a_loss_are_replaced(trainer):
    class Skipping(Known):
        def training_step(self, batch, batch_idx):
            return None if batch[0].item() in (4.0, 25.0) else super().training_step(batch, batch_idx)

    assert swept(trainer, Skipping()).losses == [0.0, 1.0, 9.0, 16.0, 36.0] * 4
    assert swept(trainer, Skipping(), {"accumulate_grad_batches": 7}).losses == pytest.approx([62 / 5] * 20)


def test_an_epoch_whose_rest_the_module_skips_begins_again(trainer):
    indices, model = [], Known()
    model.on_train_batch_start = lambda batch, batch_idx: indices.append(batch_idx) or (-1 if batch_idx == 2 else None)
    assert swept(trainer, model).losses == [float(i % 7) ** 2 for i in range(30) if i % 3 != 2]
    assert indices[:29] == [i % 3 for i in range(29)]


def test_a_loss_that_is_only_logged_is_found_by_its_name_or_missed(trainer):
    class OnlyLogging(Line):
        def training_step(self, batch, batch_idx):
            super().training_step(batch, batch_idx)

    assert swept(trainer, Line()).losses == swept(trainer, Line(), monitor="train_loss").losses
    assert len(set(swept(trainer, OnlyLogging(), monitor="train_loss").losses)) == 16  # nothing is learned
    message = r"finds no loss in what OnlyLogging.training_step returns .*monitor=\.\.\.\); known here: train_loss"
    with pytest.raises(ValueError, match=message):
        trainer(finder(), max_epochs=1).fit(OnlyLogging())
    with pytest.raises(ValueError, match=r"finds no lost in what Line.*known here: loss, train_loss"):
        trainer(finder(monitor="lost"), max_epochs=1).fit(Line())


def test_the_loss_may_be_that_of_validation_batches_after_each_step(trainer):
    class Validated(Known):
        named = "val"

        def validation_step(self, batch, batch_idx):
            assert not self.training
            self.log_dict({self.named: 100 - batch[0].mean() - self.trainer.global_step, "accuracy": 0.5})

        def val_dataloader(self):
            return DataLoader(TensorDataset(torch.arange(3.0)[:, None]), batch_size=1)

    class Several(Validated):
        def validation_step(self, batch, batch_idx, dataloader_idx):
            super().validation_step(batch, batch_idx)

        def val_dataloader(self):
            return [super().val_dataloader(), super().val_dataloader()]

    result = swept(trainer, Validated(), {"limit_val_batches": 2}, on="val", monitor="val", num_steps=21)
    assert result.losses == [99.0 - step - step % 2 for step in range(21)]
    message = r"finds no loss in what Validated.validation_step returns .*known here: accuracy, val"
    with pytest.raises(ValueError, match=message):
        swept(trainer, Validated(), {"limit_val_batches": 2}, on="val")
    Validated.named = "loss/val"  # is known by its name
    assert swept(trainer, Validated(), {"limit_val_batches": 2}, on="val", num_steps=21).losses == result.losses
    several = swept(trainer, Several(), {"limit_val_batches": 2}, on="val", num_steps=21)
    assert several.losses == result.losses, "those of the first loader"
    with pytest.raises(ValueError, match="no validation loader as training starts"):
        swept(trainer, Validated(), on="val")


@pytest.mark.filterwarnings("ignore:You are using the `dataloader_iter`", "ignore:Found `dataloader_iter` argument")
def test_batches_that_cannot_be_read_twice_are_refused(trainer):
    class Fetching(BoringModel):
        def training_step(self, dataloader_iter):
            return self.step(next(dataloader_iter)[0])

    model = Line()
    model.train_dataloader = lambda: iter([[torch.zeros(4, 8), torch.zeros(4, 1)]])
    with pytest.raises(ValueError, match="cannot read batches from a list_iterator, which can be read only once"):
        trainer(finder(), max_steps=1).fit(model)
    with pytest.raises(ValueError, match="cannot sweep Fetching, because its training_step fetches the batches itself"):
        trainer(finder(), max_steps=1).fit(Fetching())


# Result, files and picture


def test_the_files_and_the_figure_hold_the_result(trainer, tmp_path, drawn):
    callback, logger = finder(apply=False, repeats=2), CSVLogger(tmp_path, name="a", version="b")
    trainer(callback, max_steps=1, logger=[logger, TensorBoardLogger(tmp_path / "tb")]).fit(Line())
    result, folder = callback.result, tmp_path / "a" / "b"
    with (folder / "lr_finder.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert 20 < len(rows) < len(result.lrs), "it was stopped"
    columns = {"lr": result.lrs[: len(rows)], "loss": result.losses, "smoothed": result.smoothed}
    columns |= {"loss_1": result.sweeps[0], "loss_2": result.sweeps[1]}
    assert {name: [float(row[name]) for row in rows if row[name]] for name in rows[0]} == columns
    numbers = json.loads((folder / "lr_finder.json").read_text(encoding="utf-8"))
    expected = {"suggestion": result.suggestion, "suggestions": result.suggestions}
    assert numbers | expected | {"status": "ok", "rule": DEFAULT_RULE, "points": len(rows)} == numbers
    pixels = imread(folder / "lr_finder.png")[..., :3] * 255
    assert abs(pixels - render(result.figure())).mean() < 1, "the file has 256 colours"
    (events,) = {path.parent for path in tmp_path.rglob("events.*")}
    assert [event.step for event in EventAccumulator(str(events)).Reload().Images("lr_finder")] == [0]
    (ax,) = result.figure().axes
    lines = {line.get_label(): line for line in ax.lines}
    assert [line.get_ydata().tolist() for line in ax.lines[:2]] == [result.losses, result.smoothed]
    for name, rate in result.suggestions.items():
        assert lines[f"{name} {rate:.2g}"].get_xdata() == rate
    assert any(label.startswith("diverged at") for label in lines)
    low, high = ax.get_ylim()
    assert low < min(result.smoothed) < result.smoothed[0] < high < max(result.losses), "the rise is cut off"


CURVE = [3.0] * 40 + [3.0 - 0.1 * step for step in range(20)] + [1.0] * 10 + [1.0 + step for step in range(5)]
LRS = [1e-4 * 1.1**step for step in range(100)]


@pytest.mark.parametrize(
    ("weak", "status"),
    [([3.0 + 0.01 * (-1) ** step for step in range(100)], "never_descended"), ([math.nan], "too_few_points")],
)
def test_a_sweep_that_shows_nothing_is_outvoted_and_alone_says_why(weak, status):
    alone = LRFinderResult.of(LRS, [CURVE], DEFAULT_RULE)
    both = LRFinderResult.of(LRS, [CURVE, weak, CURVE], DEFAULT_RULE)
    assert alone.status == both.status == "ok"
    assert both.suggestions == pytest.approx(alone.suggestions)
    outvoted = LRFinderResult.of(LRS, [CURVE, weak, weak], DEFAULT_RULE)
    assert (outvoted.suggestion, outvoted.status) == (None, status)


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_a_sweep_ends_at_a_nan_or_infinite_loss(value, trainer):
    model, callback = Line(), finder(apply=False)
    loss = model.loss
    model.loss = lambda batch: loss(batch) * (value if rates_of(model)[0] > 0.1 else 1)
    trainer(callback, max_steps=1).fit(model)
    result = callback.result
    assert [math.isfinite(loss) for loss in result.losses] == [True] * (len(result.losses) - 1) + [False]
    assert result.lrs[len(result.losses) - 2] <= 0.1 < result.lrs[len(result.losses) - 1]
    assert (result.status, 0 < result.suggestion <= 0.1) == ("ok", True)
    assert torch.isfinite(model.layer.weight).all()


CURVES = {  # status: (model, arguments, what to do)
    "too_few_points": (lambda: Line(shift=math.nan), {}, "give a lower min_lr or more num_steps"),
    "never_descended": (lambda: Line(shift=1e8), {}, "more num_steps see through its noise"),
    "never_diverged": (lambda: Line(), {"max_lr": 0.2, "num_steps": 150}, "a higher max_lr may show a better rate"),
    "minimum_at_edge": (lambda: Line(), {"max_lr": 0.02, "num_steps": 150}, "give a wider range"),
}


@pytest.mark.parametrize("status", CURVES)
def test_every_status_says_what_to_do_and_only_a_suggestion_is_applied(status, trainer, tmp_path):
    make, arguments, advice = CURVES[status]
    callback, model = finder(**arguments), make()
    if status == "never_diverged":
        trainer(callback, max_steps=1).fit(model)
        assert rates_of(model) == [callback.result.suggestion]
    else:
        with pytest.raises(ValueError, match=f"no learning rate to suggest: .*{advice}"):
            trainer(callback, max_steps=1).fit(model)
        assert (rates_of(model), callback.result.suggestion) == ([0.02], None)
    assert (callback.result.status, advice in callback.result.reason) == (status, True)
    assert json.loads((tmp_path / "lr_finder.json").read_text(encoding="utf-8"))["status"] == status
    assert callback.result.reason == callback.result.figure().axes[0].get_title().replace("\n", " ")


# Applying the rate


def test_a_training_at_the_rate_found_equals_one_with_that_rate_configured(trainer):
    callback, found = finder(rule="valley"), Line(optimizer=torch.optim.AdamW)
    trainer(callback, max_steps=20).fit(found)
    suggestion = callback.result.suggestion
    assert suggestion == callback.result.suggestions["valley"] == found.hparams["lr"] == found.lr
    trainer(max_steps=20).fit(configured := Line(suggestion, torch.optim.AdamW))
    assert torch.equal(found.layer.weight, configured.layer.weight)
    other = Line()
    other.learning_rate, other.hparams["lr"] = 0.5, 0.7  # not the rate that is replaced
    trainer(finder(), max_steps=1).fit(other)
    assert (other.learning_rate, other.hparams["lr"], other.lr) == (0.5, 0.7, rates_of(other)[0])


class Grouped(Line):
    """Two groups, the first at a tenth of the rate; with `cycle` a CyclicLR whose peaks are as 4 to 1."""

    def __init__(self, cycle):
        super().__init__()
        self.first, self.cycle = torch.nn.Linear(8, 1, bias=False), cycle

    def configure_optimizers(self):
        first = {"params": self.first.parameters(), "lr": 0.001}
        optimizer = torch.optim.SGD([first, {"params": self.layer.parameters()}], lr=0.01)
        if not self.cycle:
            return optimizer
        lows, highs = [0.001, 0.01], [0.2, 0.05]
        cycle = schedulers.CyclicLR(optimizer, lows, highs, step_size_up=2, cycle_momentum=False)
        return [optimizer], [{"scheduler": cycle, "interval": "step"}]


@pytest.mark.parametrize(("cycle", "apply"), [(False, True), (False, False), (True, True)])
def test_groups_keep_the_ratio_of_their_rates_or_of_their_peaks(cycle, apply, trainer):
    model, callback = Grouped(cycle), finder(apply=apply)
    seen = recorded(model, lambda batch, batch_idx: rates_of(model))
    trainer(callback, max_steps=3).fit(model)
    lrs, top = callback.lrs[: len(seen) - 3], callback.result.suggestion if apply else 0.01
    assert [max(rates) for rates in seen[:-3]] == lrs
    assert [min(rates) for rates in seen[:-3]] == pytest.approx([rate / (4 if cycle else 10) for rate in lrs])
    assert seen[-1] == pytest.approx([top, top / 4] if cycle else [top / 10, top])
    assert seen[-3] == pytest.approx([top * 0.005, top * 0.05] if cycle else [top / 10, top])


def test_a_rate_that_is_a_tensor_stays_that_tensor(trainer):
    model = Line()
    model.kind = lambda weights, lr: torch.optim.AdamW(
        [{"params": [weight]} for weight in [*weights, torch.nn.Parameter(torch.zeros(1))]], lr=torch.tensor(lr)
    )
    callback, rates = finder(), Rates()
    trainer(callback, rates, max_steps=1).fit(model)
    first, second = rates.seen[0]
    assert isinstance(first, torch.Tensor)
    assert first.item() == second.item() == pytest.approx(callback.result.suggestion)


def sequence(optimizer, lr):
    warmup, steps = schedulers.LinearLR(optimizer, 0.1, total_iters=4), schedulers.StepLR(optimizer, 3)
    return schedulers.SequentialLR(optimizer, [warmup, steps], milestones=[4])


SCHEDULERS = {
    "CosineAnnealingLR": lambda of, lr: schedulers.CosineAnnealingLR(of, 20, eta_min=1e-5),
    "OneCycleLR": lambda of, lr: schedulers.OneCycleLR(of, lr, 30),
    "CyclicLR": lambda of, lr: schedulers.CyclicLR(of, lr / 10, lr, step_size_up=5, cycle_momentum=False),
    "ChainedScheduler of SequentialLR": lambda of, lr: schedulers.ChainedScheduler(
        [sequence(of, lr), schedulers.ExponentialLR(of, 0.9)]
    ),
    "ReduceLROnPlateau": lambda of, lr: schedulers.ReduceLROnPlateau(of, patience=0, factor=0.5),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_schedule_is_the_one_with_the_rate_configured(name, trainer):
    interval = "epoch" if name == "ReduceLROnPlateau" else "step"
    optimizer = torch.optim.AdamW if name == "OneCycleLR" else torch.optim.SGD

    def rates(lr, *callbacks):
        model, seen = Line(lr, optimizer, SCHEDULERS[name], interval=interval), Rates()
        fits = trainer(*callbacks, seen, max_epochs=10, max_steps=24, limit_train_batches=8, limit_val_batches=1)
        fits.fit(model)
        last = [float(rate) for config in fits.lr_scheduler_configs for rate in config.scheduler.get_last_lr()]
        return [float(rate) for (rate,) in seen.seen] + last

    callback = finder()
    found = rates(0.003, callback)
    suggestion = callback.result.suggestion
    assert found == pytest.approx(rates(suggestion), rel=1e-12)
    assert len(set(found)) > 2
    assert max(found) == pytest.approx(suggestion) or "Chained" in name  # its factors fall before the peak
    assert suggestion != 0.003


class WithUnknown(Line):
    """Its scheduler is of another library."""

    def configure_optimizers(self):
        methods = {"step": lambda: None, "state_dict": dict, "load_state_dict": lambda state: None}
        return [optimizer := super().configure_optimizers()], [SimpleNamespace(optimizer=optimizer, **methods)]

    def lr_scheduler_step(self, scheduler, metric):
        scheduler.step()


def test_a_rate_that_cannot_be_applied_is_refused_before_the_sweep(trainer):
    seen = recorded(model := WithUnknown(), lambda *_: 1)
    with pytest.raises(ValueError, match=r"SimpleNamespace .* no base_lrs .* LRFinder\(apply=False\)"):
        trainer(finder(), max_steps=1).fit(model)
    assert not seen
    with pytest.warns(UserWarning, match=r"LRFinder\(apply=False\) and set the rate yourself. Training keeps the conf"):
        trainer(finder(on_failure="keep"), max_steps=1).fit(model)
    assert (len(seen), rates_of(model)) == (1, [0.02])
    callback = finder(apply=False)
    trainer(callback, max_steps=1).fit(model)
    assert (callback.result.status, rates_of(model), model.hparams["lr"]) == ("ok", [0.02], 0.02)
    with pytest.raises(ValueError, match="cannot scale the optimizer's rates, because all are 0"):
        trainer(finder(), max_steps=1).fit(Line(0.0))


# Several optimizers


class Gan(pl.LightningModule):
    """Manual optimization of two optimizers; the second one's scheduler is stepped too early."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.first, self.second = (torch.nn.Linear(8, 1, bias=False) for _ in range(2))

    def training_step(self, batch, batch_idx):
        for number, (part, optimizer) in enumerate(zip((self.first, self.second), self.optimizers(), strict=True)):
            loss = (part(batch[0]) - batch[1]).square().mean()
            optimizer.zero_grad()
            self.manual_backward(loss)
            if number:
                self.lr_schedulers().step()
            optimizer.step()
            self.log(f"loss_{number}", loss)

    def configure_optimizers(self):
        first = torch.optim.SGD(self.first.parameters(), lr=0.05)
        second = torch.optim.SGD(self.second.parameters(), lr=0.01)
        return [first, second], [schedulers.StepLR(second, 2, 0.5)]

    def train_dataloader(self):
        return DataLoader(line_data(), batch_size=32)


def test_each_of_two_optimizers_is_swept_by_its_own_finder(trainer, tmp_path):
    model, stepped = Gan(), ([], [])
    optimizers, scheduler = model.configure_optimizers()
    for optimizer, seen in zip(optimizers, stepped, strict=True):
        optimizer.register_step_post_hook(lambda of, *_, seen=seen: seen.append(of.param_groups[0]["lr"]))
    model.configure_optimizers = lambda: (optimizers, scheduler)
    first, second = (finder(optimizer=number, monitor=f"loss_{number}") for number in (0, 1))
    trainer(first, second, max_epochs=1, limit_train_batches=5).fit(model)
    middle = len(first.result.losses)
    end, found = middle + len(second.result.losses), (first.result.suggestion, second.result.suggestion)
    assert stepped[0] == [*first.lrs[:middle], *[found[0]] * (end - middle + 5)]
    assert stepped[1][middle:end] == second.lrs[: end - middle]
    assert stepped[1][end:] == [found[1], found[1] / 2, found[1] / 2, found[1] / 4, found[1] / 4]
    assert {path.name for path in tmp_path.glob("*.csv")} == {"lr_finder.csv", "lr_finder_optimizer1.csv"}
    assert first.state_key != second.state_key
    with pytest.raises(ValueError, match="optimizer is 2, and Gan has 2; give an index from 0 to 1"):
        trainer(finder(optimizer=2), max_steps=1).fit(Gan())


# Resuming


def end_of(model):
    state = model.trainer._checkpoint_connector.dump_checkpoint(False)
    return {name: str(value) for name, value in state.items() if name != "callbacks"}


def test_a_resumed_training_has_the_result_and_no_second_sweep(trainer, tmp_path):
    def fit(*more, **options):
        pl.seed_everything(2)
        model, callback, rates = Line(0.003, torch.optim.AdamW, SCHEDULERS["CosineAnnealingLR"]), finder(), Rates()
        steps_of = recorded(model, lambda *_: model.trainer.global_step)
        trainer(callback, rates, *more, max_epochs=2, enable_checkpointing=bool(more)).fit(model, **options)
        return model, callback.result, steps_of, rates.seen

    saved = tmp_path / "saved" / "epoch=0.ckpt"
    saver = ModelCheckpoint(saved.parent, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
    unbroken, result, steps, rates = fit(saver)
    assert steps == [*range(len(result.losses)), *range(32)]
    resumed, again, steps, after = fit(ckpt_path=saved)
    assert steps == list(range(16, 32))
    assert (again, after) == (result, rates[16:])
    assert end_of(unbroken) == end_of(resumed)
    assert resumed.lr == resumed.hparams["lr"] == result.suggestion


def test_a_checkpoint_without_a_finder_is_resumed_without_a_sweep(trainer, tmp_path):
    trainer(max_steps=5).fit(before := Line())
    before.trainer.save_checkpoint(tmp_path / "end.ckpt")
    model, callback = Line(), finder()
    seen = recorded(model, lambda *_: model.trainer.global_step)
    trainer(callback, max_steps=8).fit(model, ckpt_path=tmp_path / "end.ckpt")
    assert (seen, callback.result) == ([5, 6, 7], None)


def test_the_next_fit_of_a_trainer_uses_the_rate_found_and_a_new_trainer_sweeps_again(trainer):
    model, callback = Line(), finder()
    model.configure_optimizers = lambda: torch.optim.SGD(model.parameters(), lr=0.001)  # not its hyperparameter
    fits = trainer(callback, max_steps=4)
    fits.fit(model)
    result = callback.result
    fits.fit_loop.epoch_loop.max_steps = 6
    fits.fit(model)  # with new optimizers
    assert callback.result is result
    assert rates_of(model) == [result.suggestion]
    trainer(callback, max_steps=1).fit(Line(shift=2.0))
    assert callback.result.losses[0] == pytest.approx(result.losses[0] + 2)


# Leaving no trace


class BeforeAndAfter(pl.Callback):
    """Looks at the training before the sweep, and after it has failed."""

    def on_train_start(self, trainer, module):
        self.before = self.look(trainer, module)

    def on_exception(self, trainer, module, exception):
        self.after = self.look(trainer, module)

    def look(self, trainer, module):
        parts = [*trainer.callbacks, *trainer.loggers, trainer.profiler, pl.LightningModule.log]
        return [id(part) for part in parts], end_of(module), torch.get_rng_state().tolist()


@pytest.mark.parametrize("last", [12, 50], ids=["sweep", "trial"])
def test_ctrl_c_during_the_search_leaves_everything_as_it_was(last, trainer, tmp_path):
    class Ending(Line):
        def loss(self, batch):
            if self.trainer.global_step == last:
                raise KeyboardInterrupt
            return super().loss(batch) + torch.rand(1)

    look, callback = BeforeAndAfter(), finder(num_steps=40, trial_steps=60)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        trainer(look, callback, LearningRateMonitor(), max_steps=1, logger=CSVLogger(tmp_path)).fit(Ending())
    assert look.before == look.after
    assert callback.result is None
