"""Trials of a learning rate: on given lags, and on a net under Adam and under SGD."""

import json
import math

import lightning.pytorch as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

from charlm.callbacks.lr_finder.callback import LRFinder
from charlm.callbacks.lr_finder.trial import Trial

STEPS = 300


def trial(lag, steps=STEPS):
    """The lower rate lags behind by `lag(step)`, on a loss that falls for both."""
    high = [2 + 1 / step for step in range(1, steps + 1)]
    return Trial(high, [loss + lag(step) for step, loss in enumerate(high, start=1)])


@given(power=st.floats(0, 1.3) | st.floats(1.7, 8), size=st.floats(1e-3, 10), steps=st.integers(60, 500))
def test_a_rate_is_too_high_if_the_lag_shrinks_faster_than_the_steps_grow(power, size, steps):
    assert trial(lambda step: size * (step / steps) ** -power, steps).is_too_high is (power > 1.5)


@pytest.mark.parametrize(
    ("lag", "too_high"),
    [
        (lambda step: 0.1 - 0.001 * step, True),  # half the rate overtakes at step 100
        (lambda step: 1.0 if step <= 200 else 0.43, True),  # step ** -1.5 leaves 0.443 of the second third's mean
        (lambda step: 1.0 if step <= 200 else 0.46, False),
        (lambda step: 1.0 + 10 * (step == 100) if step <= 200 else 0.46, False),  # the first third does not count
        (lambda step: 1.0 + 10 * (step == 101) if step <= 200 else 0.46, True),
        (lambda step: -0.1 + 0.0005 * step, False),  # better at first, then worse
        (lambda step: 0.0, False),  # the same
        (lambda step: math.nan if step == STEPS else 1.0, True),
    ],
)
def test_the_end_of_the_trial_decides(lag, too_high):
    assert trial(lag).is_too_high is too_high


def test_a_rate_with_an_infinite_loss_is_too_high():
    ended = Trial([2.0, 9.0, math.inf], [2.0] * 300)
    assert (ended.is_too_high, ended.steps) == (True, 300)


class Table(pl.LightningModule):
    """The logits of 30 symbols after 30 others: Adam learns them fast, and then oscillates."""

    def __init__(self, optimizer):
        super().__init__()
        self.kind = optimizer
        self.logits = torch.nn.Embedding(30, 30)
        torch.nn.init.zeros_(self.logits.weight)

    def training_step(self, batch, batch_idx):
        return torch.nn.functional.cross_entropy(self.logits(batch[0]), batch[1])

    def configure_optimizers(self):
        return self.kind(self.parameters(), lr=1e-3)


def pairs():
    """4,096 pairs of symbols, the second drawn from a distribution that depends on the first."""
    generator = torch.Generator().manual_seed(0)
    before = torch.randint(30, (4096,), generator=generator)
    chances = (3 * torch.randn(30, 30, generator=generator)).softmax(1)
    return TensorDataset(before, torch.multinomial(chances[before], 1, generator=generator)[:, 0])


def found(trainer, optimizer, **options):
    """A finder after its sweep and its trial, and the model."""
    torch.manual_seed(0)
    finder, model = LRFinder(trial_steps=STEPS, **options), Table(optimizer)
    trainer(finder, max_steps=1).fit(model, DataLoader(pairs(), batch_size=32))
    return finder, model


def losses_of_a_bare_loop(lr):
    torch.manual_seed(0)
    model, losses = Table(torch.optim.Adam), []
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    batches = [batch for _ in range(3) for batch in DataLoader(pairs(), batch_size=32)][:STEPS]
    for batch in batches:
        losses.append(model.training_step(batch, 0))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    return [loss.item() for loss in losses]


def test_for_a_table_under_adam_a_quarter_is_suggested_and_used(trainer, tmp_path):
    finder, model = found(trainer, torch.optim.Adam)
    result, rate = finder.result, finder.result.suggestions["half_depth"]
    assert result.trial.high == pytest.approx(losses_of_a_bare_loop(rate), rel=1e-5)
    assert result.trial.low == pytest.approx(losses_of_a_bare_loop(rate / 2), rel=1e-5)
    assert result.lowered
    assert model.optimizers().param_groups[0]["lr"] == result.suggestion == pytest.approx(rate / 4)
    assert "of 300 steps half the rate of half_depth soon wins, so a quarter is suggested" in result.reason
    (file,) = tmp_path.rglob("lr_finder.json")
    assert json.loads(file.read_text())["trial"] == {"steps": STEPS, "lowered": True}
    assert f"after the trial: {result.suggestion:.3g}" in result.figure().axes[0].get_title()
    other = LRFinder()
    other.load_state_dict(finder.state_dict())
    assert other.result == result
    other.load_state_dict(finder.state_dict() | {"trial": None})
    assert other.result.suggestion == rate


def test_for_a_table_under_sgd_the_suggestion_stays(trainer):
    result = found(trainer, torch.optim.SGD, max_lr=100.0)[0].result
    assert not result.lowered
    assert result.suggestion == result.suggestions["half_depth"]
    assert "half the rate of half_depth only learns more slowly" in result.reason
