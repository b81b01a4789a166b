import struct
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
from torch.utils.tensorboard import SummaryWriter

from charlm.runs.events import find_event_runs, is_rate, rate_drops, read_scalars


def write(run, *points, **options):
    """One more events file with (tag, step, value)."""
    with SummaryWriter(str(run), **options) as writer:
        for tag, step, value in points:
            writer.add_scalar(tag, value, step)


def curve(run, tag="loss/train"):
    steps, values = read_scalars(run, lambda each: each == tag).curves[tag]
    return list(zip(steps.tolist(), values.tolist(), strict=True))


def on(steps, value, tag="loss/train"):
    return [(tag, step, value) for step in steps]


def test_curves_are_what_tensorboard_reads(tmp_path):
    with SummaryWriter(str(tmp_path)) as writer:
        for step in range(30):
            writer.add_scalar("loss/train", 1 / (step + 1), step)
            writer.add_scalar("other", step, step, new_style=True)  # as a tensor
        writer.add_text("config", "a: 1")
        writer.add_histogram("weights", np.arange(10.0), 3)
        writer.add_image("picture", np.zeros((3, 4, 4)), 3)
    events = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0}).Reload()
    assert curve(tmp_path) == [(event.step, event.value) for event in events.Scalars("loss/train")]
    scalars = read_scalars(tmp_path, lambda tag: False)
    assert (scalars.curves, scalars.tags, scalars.notes) == ({}, ["loss/train", "other"], [])


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        # at other steps than those of the training that was given up
        ([[0, 10, 20, 30, 40], [15, 25, 35]], [(0, 0), (10, 0), (15, 1), (25, 1), (35, 1), (40, 0)]),
        # Lightning logs `trainer.validate` at step 0
        ([[4, 9, 14], [14], [0], [19]], [(0, 2), (4, 0), (9, 0), (14, 1), (19, 3)]),
    ],
    ids=["given up", "validated"],
)
def test_a_run_that_was_continued_is_one_curve(tmp_path, files, expected):
    """The order of the files is told by their first events, not by their names."""
    for number, steps in enumerate(files):
        write(tmp_path, *on(steps, float(number)))
        (file,) = tmp_path.glob("events*")
        file.rename(tmp_path / f"{9 - number}.tfevents")
        time.sleep(0.01)  # a file begins with the time
    assert curve(tmp_path) == expected


segments = st.lists(st.sets(st.integers(0, 20), min_size=1).map(sorted), min_size=1, max_size=5)


@given(segments)
def test_the_merged_curve_rises_and_the_latest_values_count(tmp_path_factory, segments):
    """Against the rule point by point: a value stays if no later segment goes over its step, or has it."""
    run = tmp_path_factory.mktemp("run")
    write(run, *[("loss/train", step, float(i)) for i, segment in enumerate(segments) for step in segment])
    # segments that happen to rise one after the other are one
    rising = []
    for i, segment in enumerate(segments):
        if rising and rising[-1][-1][0] < segment[0]:
            rising[-1] += [(step, float(i)) for step in segment]
        else:
            rising.append([(step, float(i)) for step in segment])
    expected = {
        step: value
        for i, segment in enumerate(rising)
        for step, value in segment
        if not any(later[0][0] <= step <= later[-1][0] for later in rising[i + 1 :])
    }
    assert curve(run) == sorted(expected.items())


