import math
import struct
from typing import ClassVar

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.tensorflow_stub import pywrap_tensorflow
from torch.utils.tensorboard import SummaryWriter

from charlm.callbacks.steps_per_execution.event_file import masked_crc32c, tfrecords, write_scalars


def test_the_checksum_is_the_one_of_the_standard():
    """RFC 3720, B.4: 32 bytes of zeros, of ones, rising and falling."""
    rows = np.array([[0] * 32, [255] * 32, range(32), range(31, -1, -1)], np.uint8)
    plain = [0x8A9136AA, 0x62A8AB43, 0x46DD794E, 0x113FDB5C]
    masked = [((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32 for crc in plain]
    assert masked_crc32c(rows).tolist() == masked


@given(st.lists(st.binary(min_size=1, max_size=90), min_size=1, max_size=8))
def test_the_framing_is_that_of_tensorboards_own_writer(records):
    expected = b""
    for data in records:
        head = struct.pack("<Q", len(data))
        checksums = [struct.pack("<I", pywrap_tensorflow.masked_crc32c(part)) for part in (head, data)]
        expected += head + checksums[0] + data + checksums[1]
    assert tfrecords(records) == expected


def scalars(folder):
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_they_stand_in_the_file_between_what_was_written_before_and_after(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        writer.add_scalar("a", 1.0, 0)
        write_scalars(writer, [(step, {"a": step / 4, "b": -float(step)}) for step in range(1, 300)])
        writer.add_scalar("a", 7.0, 300)
        write_scalars(writer, [(2**40, {"b": math.inf})])
        write_scalars(writer, [])
    found = scalars(tmp_path)
    assert found["a"] == [(0, 1.0), *((step, step / 4) for step in range(1, 300)), (300, 7.0)]
    assert found["b"] == [*((step, -float(step)) for step in range(1, 300)), (2**40, math.inf)]


def test_they_are_on_the_disk_at_once(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        write_scalars(writer, [(3, {"a": 2.0})])
        assert scalars(tmp_path) == {"a": [(3, 2.0)]}


def test_a_writer_without_such_a_file_gets_them_one_by_one():
    class Other:
        file_writer = None
        seen: ClassVar[list] = []

        def add_scalar(self, *arguments):
            self.seen.append(arguments)

    write_scalars(Other(), [(1, {"a": 2.0, "b": 4.0}), (2, {"a": 3.0})])
    assert Other.seen == [("a", 2.0, 1), ("b", 4.0, 1), ("a", 3.0, 2)]


def test_an_event_is_as_torch_writes_it(tmp_path):
    for name, write in {
        "block": lambda writer: write_scalars(writer, [(5, {"a": 0.1})]),
        "single": lambda writer: writer.add_scalar("a", 0.1, 5),
    }.items():
        with SummaryWriter(tmp_path / name) as writer:
            write(writer)
    events = []
    for name in ("block", "single"):
        (file,) = (tmp_path / name).iterdir()
        data, place = file.read_bytes(), 0
        while place < len(data):
            (length,) = struct.unpack_from("<Q", data, place)
            event = Event.FromString(data[place + 12 : place + 12 + length])
            place += length + 16
        event.wall_time = 0
        events.append(event)
    assert events[0] == events[1]
