import io

import numpy as np
import pytest
import torch

from charlm.inference.bigram_table import bigram_heatmap
from charlm.runs.curves import MOST_RUNS, loss_curves, running_mean

LABELS = [".", "a", "b"]
COUNTS = torch.tensor([[0, 1, 1], [0, 0, 1], [2, 0, 0]])


def texts(figure, panel=0):
    return [text.get_text() for text in figure.axes[panel].texts]


def test_cells_show_the_pair_and_its_count():
    shown = texts(bigram_heatmap([("counts", COUNTS)], LABELS, cell_text=True))
    assert shown == ["..\n0", ".a\n1", ".b\n1", "a.\n0", "aa\n0", "ab\n1", "b.\n2", "ba\n0", "bb\n0"]


def test_probabilities_have_two_decimals():
    shown = texts(bigram_heatmap([("p", torch.tensor([[0.126, 1.0], [0.0, 0.5]]))], LABELS[:2], cell_text=True))
    assert [text.split("\n")[1] for text in shown] == [".13", "1.00", ".00", ".50"]


def test_panels_share_one_colour_scale_and_have_titles():
    figure = bigram_heatmap([("left", COUNTS / 4), ("right", COUNTS / 2)], LABELS, cell_text=False)
    left, right = figure.axes[:2]
    assert (left.get_title(), right.get_title()) == ("left", "right")
    assert left.images[0].get_clim() == right.images[0].get_clim() == (0, 1)
    assert texts(figure) == []
    assert [label.get_text() for label in left.get_yticklabels()] == LABELS


@pytest.mark.parametrize("labels", [["$", "_", "^"], ["\\", "{", "}"]])
def test_characters_that_mean_formulas_are_drawn_as_they_are(labels):
    figure = bigram_heatmap([("counts", COUNTS)], labels, cell_text=True)
    figure.savefig(io.BytesIO(), format="png")
    assert texts(figure)[0] == f"{labels[0] * 2}\n0"


def test_a_table_of_zeros_and_a_large_alphabet_are_drawn():
    size = 300
    labels = [chr(0x100 + i) for i in range(size)]
    figure = bigram_heatmap([("counts", torch.zeros(size, size, dtype=torch.int64))], labels, cell_text=False)
    assert max(figure.get_size_inches()) <= 32


def lines(figure):
    """The steps and losses of every curve, by colour; marks and the legend are no curves."""
    return [line for line in figure.axes[0].lines if len(line.get_xdata()) > 2]


def run(offset=0.0, points=10):
    steps = np.arange(points)
    return {"train": (steps, 2 + offset + 1 / (steps + 1)), "val": (steps[::3], 2.2 + offset + 0 * steps[::3])}


def test_train_is_thin_and_val_is_thick_in_the_colour_of_the_run():
    figure = loss_curves({"a": run(), "b": run(0.1)})
    a_train, a_val, b_train, b_val = lines(figure)
    assert a_train.get_color() == a_val.get_color() != b_train.get_color() == b_val.get_color()
    assert a_val.get_linewidth() > 1.5 * a_train.get_linewidth()
    assert (a_val.get_marker(), a_train.get_marker()) == ("o", "None")
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
    assert texts(figure) == [shared[5], own[7]]


def boxes(figure):
    figure.draw_without_rendering()
    return [text.get_window_extent() for text in figure.axes[0].texts]


def test_texts_of_marks_that_are_near_each_other_do_not_overlap():
    marks = {step: f"lr 0.0125 → 0.00125 at {step:,}" for step in (500, 505, 510, 515, 900)}
    figure = loss_curves({"a": run(points=1000)}, {"a": marks})
    found = boxes(figure)
    assert len(found) == 3  # no third one fits beside the first two; all have their lines
    assert not any(a.overlaps(b) for i, a in enumerate(found) for b in found[:i])
    frame = figure.axes[0].get_window_extent()
    assert all(frame.y0 < box.y0 and box.y1 < frame.y1 for box in found)


@pytest.mark.parametrize("long", [4, 40])
def test_the_legend_stands_above_the_picture_even_with_long_names(long):
    figure = loss_curves({f"{'a_long_name_' * long}{i}": run() for i in range(MOST_RUNS)})
    figure.draw_without_rendering()
    legend, frame = figure.legends[0].get_window_extent(), figure.axes[0].get_window_extent()
    assert legend.y0 > frame.y1
    assert figure.bbox.x0 <= legend.x0 < legend.x1 <= figure.bbox.x1
    assert frame.height > 250


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


@pytest.mark.parametrize("letters", [3, 9, 30, 100])
@pytest.mark.parametrize("count", range(1, MOST_RUNS + 1))
def test_the_legend_is_within_the_picture(count, letters):
    figure = loss_curves({f"{'w' * letters}{i}": run() for i in range(count)})
    figure.draw_without_rendering()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width


@pytest.mark.parametrize("losses", [[], [2.0], [2.0, 2.0], [np.nan, np.inf], [0.0, 0.0]])
def test_few_losses_are_drawn(losses):
    figure = loss_curves({"a": {"train": (range(len(losses)), losses)}})
    figure.savefig(io.BytesIO(), format="png")
    low, high = figure.axes[0].get_ylim()
    assert low < high


def test_steps_are_whole_numbers_with_separators():
    figure = loss_curves({"a": run(points=20_000)})
    figure.draw_without_rendering()
    assert "10,000" in [label.get_text() for label in figure.axes[0].get_xticklabels()]
    figure = loss_curves({"a": run(points=3)})
    figure.draw_without_rendering()
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert len(set(labels)) == len(labels)


def test_a_running_mean_by_hand_and_past_what_is_not_finite():
    assert running_mean(np.array([1.0, 2.0, 6.0, 4.0]), 1).tolist() == [1, 2, 6, 4]
    assert running_mean(np.array([1.0, np.nan, 3.0, np.inf, 9.0]), 3).tolist() == [1, 2, 3, 6, 9]
    assert np.isnan(running_mean(np.array([np.nan, np.nan]), 2)).all()


def test_a_long_train_curve_is_its_running_mean():
    steps = np.arange(1000)
    noisy = 2 + 0.5 * (-1.0) ** steps
    (line,) = lines(loss_curves({"a": {"train": (steps, noisy)}}))
    assert np.abs(np.asarray(line.get_ydata())[20:-20] - 2).max() < 1e-9
