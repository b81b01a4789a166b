import io
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from charlm.callbacks.embedding_pca.frames import Frames


def table_at(step, rows=3, columns=2):
    return torch.arange(rows * columns, dtype=torch.float32).view(rows, columns) + 100 * step


def run(frames, steps, first=0):
    for step in range(first, steps + 1):
        if step >= frames.due:
            frames.add(step, table_at(step))
    frames.add(steps, table_at(steps), last=True)
    return frames


@given(st.integers(0, 3000), st.integers(2, 40))
@settings(deadline=None)
def test_frames_are_spread_evenly_over_a_training_of_any_length(steps, wanted):
    frames = run(Frames(wanted, 3, 2, 9), steps)
    *regular, last = frames.steps
    assert last == steps
    assert regular == list(range(0, steps, frames.every))[: len(regular)]
    assert min(wanted, steps + 1) <= len(frames.steps) <= 2 * wanted + 1
    assert math.log2(frames.every).is_integer()
    for step, table in zip(frames.steps, frames.tables, strict=True):
        assert torch.equal(table, table_at(step))


@pytest.mark.parametrize(
    ("rows", "columns", "max_rows", "kept", "most"),
    [
        (27, 10, 2000, 27, 80),
        (50_000, 768, 2000, 260, 80),  # 64e6 / (80 * 768 * 4) rows
        (300, 100_000, 2000, 200, 2),  # never fewer rows than 200, nor fewer frames than two
    ],
)
def test_what_is_kept_is_bounded(rows, columns, max_rows, kept, most):
    before = torch.get_rng_state()
    frames = Frames(40, rows, columns, max_rows)
    assert torch.equal(before, torch.get_rng_state())
    assert (len(frames.rows), frames.most) == (kept, most)
    assert torch.equal(frames.rows, Frames(40, rows, columns, max_rows).rows)


@pytest.mark.parametrize(("wanted", "rows", "saved"), [(4, 27, True), (4, 2000, False), (0, 27, False)])
def test_a_frame_is_a_copy_and_a_checkpoint_holds_small_ones_only(wanted, rows, saved):
    frames, table = Frames(wanted, rows, 600, 2000), torch.zeros(rows, 600)
    frames.add(0, table)
    table += 1
    assert (frames.steps == [0]) == (wanted > 0)
    assert all(kept.eq(0).all() for kept in frames.tables)
    assert bool(frames.state_dict()) == saved


def test_chosen_frames_go_from_the_first_to_the_last_and_leave_out_what_is_not_finite():
    frames = run(Frames(10, 3, 2, 9), 19)
    frames.tables[7][1, 1] = math.nan
    steps, tables = frames.chosen(5)
    assert (steps[0], steps[-1], len(steps)) == (0, 19, 5)
    assert torch.equal(tables, torch.stack([table_at(step) for step in steps]))
    assert 7 not in frames.chosen(20)[0]


@given(st.integers(0, 200), st.integers(0, 200), st.integers(2, 9))
@settings(deadline=None)
def test_a_resumed_training_goes_on_with_the_frames_that_are_there(first, more, wanted):
    """As if it had not been interrupted. A process that keeps no tables counts the same steps as rank 0, which does."""
    state = run(Frames(wanted, 3, 2, 9), first).state_dict()
    unbroken = run(Frames(wanted, 3, 2, 9), first + more)
    here, there = Frames(wanted, 3, 2, 9), Frames(wanted, 3, 2, 9, kept_here=False)
    for frames in (here, there):
        frames.load_state_dict(state, first)
        run(frames, first + more, first)
        assert (frames.steps, frames.every, frames.due) == (unbroken.steps, unbroken.every, unbroken.due)
    assert all(map(torch.equal, here.tables, unbroken.tables))
    assert len(here.state_dict()["tables"]) == len(here.steps)
    assert sum(table.numel() for table in there.tables) == 0
    assert there.state_dict() == {}


@pytest.mark.parametrize(("rows", "step", "steps"), [(5, 5, []), (3, 3, [0, 1, 2, 3])])
def test_frames_of_other_rows_or_of_later_steps_are_dropped(rows, step, steps):
    frames = Frames(4, rows, 2, 9)
    frames.load_state_dict(run(Frames(4, 3, 2, 9), 5).state_dict(), step)
    assert frames.steps == steps


def test_the_file_is_read_without_pickle():
    labels = ["a", "\n", "é", "word"]
    frames = Frames(4, 4, 2, 3)
    for step in (0, 1):
        frames.add(step, table_at(step, 4))
    file = np.load(io.BytesIO(frames.npz(labels, ["x", "y", "", "z"])), allow_pickle=False)
    shapes = {"steps": (2,), "tables": (2, 3, 2), "rows": (3,), "labels": (3,), "kinds": (3,)}
    assert {name: file[name].shape for name in file.files} == shapes
    rows = file["rows"].tolist()
    assert file["labels"].tolist() == [labels[row] for row in rows]
    assert np.array_equal(file["tables"][1], table_at(1, 4).numpy()[rows])


def test_of_a_table_that_gets_more_rows_the_first_ones_are_kept():
    """Those with labels."""
    frames = Frames(4, 3, 2, 9)
    frames.add(0, table_at(0))
    frames.add(1, table_at(1, 5))
    assert torch.equal(frames.tables[1], table_at(1))
