import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charlm.callbacks.lr_finder.rules import (
    MIN_POINTS,
    RULES,
    STOP_FACTOR,
    Divergence,
    diagnose,
    half_depth,
    smooth,
)


def ladder(n, low=1e-6, high=10.0):
    return [low * (high / low) ** (i / (n - 1)) for i in range(n)]


def curve(n=300, start=3.3, best=2.5, down=0.5, bottom=0.7, up=0.8, top=5.0):
    """Flat, straight down, flat, straight up; the corners in shares of the sweep."""
    return np.interp(np.linspace(0, 1, n), [0, down, bottom, up, 1], [start, start, best, best, top]).tolist()


def noisy(seed, n=300, noise=0.05):
    return (np.array(curve(n)) + np.random.default_rng(seed).normal(0, noise, n)).tolist()


def until_stop(losses, stop_factor=STOP_FACTOR):
    divergence = Divergence(stop_factor)
    return next((i for i, loss in enumerate(losses) if divergence.update(loss)), None)


def test_half_depth_by_hand():
    """Down through 2.9 at 0.6 of the sweep; up through it, from 2.5 at 0.8 to 5.0 at 1, at 0.832."""
    n = 1001
    lrs, per_efold = ladder(n), 1000 / math.log(1e7)
    learns, too_high = 1e-6 * 1e7**0.6 * per_efold / 60, 1e-6 * 1e7**0.832
    assert half_depth(lrs, curve(n)) == pytest.approx((learns**2 * too_high) ** (1 / 3), rel=0.05)


def test_outliers_hardly_move_half_depth():
    losses, clean = curve(), half_depth(ladder(300), curve())
    losses[40] = losses[170] = 0.0
    assert half_depth(ladder(300), losses) == pytest.approx(clean, rel=0.05)


def test_the_minimum_is_that_of_the_running_mean():
    """The running mean lags: its lowest point is the last at which the loss is still below it."""
    lrs, losses = ladder(300), curve()
    weights = [0.98**i for i in range(300)]
    mean = [np.average(losses[: i + 1], weights=weights[i::-1]) for i in range(300)]
    at = 30 + int(np.argmin(mean[30:-5]))
    assert RULES["minimum_tenth"](lrs, losses) == pytest.approx(lrs[at] / 10)
    assert RULES["minimum_tenth"](ladder(40, 0.5, 1.0), curve(40)) == 0.5  # no less than the first rate


def test_steepest_is_where_a_lone_step_down_is():
    losses = [3.0] * 60 + [2.0] * 40
    assert RULES["steepest"](ladder(100), losses) == pytest.approx(ladder(100)[59])


def test_valley_by_hand():
    """Of 90 points, 9 to 84 count. All 76 fall: the end is 75, the start -1, and 25 + 12 steps on is point 36."""
    losses = [3.0 - 0.01 * i for i in range(90)]
    assert RULES["valley"](ladder(90), losses) == pytest.approx(ladder(90)[9 + 36])


@pytest.mark.parametrize(("rule", "least"), [("half_depth", 20), ("steepest", 7), ("valley", 7), ("minimum_tenth", 6)])
def test_a_rule_says_how_many_points_it_needs(rule, least):
    losses = curve(least)
    assert math.isfinite(RULES[rule](ladder(least), losses))
    with pytest.raises(ValueError, match=rf"{rule} needs {least} points .* has {least - 1}; use more num_steps"):
        RULES[rule](ladder(least)[:-1], losses[:-1])


@pytest.mark.parametrize("losses", [[3.0] * 100, [3.0 + 0.01 * i for i in range(100)]])
def test_half_depth_says_that_there_is_no_descent(losses):
    with pytest.raises(ValueError, match=r"half_depth finds no descent: .* sweep other rates"):
        half_depth(ladder(100), losses)


curves = st.builds(noisy, st.integers(0, 10**6), st.integers(60, 300), st.sampled_from([0.0, 0.02, 0.1]))


@given(curves, st.sampled_from(sorted(RULES)), st.floats(0.001, 1000))
@settings(max_examples=50)
def test_a_suggestion_lies_within_the_sweep_and_scales_with_the_rates(losses, rule, factor):
    lrs = ladder(len(losses))
    suggestion = RULES[rule](lrs, losses)
    assert lrs[0] <= suggestion <= lrs[-1]
    assert RULES[rule]([factor * lr for lr in lrs], losses) == pytest.approx(factor * suggestion)


