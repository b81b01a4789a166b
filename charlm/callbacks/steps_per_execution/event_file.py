"""Many scalars into a TensorBoard events file at once. Dimension key: N records, L bytes each.

One at a time, TensorBoard's writer takes as long for a scalar as a small net takes for a quarter of a training step:
most of that goes into a checksum in pure Python. Here one pass of numpy does those of a whole block.
"""

import itertools
import time
from collections.abc import Iterable, Mapping
from functools import cache

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter

_POLYNOMIAL = np.uint32(0x82F63B78)  # CRC-32C (Castagnoli), bits reversed
_ALL = np.uint32(0xFFFFFFFF)


def write_scalars(writer: SummaryWriter, rows: Iterable[tuple[int, Mapping[str, float]]]) -> None:
    """Append scalars to what `writer` writes, after all that it was given before.

    Without TensorBoard's own writer, whose open file this needs, the scalars go one by one.

    Args:
        writer: torch's own.
        rows: (step, {tag: value}) in the order in which they are to stand in the file.
    """
    events = getattr(writer.file_writer, "event_writer", None)
    file = getattr(events, "_general_file_writer", None)
    if events is None or file is None:
        for step, scalars in rows:
            for tag, value in scalars.items():
                writer.add_scalar(tag, value, step)
        return
    now = time.time()
    records = [_event(now, step, scalars).SerializeToString() for step, scalars in rows]
    events.flush()  # its own thread has nothing left to write
    file.write(tfrecords(records))
    events.flush()


def _event(now: float, step: int, scalars: Mapping[str, float]) -> Event:
    values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
    return Event(wall_time=now, step=step, summary=Summary(value=values))


def tfrecords(records: list[bytes]) -> bytes:
    """Records in the framing of an events file: length, its checksum, the bytes, their checksum.

    Source: TensorFlow, tensorflow/core/lib/io/record_writer.h.
    """
    return b"".join(_framed(b"".join(run), length) for length, run in itertools.groupby(records, key=len))


def _framed(run: bytes, length: int) -> bytes:
    """The records of `run`, which are `length` bytes each."""
    body = np.frombuffer(run, np.uint8).reshape(-1, length)
    head = np.frombuffer(length.to_bytes(8, "little"), np.uint8)[None]
    head = np.concatenate([head, _bytes(masked_crc32c(head))], axis=1)
    return np.concatenate([head.repeat(len(body), 0), body, _bytes(masked_crc32c(body))], axis=1).tobytes()


def masked_crc32c(rows: np.ndarray) -> np.ndarray:
    """uint32 (N,): the checksum of every row of `rows`, uint8 (N, L), as events files store it."""
    tables, start = _tables(rows.shape[1])
    crc = np.bitwise_xor.reduce(tables[np.arange(rows.shape[1]), rows], axis=1) ^ start
    return (crc >> np.uint32(15) | crc << np.uint32(17)) + np.uint32(0xA282EAD8)


@cache
def _tables(length: int) -> tuple[np.ndarray, np.uint32]:
    """What each byte at each place adds to a checksum, uint32 (L, 256), and the checksum of as many zeros.

    A CRC is linear over the bits of a message, so it is the exclusive or of one entry a byte.
    """
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & np.uint32(1), table >> np.uint32(1) ^ _POLYNOMIAL, table >> np.uint32(1))
    places, start = [table], _ALL
    for _ in range(length):
        later = places[-1]
        places.append(table[later & np.uint32(0xFF)] ^ later >> np.uint32(8))
        start = table[start & np.uint32(0xFF)] ^ start >> np.uint32(8)
    return np.stack(places[length - 1 :: -1]), start ^ _ALL


def _bytes(numbers: np.ndarray) -> np.ndarray:
    """uint8 (N, 4) of uint32 (N,), the lowest byte first."""
    return numbers.astype("<u4").view(np.uint8).reshape(-1, 4)
