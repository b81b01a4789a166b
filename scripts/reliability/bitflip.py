"""Flip single bits of a checkpoint and count what the readers make of them: is damage noticed?

python scripts/reliability/bitflip.py   1,000 flips in a checkpoint of `charlm fit`: some seconds
python scripts/reliability/bitflip.py --flips 10000 --checkpoint last.ckpt
python scripts/reliability/bitflip.py --flips 10000 --where frame   none in the values of tensors

Each damaged copy is loaded by torch.load, as Lightning does, and by AtomicCheckpointIO, and all
tensors and plain values are compared with the original's. Exit status 1 if more than one of 1,000 changes gets past
AtomicCheckpointIO.
"""

import random
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from jsonargparse import auto_cli
from jsonargparse.typing import NonNegativeInt, PositiveInt

from charlm.callbacks.atomic_io import AtomicCheckpointIO

_FIT = ("-m", "charlm", "fit", "--config=mlp", "--trainer.max_steps=20", "--trainer.enable_progress_bar=false")


def main(
    flips: PositiveInt = 1000,
    checkpoint: str | None = None,
    where: Literal["all", "frame"] = "all",
    seed: NonNegativeInt = 0,
) -> None:
    """Flip, load, compare, print.

    Args:
        flips: bits to flip, one at a time.
        checkpoint: a file; by default that of a training of 20 steps, done now.
        where: all: anywhere in the file; frame: outside the values of tensors.
        seed: of the places.
    """
    with tempfile.TemporaryDirectory(prefix="bitflip-") as folder:
        file = Path(checkpoint) if checkpoint is not None else trained(Path(folder))
        size = file.stat().st_size
        counts = count_outcomes(file, Path(folder) / "flipped.ckpt", flips, where, seed)
    print(f"{flips:,} flips, {where}, of {file.name} ({size:,} bytes)")
    for reader in ("torch.load", "AtomicCheckpointIO"):
        figures = ", ".join(f"{counts[reader, outcome]:,} {outcome}" for outcome in ("changed", "refused", "harmless"))
        print(f"{reader}: {figures}")
    changes = counts["torch.load", "changed"]
    past = counts["AtomicCheckpointIO", "changed"]
    share = 1 - past / max(changes, past, 1)
    print(f"of {max(changes, past):,} flips that change a value unseen, AtomicCheckpointIO refuses {share:.2%}")
    raise SystemExit(1 if share < 0.999 else 0)


def trained(folder: Path) -> Path:
    """The last checkpoint of a short training."""
    subprocess.run([sys.executable, *_FIT], cwd=folder, check=True, capture_output=True)
    return next(folder.glob("lightning_logs/*/checkpoints/last.ckpt"))


def count_outcomes(file: Path, copy: Path, flips: int, where: str, seed: int) -> Counter[tuple[str, str]]:
    """How many copies with one flipped bit each reader refuses, loads as they were, and loads changed."""
    whole, drawn = file.read_bytes(), random.Random(seed)
    places = range(len(whole)) if where == "all" else frame(file)
    readers: dict[str, Callable[[Path], Any]] = {
        "torch.load": lambda path: torch.load(path, map_location="cpu", weights_only=True),
        "AtomicCheckpointIO": AtomicCheckpointIO().load_checkpoint,
    }
    expected = readers["torch.load"](file)
    counts: Counter[tuple[str, str]] = Counter()
    for _ in range(flips):
        flipped = bytearray(whole)
        flipped[drawn.choice(places)] ^= 1 << drawn.randrange(8)
        copy.write_bytes(flipped)
        for name, read in readers.items():
            counts[name, outcome(read, copy, expected)] += 1
    return counts


def outcome(read: Callable[[Path], Any], file: Path, expected: Any) -> str:
    """What a reader makes of a file."""
    try:
        found = read(file)
    except Exception:  # torch.load fails in a dozen ways
        return "refused"
    return "harmless" if same(found, expected) else "changed"


def same(one: Any, other: Any) -> bool:
    """Whether two contents are equal, NaN to NaN, with the same types."""
    if isinstance(one, torch.Tensor):
        return (
            isinstance(other, torch.Tensor)
            and (one.dtype, one.shape) == (other.dtype, other.shape)
            and torch.equal(one.contiguous().view(-1).view(torch.uint8), other.contiguous().view(-1).view(torch.uint8))
        )
    if isinstance(one, dict):
        return isinstance(other, dict) and list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and repr(one) == repr(other)


def frame(file: Path) -> Sequence[int]:
    """The places outside the values of tensors."""
    inside: set[int] = set()
    with zipfile.ZipFile(file) as archive, file.open("rb") as raw:
        for part in archive.infolist():
            if part.filename.split("/")[1] == "data":
                raw.seek(part.header_offset + 26)
                start = part.header_offset + 30 + sum(int.from_bytes(raw.read(2), "little") for _ in range(2))
                inside.update(range(start, start + part.file_size))
    return [place for place in range(file.stat().st_size) if place not in inside]


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