@given(curves, st.floats(0.01, 100), st.floats(-100, 100), st.floats(0.001, 1000))
@settings(max_examples=50)
def test_shift_and_scale_of_the_loss_do_not_matter_and_scale_of_the_rates_does(losses, scale, shift, factor):
    lrs = ladder(len(losses))
    other, others = [factor * lr for lr in lrs], [scale * loss + shift for loss in losses]
    assert half_depth(other, others) == pytest.approx(factor * half_depth(lrs, losses), rel=0.06)
    assert diagnose(other, others, False) == diagnose(lrs, losses, False)


@given(st.lists(st.floats(-1e6, 1e6), max_size=60), st.floats(-1e3, 1e3))
def test_smoothing_keeps_the_number_of_points_and_constants(losses, level):
    smoothed = smooth(losses)
    assert len(smoothed) == len(losses)
    assert all(math.isfinite(loss) for loss in smoothed)
    assert smooth([level] * 30) == pytest.approx([level] * 30)


def test_neither_a_nan_nor_a_blow_up_changes_the_smoothed_losses_before_it():
    smoothed = smooth([*curve(50), math.nan, 1.0, math.inf])
    assert smoothed[:50] == smooth(curve(50))
    assert math.isnan(smoothed[50])
    assert smoothed[51:] == [1.0, math.inf]
    losses = curve(300, top=2.5)
    blown = [*losses[:295], *[1e30] * 5]
    assert smooth(blown)[:260] == pytest.approx(smooth(losses)[:260], abs=1e-3)


@pytest.mark.parametrize("shift", [0.0, -3.0, -1000.0])
@pytest.mark.parametrize(
    ("losses", "stopped_early", "status"),
    [
        (curve(), False, "ok"),
        (curve()[:270], True, "ok"),
        ([*curve(top=2.5), math.inf, math.inf], True, "ok"),
        (curve(top=2.5), False, "never_diverged"),
        (curve(bottom=1.0, up=1.001), False, "minimum_at_edge"),
        ([3.0] * 100, False, "never_descended"),
        ([3.0] * 50 + [4.0] * 50, True, "never_descended"),
        (np.random.default_rng(0).normal(3, 0.1, 100).tolist(), False, "never_descended"),
        (curve()[: MIN_POINTS - 1], False, "too_few_points"),
        ([3.0] * 5 + [math.nan] * 95, True, "too_few_points"),
        ([], False, "too_few_points"),
    ],
)
def test_diagnosis_of_a_sweep(losses, stopped_early, status, shift):
    losses = [loss + shift for loss in losses]
    assert diagnose(ladder(300)[: len(losses)], losses, stopped_early) == status


def test_rounding_does_not_stop_a_sweep_of_equal_losses():
    assert until_stop([0.1] * 300, stop_factor=0.01) is None


def stop_by_definition(losses, stop_factor):
    """Where a sweep stops, computed at each point from all losses so far."""
    for n in range(MIN_POINTS, len(losses) + 1):
        means = [np.average(losses[:k], weights=0.9 ** np.arange(k)[::-1]) for k in range(10, n + 1)]
        steps = np.abs(np.diff(losses[:n]))
        least = max(steps[: max(MIN_POINTS - 1, n - 11)])  # all but the last ten, and those of the first points
        if means[-1] > min(means) + stop_factor * max(np.mean(losses[:10]) - min(means), least):
            return n - 1
    return None


@pytest.mark.parametrize("seed", range(8))
def test_a_sweep_stops_where_the_definition_says(seed):
    random = np.random.default_rng(seed)
    drift = np.cumsum(random.normal(0, 0.2, 120)) + 0.3 * np.maximum(0, np.arange(120) - random.integers(10, 100))
    losses = [float(loss) for loss in drift + random.normal(0, random.choice([0.05, 0.5]), 120)]
    for stop_factor in (0.5, 2.0):
        assert until_stop(losses, stop_factor) == stop_by_definition(losses, stop_factor)
