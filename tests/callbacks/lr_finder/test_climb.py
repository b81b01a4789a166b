"""Trials: the climb on given losses, and in trainings, with their schedules."""

import json
import math
import signal
from types import SimpleNamespace

import lightning.pytorch as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch.callbacks import Timer
from torch.optim import lr_scheduler as schedulers
from torch.utils.data import DataLoader, TensorDataset

from charlm.callbacks import GracefulStop, LRFinder, StepDecay
from charlm.callbacks.graceful_stop import Stopped
from charlm.callbacks.lr_finder.climb import climb
from charlm.callbacks.lr_finder.horizon import horizon

pytestmark = pytest.mark.filterwarnings("ignore:.*`lr_scheduler.step\\(\\)` before `optimizer.step\\(\\)`")


def bowl(best, most=math.inf):
    """Trials whose loss falls to a parabola in the number of decades from the best rate; above `most` they diverge."""
    return lambda rate, steps: (
        [30.0] * 10 + [math.log10(rate / best) ** 2] * (steps - 10) if rate <= most else [math.nan]
    )


@given(st.floats(-4, 0), st.floats(-2, 2))
def test_the_climb_ends_at_the_best_rate_wherever_it_begins(exponent, away):
    best = 10**exponent
    assert climb(bowl(best), best * 10**away).rate == pytest.approx(best, rel=0.2)


def test_a_start_that_diverges_leads_down_and_nothing_finite_to_no_rate():
    assert climb(bowl(1e-3, most=0.02), 1.0).rate == pytest.approx(1e-3, rel=1e-6)
    lost = climb(bowl(1.0, most=0.0), 1.0)
    assert (lost.rate, lost.suggestion, len(lost.trials)) == (None, None, 12)
    assert [trial.loss for trial in lost.trials] == [math.inf] * 12


def test_on_a_plateau_longer_trials_of_the_highest_stable_rate_decide():
    def leaves_late(rate, steps):
        on_plateau = 3 + 0.01 * abs(math.log10(rate) + 3)  # looks best at 0.001
        losses = [3.1] * 10 + [on_plateau if rate * step < 250 else 1.0 for step in range(10, steps)]
        return losses if rate < 2 else [math.nan]

    found = climb(leaves_late, 1e-3, steps=1000)
    assert (found.rate, {trial.steps for trial in found.trials}) == (pytest.approx(1.0), {200, 400})
    assert climb(leaves_late, 1e-3, steps=300).rate == pytest.approx(1e-3)  # no trial is longer than the training


def line():
    x = torch.randn(2048, 9, generator=torch.Generator().manual_seed(1))
    return DataLoader(TensorDataset(x[:, :8], x[:, :8].sum(1, keepdim=True) + 0.3 * x[:, 8:]), batch_size=32)


class Line(pl.LightningModule):
    """Least squares; with `shift` its loss is below 0."""

    def __init__(self, lr=1e-3, schedule=None, shift=0.0):
        super().__init__()
        self.save_hyperparameters("lr")
        self.layer = torch.nn.Linear(8, 1)
        torch.nn.init.zeros_(self.layer.weight)
        self.lr, self.schedule, self.shift = lr, schedule, shift

    def training_step(self, batch, batch_idx):
        return (self.layer(batch[0]) - batch[1]).square().mean() + self.shift

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=self.lr)
        if self.schedule is None:
            return optimizer
        scheduler, interval = self.schedule(optimizer)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": interval}}

    def train_dataloader(self):
        return line()


def finder(**arguments):
    return LRFinder(**{"num_steps": 60, "trial_steps": 30} | arguments)


