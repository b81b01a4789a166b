import io

import numpy as np
import pytest

from charlm.runs.curves import MOST_RUNS, loss_curves, running_mean


def lines(figure):
    """The steps and losses of every curve, by colour; marks and the legend are no curves."""
    return [line for line in figure.axes[0].lines if len(line.get_xdata()) > 2]


def run(offset=0.0, points=10):
    steps = np.arange(points)
    return {"train": (steps, 2 + offset + 1 / (steps + 1)), "val": (steps[::3], 2.2 + offset + 0 * steps[::3])}


def test_the_curves_of_a_run_have_one_colour_and_the_legend_names_all():
    figure = loss_curves({"a": run(), "b": run(0.1)})
    a_train, a_val, b_train, b_val = lines(figure)
    assert a_train.get_color() == a_val.get_color() != b_train.get_color() == b_val.get_color()
    assert list(a_train.get_ydata()) == list(run()["train"][1])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "train", "val"]


def test_no_two_runs_look_alike_and_one_more_is_refused():
    figure = loss_curves({str(i): {"val": ([0, 1, 2], [i, i, i])} for i in range(MOST_RUNS)})
    looks = {(line.get_color(), str(line.get_linestyle())) for line in lines(figure)}
    assert len(looks) == MOST_RUNS == 14
    with pytest.raises(ValueError, match="15 runs in one picture cannot be told apart; choose 14 at most"):
        loss_curves({str(i): run() for i in range(15)})


def test_a_mark_is_a_line_with_a_text_grey_where_runs_share_it():
    shared, own = {5: "lr 0.1 → 0.01 at 5"}, {7: "lr 0.1 → 0.01 at 7"}
    figure = loss_curves({"a": run(), "b": run()}, {"a": shared | own, "b": shared})
    marks = {line.get_xdata()[0]: line.get_color() for line in figure.axes[0].lines if len(line.get_xdata()) == 2}
    assert marks == {5: "0.35", 7: lines(figure)[0].get_color()}
    assert [text.get_text() for text in figure.axes[0].texts] == [shared[5], own[7]]


def test_the_first_losses_do_not_ruin_the_picture():
    steps = np.arange(2000)
    losses = 2 + np.exp(-steps / 100)
    losses[:10] = 30
    low, high = loss_curves({"a": {"train": (steps, losses)}}).axes[0].get_ylim()
    assert 1.8 < low < 2
    assert 2.3 < high < 4


def test_a_run_that_diverges_does_not_ruin_the_others():
    steps = np.arange(1000)
    bad = np.where(steps < 500, 2.1, 1e20)
    low, high = loss_curves({"a": run(points=1000), "b": {"train": (steps, bad)}}).axes[0].get_ylim()
    assert 1.8 < low < high < 4


def test_a_flat_run_does_not_push_the_others_out_of_the_picture():
    """One that goes on from another one's end, beside one that is slower."""
    steps = np.arange(50)
    runs = {"first": 2.45 + np.exp(-steps / 5), "resumed": np.full(50, 2.453), "slow": 3.3 - 0.013 * steps}
    low, high = loss_curves({name: {"val": (steps, losses)} for name, losses in runs.items()}).axes[0].get_ylim()
    assert low < 2.45
    assert high > 3.3


@pytest.mark.parametrize("losses", [[], [2.0], [2.0, 2.0], [np.nan, np.inf], [0.0, 0.0]])
def test_few_losses_are_drawn(losses):
    figure = loss_curves({"a": {"train": (range(len(losses)), losses)}})
    figure.savefig(io.BytesIO(), format="png")
    low, high = figure.axes[0].get_ylim()
    assert low < high


def test_a_running_mean_by_hand_and_past_what_is_not_finite():
    assert running_mean(np.array([1.0, 2.0, 6.0, 4.0]), 1).tolist() == [1, 2, 6, 4]
    assert running_mean(np.array([1.0, np.nan, 3.0, np.inf, 9.0]), 3).tolist() == [1, 2, 3, 6, 9]
    assert np.isnan(running_mean(np.array([np.nan, np.nan]), 2)).all()


def test_a_long_train_curve_is_its_running_mean():
    steps = np.arange(1000)
    noisy = 2 + 0.5 * (-1.0) ** steps
    (line,) = lines(loss_curves({"a": {"train": (steps, noisy)}}))
    assert np.abs(np.asarray(line.get_ydata())[20:-20] - 2).max() < 1e-9
