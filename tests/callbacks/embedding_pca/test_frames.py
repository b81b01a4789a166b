import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from charlm.callbacks.embedding_pca.frames import Frames


def table_at(step, rows=3, columns=2):
    return torch.arange(rows * columns, dtype=torch.float32).view(rows, columns) + 100 * step


def run(frames, steps, first=0):
    for step in range(first, steps + 1):
        if step >= frames.due or step == steps:
            frames.add(step, table_at(step))
    return frames


def new(rows=3, columns=2):
    return Frames(torch.arange(rows), (rows, columns))


@pytest.mark.parametrize(
    ("rows", "columns", "kept"), [(27, 10, 27), (5000, 768, 260), (300, 1_000_000, 2)]
)  # 64e6 / (80 * 768 * 4) rows
def test_what_is_kept_is_bounded(rows, columns, kept):
    assert len(Frames(torch.arange(rows), (rows, columns)).rows) == kept


@pytest.mark.parametrize(("rows", "saved"), [(27, True), (1500, False)])
def test_a_frame_is_a_copy_and_a_checkpoint_holds_small_ones_only(rows, saved):
    frames, table = new(rows, 700), torch.zeros(rows, 700)
    for step in range(9):
        frames.add(step, table)
        table += 1
    assert [kept.unique().tolist() for kept in frames.tables] == [[step] for step in range(9)]
    assert bool(frames.state_dict()) == saved


def test_chosen_frames_show_even_movement_from_the_first_to_the_last_and_only_what_is_finite():
    frames = new()
    for step, moved in enumerate([0, 0, 1, 2, 9, 10, 10.2, 20, 19]):
        frames.add(step, torch.full((3, 2), float(moved)))
    assert frames.chosen(3)[0] == [0, 5, 8]
    assert frames.chosen(2)[0] == [0, 8]
    frames.tables[5][1, 1] = math.nan
    steps, tables = frames.chosen(20)
    assert steps == [0, 1, 2, 3, 4, 6, 7, 8]
    assert tables[:, 0, 0].tolist() == pytest.approx([0, 0, 1, 2, 9, 10.2, 20, 19])


@given(st.integers(0, 200), st.integers(0, 200))
def test_a_resumed_training_goes_on_with_the_frames_that_are_there(first, more):
    frames = new()
    frames.load_state_dict(run(new(), first).state_dict(), first)
    run(frames, first + more, first)
    unbroken = run(new(), first + more)
    assert set(frames.steps) >= {step for step in unbroken.steps if step <= first}
    assert (frames.steps[-1], first in frames.steps) == (first + more, True)
    assert all(torch.equal(table, table_at(step)) for step, table in zip(frames.steps, frames.tables, strict=True))


@pytest.mark.parametrize(("rows", "step", "steps"), [(5, 5, []), (3, 3, [0, 1, 2, 3])])
def test_frames_of_other_rows_or_of_later_steps_are_dropped(rows, step, steps):
    frames = new(rows)
    frames.load_state_dict(run(new(), 5).state_dict(), step)
    assert frames.steps == steps