@pytest.mark.parametrize("harm", ["cut", "flipped"])
def test_what_stands_before_the_damage_is_read_and_said(tmp_path, harm):
    write(tmp_path, *on(range(50), 1.0))
    (file,) = tmp_path.iterdir()
    content = bytearray(file.read_bytes())
    size = len(content)
    if harm == "cut":
        content = content[: size * 2 // 3]
    else:
        content[size * 2 // 3] ^= 0xFF
    file.write_bytes(content)
    scalars = read_scalars(tmp_path, lambda tag: True)
    steps, _ = scalars.curves["loss/train"]
    assert steps.tolist() == list(range(len(steps)))
    assert 28 <= len(steps) < 35
    (note,) = scalars.notes
    assert note.startswith(f"{file} can be read up to byte ")
    assert f" of {len(content):,}: it is damaged there, or still being written" in note
    file.write_bytes(b"")
    scalars = read_scalars(tmp_path, lambda tag: True)
    assert (scalars.curves, scalars.tags, scalars.notes) == ({}, [], [])


def frame(length):
    """What stands before a record of this length."""
    return (head := struct.pack("<Q", length)) + struct.pack("<I", masked_crc32c(head))


SCALAR = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"))


NO_NUMBERS = {
    "more numbers than bytes": (1, [2_000_000_000], {"float_val": [1.0]}),
    "text": (7, [], {"string_val": [b"x"]}),
    "an unknown dtype": (99, [], {}),
    "too few bytes": (1, [], {"tensor_content": b"abc"}),
}


def test_scalars_that_are_not_numbers_are_left_out_in_little_memory(tmp_path):
    odd = Event(step=1)
    for tag, (dtype, shape, content) in NO_NUMBERS.items():
        sizes = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in shape])
        tensor = TensorProto(dtype=dtype, tensor_shape=sizes, **content)
        odd.summary.value.append(Summary.Value(tag=tag, metadata=SCALAR, tensor=tensor))
    event = odd.SerializeToString()
    file = tmp_path / "events.out.tfevents.1"
    file.write_bytes(frame(len(event)) + event + struct.pack("<I", masked_crc32c(event)) + frame(2**62) + b"abc")
    scalars = read_scalars(tmp_path, lambda tag: True)
    assert (scalars.curves, scalars.tags) == ({}, [])
    end, left_out = scalars.notes
    assert f"can be read up to byte {len(event) + 16} of" in end
    assert "scalars that are not single numbers, such as 'an unknown dtype'" in left_out


def test_runs_are_found_below_a_directory_in_the_order_of_their_numbers(tmp_path):
    for name in ("version_10", "version_2", "sub/version_1"):
        write(tmp_path / name, *on([0], 1.0))
    (tmp_path / "version_3").mkdir()
    names = [run.relative_to(tmp_path).as_posix() for run in find_event_runs(tmp_path)]
    assert names == ["sub/version_1", "version_2", "version_10"]
    assert find_event_runs(tmp_path / "version_2") == [tmp_path / "version_2"]
    assert find_event_runs(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    ("tags", "rate"),
    [
        (["lr", "lr/group0", "lr-SGD", "lr-AdamW/pg1", "learning_rate", "train/lr"], True),
        (["lrs", "color", "loss/train", "lr-SGD-momentum", "lr-SGD/pg1-weight_decay"], False),
    ],
)
def test_the_tags_of_rates_are_known(tags, rate):
    assert [is_rate(tag) for tag in tags] == [rate] * len(tags)


def drops(values):
    curve = np.arange(len(values)), np.array(values, float)
    return [drop for of_step in rate_drops({"lr": curve}).values() for drop in of_step]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 1, 1, 0.1, 0.1], [(3, 1, 0.1)]),
        ([1, 1, 0.5, 0.5, 0.1, 0.1], [(2, 1, 0.5), (4, 0.5, 0.1)]),
        ([1, 0.1, 0.1], [(1, 1, 0.1)]),  # right after the first point
        ([1, 1, 0.1], [(2, 1, 0.1)]),  # the last one
        ([0, 0, -1, -1], []),  # no rates
        ([0.1, 0.1, 1, 1], []),  # a warm start, no decay
        ([0.1, 0.5, 1, 0.5, 0.1], []),  # one cycle
        ([1, 1, 0.9, 0.8, 0.7, 0.7], []),  # linear between two constants
        ([0.2, 0.4, 1, 1, 1, 0.1, 0.1], [(5, 1, 0.1)]),  # a drop after a warm-up
        (list(np.repeat(np.cos(np.linspace(0, 1.5, 30)), 4)), []),  # falls with every epoch
        ([], []),
    ],
)
def test_drops_are_from_one_constant_to_another(values, expected):
    assert drops(values) == expected


def test_the_groups_of_a_step_come_together():
    steps = np.arange(4)
    rates = {"lr/group1": (steps, np.array([2.0, 2, 1, 1])), "lr/group0": (steps, np.array([4.0, 4, 1, 1]))}
    assert rate_drops(rates) == {2: [(2, 4.0, 1.0), (2, 2.0, 1.0)]}