def loss_of_bare_loop(rates):
    """The mean over the last third."""
    torch.manual_seed(0)
    model, losses = Line(), []
    optimizer = model.configure_optimizers()
    for rate, batch in zip(rates, [*line(), *line()], strict=False):
        losses.append(model.training_step(batch, 0))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
    return sum(loss.item() for loss in losses[-(len(rates) // 3) :]) / (len(rates) // 3)


def test_trials_are_trainings_on_the_schedule_of_the_training_and_the_best_rate_is_used(trainer, tmp_path):
    torch.manual_seed(0)
    callback = finder()
    model = Line(schedule=lambda of: (schedulers.LinearLR(of, 1.0, 0.0, total_iters=90), "step"))
    trainer(callback, max_steps=90).fit(model)
    result = callback.result
    for trial in result.climb.trials:
        rates = [trial.rate * (1 - (3 * step + 1) / 90) for step in range(30)]
        assert trial.loss == pytest.approx(loss_of_bare_loop(rates), rel=1e-4)
    losses = {trial.rate: trial.loss for trial in result.climb.trials}
    best = min(losses, key=losses.get)
    assert best / 10**0.25 <= result.climb.rate <= best * 10**0.25
    assert model.lr == model.hparams["lr"] == result.suggestion
    assert repr(result).startswith(f"LRFinderResult: learning rate {result.suggestion:.3g}\n  the best of ")
    assert f"times {result.climb.factor:.2g} for 90 steps" in result.reason or result.climb.factor == 1
    numbers = json.loads((tmp_path / "lr_finder.json").read_text())
    assert [trial["rate"] for trial in numbers["climb"]["trials"]] == list(losses)
    other = LRFinder()
    other.load_state_dict(callback.state_dict())
    assert other.results == callback.results


def shares(schedule, trainer, *callbacks, **options):
    """The schedule of a training at every tenth of it."""
    model = Line(schedule=schedule)
    look = SimpleNamespace()

    class Look(pl.Callback):
        def on_train_start(self, trainer, module):
            look.steps, points = horizon(trainer, module, trainer.optimizers[0])
            look.points = [points[place * len(points) // 10] for place in range(10)]

    fits = trainer(Look(), *callbacks, limit_train_batches=5, **{"max_epochs": 20} | options)
    fits.fit(model)
    return look.steps, look.points


def test_the_schedule_of_a_training_is_known_before_it(trainer):
    half, one = [1.0] * 5 + [0.1] * 5, [1.0] * 10
    assert shares(lambda of: (schedulers.StepLR(of, 50), "step"), trainer) == (100, pytest.approx(half))
    assert shares(lambda of: (schedulers.StepLR(of, 10), "epoch"), trainer) == (100, pytest.approx(half))
    assert shares(None, trainer, StepDecay([0.5], unit="fraction")) == (100, pytest.approx(half))
    assert shares(None, trainer) == (100, one)
    unknown = shares(lambda of: (schedulers.StepLR(of, 5), "step"), trainer, Timer("00:00:00:01"), max_epochs=-1)
    assert unknown == (math.inf, one)
    rises = shares(lambda of: (schedulers.OneCycleLR(of, 1e-3, 100), "step"), trainer)[1]
    assert rises[0] == pytest.approx(0.04, rel=0.01)
    assert max(rises) == rises[3] == pytest.approx(1.0, rel=0.01)
    noam = schedulers.LambdaLR
    assert shares(lambda of: (noam(of, lambda step: 1e-3 * min(1, step / 50)), "step"), trainer)[1][-1] == 1e-3


def test_a_step_that_raises_at_a_high_rate_counts_as_diverged(trainer):
    class Strict(Line):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            if loss > 1e6:
                raise ValueError("loc is no real number")
            return loss

    callback = finder()
    trainer(callback, max_steps=1).fit(Strict())
    assert 1e-3 < callback.result.suggestion < 1


def test_an_error_of_any_kind_ends_the_search_alone(trainer):
    class Uncopied(list):
        def __copy__(self):
            raise TypeError("cannot be copied")

    model = Line()
    model.train_dataloader = lambda: Uncopied(line())
    with pytest.warns(UserWarning, match=r"failed with TypeError\('cannot be copied'\). Training keeps the configured"):
        trainer(finder(), max_steps=2).fit(model)
    assert (model.lr, model.trainer.global_step) == (1e-3, 2)


def test_a_training_without_a_rate_keeps_its_own_and_says_why(trainer):
    class Broken(Line):
        factor = math.nan

        def training_step(self, batch, batch_idx):
            return super().training_step(batch, batch_idx) * self.factor

    class Still(Broken):
        factor = 1e-30

    with pytest.warns(UserWarning, match=r"the loss stayed as it was in each of 12 trials.* keeps the configured"):
        trainer(finder(), max_steps=2).fit(Still())
    with pytest.warns(UserWarning, match=r"NaN or infinite in each of 12 trials, at rates .* keeps the configured"):
        trainer(callback := finder(), max_steps=2).fit(model := Broken())
    assert (model.lr, model.trainer.global_step, callback.result.suggestion) == (1e-3, 2, None)
    with pytest.raises(ValueError, match="no learning rate to suggest"):
        trainer(finder(on_failure="raise"), max_steps=2).fit(Broken())


def test_a_signal_amid_a_later_search_stops_before_its_epoch_and_the_resumed_training_has_the_search(trainer):
    def fit(kind, **more):
        torch.manual_seed(0)
        callback, model = finder(at_epochs=[1]), kind()
        trainer(GracefulStop(), callback, max_epochs=2, limit_train_batches=5).fit(model, **more)
        return callback.result.suggestion, model.trainer.global_step, [p.tolist() for p in model.parameters()]

    class Signalled(Line):
        def training_step(self, batch, batch_idx):
            if self.trainer.current_epoch == 1:
                signal.raise_signal(signal.SIGTERM)
            return super().training_step(batch, batch_idx)

    with pytest.raises(Stopped) as stopped:
        fit(Signalled)
    assert stopped.value.step == 5
    assert fit(Line, ckpt_path=stopped.value.file) == fit(Line)


def test_a_state_of_before_the_climb_is_loaded():
    curve = [3.0] * 20 + [3 - step / 10 for step in range(20)] + [1 + step / 10 for step in range(20)]
    lrs = [1e-4 * 1.2**step for step in range(60)]
    old = {"lrs": lrs, "sweeps": [curve], "rule": "half_depth", "replaced": 0.1}
    for trial in (None, {"high": [1.0], "low": [1.0]}):
        callback = LRFinder()
        callback.load_state_dict(old | {"trial": trial})
        assert callback.result.suggestion == callback.result.suggestions["half_depth"]


def test_later_epochs_start_from_the_weights_and_the_schedule_of_then(trainer, tmp_path):
    seen = []

    class Look(pl.Callback):
        def on_train_epoch_end(self, trainer, module):
            seen.append(
                (trainer.optimizers[0].param_groups[0]["lr"], trainer.lr_scheduler_configs[0].scheduler.base_lrs)
            )

    callback = finder(at_epochs=[2])
    model = Line(schedule=lambda of: (schedulers.StepLR(of, 1, 0.5), "epoch"))
    trainer(callback, StepDecay([]), Look(), max_epochs=4).fit(model)
    found = callback.results[2].suggestion
    assert seen == [(5e-4, [1e-3]), (2.5e-4, [1e-3]), (found / 8, [found]), (found / 16, [found])]
    assert [*callback.results] == [2]
    with pytest.warns(UserWarning, match="cannot change the rates of StepDecay after the start"):
        trainer(finder(at_epochs=[1]), StepDecay([5]), max_epochs=2, limit_train_batches=5).fit(Line())
    assert {path.name for path in tmp_path.glob("*.png")} <= {"lr_finder_epoch2.png"}
    assert callback.results[2].losses[0] < 7.5  # of new weights


def test_after_several_searches_a_resumed_training_has_the_latest_rate_as_its_hyperparameter(trainer, tmp_path):
    options = {"limit_train_batches": 5, "max_epochs": 4}
    trainer(callback := finder(at_epochs=[0, 2]), **options | {"max_epochs": 3}).fit(model := Line())
    model.trainer.save_checkpoint(tmp_path / "third.ckpt")
    trainer(resumed := finder(at_epochs=[0, 2]), **options).fit(again := Line(), ckpt_path=tmp_path / "third.ckpt")
    assert (
        again.lr == again.hparams["lr"] == model.lr == callback.results[2].suggestion != callback.results[0].suggestion
    )
    assert resumed.results == callback.results


def test_the_time_of_the_search_is_not_that_of_the_training(trainer):
    timer = Timer("00:01:00:00")

    class Slow(pl.Callback):
        def on_train_start(self, trainer, module):
            timer._start_time["train"] -= 100

        def on_train_batch_start(self, trainer, *_):
            self.elapsed = timer.time_elapsed()

    slow = Slow()
    trainer(timer, slow, finder(), max_steps=1).fit(Line())
    assert 100 <= slow.elapsed < 100.5
