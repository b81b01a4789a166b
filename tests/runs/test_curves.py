import io

import numpy as np
import pytest

from charlm.runs.curves import MOST_RUNS, loss_curves, lowest, trailing_mean


def lines(figure):
    """The steps and losses of every curve, by colour; marks and the legend are no curves."""
    return [line for line in figure.axes[0].lines if len(line.get_xdata()) > 2]


def run(offset=0.0, points=10):
    steps = np.arange(points)
    return {"train": (steps, 2 + offset + 1 / (steps + 1)), "val": (steps[::3], 2.2 + offset + 0 * steps[::3])}


def test_no_two_runs_look_alike_and_one_more_is_refused():
    figure = loss_curves({str(i): {"val": ([0, 1, 2], [i, i, i])} for i in range(MOST_RUNS)})
    looks = {(line.get_color(), str(line.get_linestyle())) for line in lines(figure)}
    assert len(looks) == MOST_RUNS == 14
    with pytest.raises(ValueError, match="15 runs in one picture cannot be told apart; choose 14 at most"):
        loss_curves({str(i): run() for i in range(15)})


def test_each_run_has_its_colour_and_its_marks_and_shared_marks_are_drawn_once():
    shared, own = {5: "lr 0.1 → 0.01 at 5"}, {7: "lr 0.1 → 0.01 at 7"}
    figure = loss_curves({"a": run(), "b": run(0.1)}, {"a": shared | own, "b": shared})
    a_train, a_val, b_train, b_val = lines(figure)
    assert a_train.get_color() == a_val.get_color() != b_train.get_color() == b_val.get_color()
    assert list(a_train.get_ydata()) == list(run()["train"][1])
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["a: 2.2000", "b: 2.3000", "train", "val", "lowest val"]
    assert [text.get_text() for text in figure.axes[0].texts] == [shared[5], own[7]]
    inside = figure.axes[0].get_window_extent()
    assert not any(text.get_window_extent().overlaps(inside) for text in figure.axes[0].texts), "off the curves"


def test_losses_that_cannot_be_compared_have_panels_with_axes_of_their_own():
    runs = {"a": run(), "b": run(5), "c": run(0.1)}
    figure = loss_curves(runs, {"b": {5: "lr drops"}}, panels={"a": "one", "b": "two", "c": "one"})
    one, two = figure.axes
    assert [[text.get_text() for text in axes.texts] for axes in figure.axes] == [["one"], ["two", "lr drops"]]
    assert one.get_ylim()[1] < 4 < two.get_ylim()[0]
    colors = [[line.get_color() for line in axes.lines if line.get_linewidth() >= 2] for axes in figure.axes]
    assert (len(set(colors[0])), len(set(colors[0] + colors[1]))) == (2, 3)


def test_the_lowest_val_has_a_star_unless_low_is_not_good():
    values = [3.0, np.nan, 2.1, -np.inf, 2.5]
    for best, stars in ((True, [(20, 2.1)]), (False, [])):
        figure = loss_curves({"a": {"val": (range(0, 50, 10), values)}}, best=best)
        drawn = [(*line.get_xdata(), *line.get_ydata()) for line in figure.axes[0].lines if line.get_marker() == "*"]
        assert drawn == stars
    assert lowest(([1, 2], [np.nan, np.inf])) is None


STEPS = np.arange(1000)
SHARP = np.where(STEPS < 10, 30, 2 + np.exp(-STEPS / 100))
FLAT = {"first": 2.45 + np.exp(-STEPS / 100), "resumed": np.full(1000, 2.453), "slow": 3.3 - 0.00065 * STEPS}


@pytest.mark.parametrize(
    ("runs", "lowest", "highest"),
    [
        ({"high first losses": SHARP}, (1.8, 2.0), (2.3, 4.0)),
        ({"good": 2 + 1 / (STEPS + 1), "diverges": np.where(STEPS < 500, 2.1, 1e20)}, (1.8, 2.0), (2.0, 4.0)),
        (FLAT, (0.0, 2.45), (3.3, 5.0)),  # a flat run does not hide the others
    ],
)
def test_one_curve_does_not_spoil_the_picture_of_the_others(runs, lowest, highest):
    low, high = loss_curves({name: {"train": (STEPS, losses)} for name, losses in runs.items()}).axes[0].get_ylim()
    assert lowest[0] < low < lowest[1]
    assert highest[0] < high < highest[1]


@pytest.mark.parametrize("losses", [[], [2.0], [2.0, 2.0], [np.nan, np.inf], [0.0, 0.0]])
def test_few_losses_are_drawn(losses):
    figure = loss_curves({"a": {"train": (range(len(losses)), losses)}})
    figure.savefig(io.BytesIO(), format="png")
    low, high = figure.axes[0].get_ylim()
    assert low < high


def test_a_trailing_mean_by_hand_and_past_what_is_not_finite():
    assert trailing_mean(np.array([1.0, 2.0, 6.0, 4.0]), 1).tolist() == [1, 2, 6, 4]
    assert trailing_mean(np.array([1.0, np.nan, 3.0, np.inf, 9.0]), 3).tolist() == [1, 1, 2, 3, 6]
    assert np.isnan(trailing_mean(np.array([np.nan, np.nan]), 2)).all()
    noisy = 2 + 0.5 * (-1.0) ** STEPS
    (line,) = lines(loss_curves({"a": {"train": (STEPS, noisy)}}))
    assert np.abs(np.asarray(line.get_ydata())[20:] - 2).max() < 1e-9, "a long curve is its trailing mean"
    (line,) = lines(loss_curves({"a": {"train": (STEPS, np.where(STEPS < 500, 3.0, 2.0))}}))
    assert (np.asarray(line.get_ydata())[:500] == 3).all(), "without looking ahead"
