"""Kill a process with SIGKILL while it saves checkpoints, with the temporary folder on another disk, and look at them.

python scripts/reliability/killsave.py   20 kills, saves of 60 MB: half a minute
python scripts/reliability/killsave.py --kills 200 --tmpdir /dev/shm
python scripts/reliability/killsave.py --kills 200 --tmpdir /dev/shm --io lightning   Lightning's own, to compare

The process saves last.ckpt again and again and, when one is there, says so; it is killed at a moment drawn evenly over
the time of some saves. After each kill the file is loaded, checksums and all: it has to be that of the last save that
was over, or the one that was going on. Then the next process saves, and what the killed one left has to be gone.
Exit status 1 if a file could not be read, a save was lost, or something is left at the end.
"""

import multiprocessing
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

import torch
from jsonargparse import auto_cli
from jsonargparse.typing import NonNegativeInt, PositiveFloat, PositiveInt
from lightning.fabric.plugins import TorchCheckpointIO

from charlm.callbacks.atomic_io import AtomicCheckpointIO
from charlm.callbacks.shared.archive import read_archive

_FORK = multiprocessing.get_context("fork")  # a process that has imported all starts at once
_PLUGINS: dict[str, type[TorchCheckpointIO]] = {"atomic": AtomicCheckpointIO, "lightning": TorchCheckpointIO}


def main(
    kills: PositiveInt = 20,
    io: Literal["atomic", "lightning"] = "atomic",
    megabytes: PositiveInt = 60,
    tmpdir: str = "/dev/shm",
    out: str | None = None,
    seed: NonNegativeInt = 0,
    longest: PositiveFloat = 1.0,
) -> None:
    """Kill, look, print.

    Args:
        kills: SIGKILLs.
        io: whose plugin saves.
        megabytes: of a checkpoint, about.
        tmpdir: the folder for temporary files, on another file system than `out`.
        out: the folder to save in; by default one in the current folder, removed at the end.
        seed: of the moments.
        longest: seconds after the first save of a process in which it is killed.
    """
    place = Path(tempfile.mkdtemp(prefix="killsave-", dir=out or "."))
    spare = Path(tempfile.mkdtemp(prefix="killsave-", dir=tmpdir))
    crosses = place.stat().st_dev != spare.stat().st_dev
    try:
        counts = kill_saves(place, spare, kills, io, megabytes, longest, random.Random(seed))
        left = [*strays(place), *spare.rglob("*")]
        gigabytes = sum(file.stat().st_size for file in left if file.is_file()) / 1e9
    finally:
        for folder in (place, spare):
            shutil.rmtree(folder, ignore_errors=True)
    disk = "another disk" if crosses else "the same disk"
    print(f"{io}: {kills} kills in saves of {megabytes} MB, the temporary folder on {disk}")
    print(f"unreadable: {counts['unreadable']}, the good one before it lost: {counts['lost']}")
    print(f"kills that left a partial file: {counts['left']}; after the next save: {len(left)} ({gigabytes:.2f} GB)")
    raise SystemExit(1 if counts["unreadable"] or counts["lost"] or left else 0)


def kill_saves(
    place: Path, spare: Path, kills: int, io: str, megabytes: int, longest: float, moments: random.Random
) -> Counter[str]:
    """Kill that often; how many files could not be read, and how many saves that were over are not there."""
    counts: Counter[str] = Counter()
    file = place / "last.ckpt"
    for _ in range(kills):
        saved = one_life(file, spare, io, megabytes, moments.uniform(0.0, longest))
        counts["left"] += bool(strays(place))
        try:
            found = read_archive(file)["saves"]
        except (OSError, ValueError):
            counts["unreadable"] += 1
            counts["lost"] += saved > 0
            file.unlink(missing_ok=True)
        else:
            counts["lost"] += not saved <= found <= saved + 1
    next_start = _FORK.Process(target=saver, args=(io, 0, file, spare, None))
    next_start.start()
    next_start.join()
    return counts


def one_life(file: Path, spare: Path, io: str, megabytes: int, seconds: float) -> int:
    """Start a process that saves, kill it that long after its first save; how many saves were over."""
    reading, writing = _FORK.Pipe(duplex=False)
    process = _FORK.Process(target=saver, args=(io, megabytes, file, spare, writing))
    process.start()
    writing.close()
    try:
        saved = int(reading.recv())
        time.sleep(seconds)
        process.kill()
        while True:
            saved = int(reading.recv())
    except EOFError:
        process.join()
    if process.exitcode != -signal.SIGKILL:
        raise SystemExit(f"the process that saves has ended with {process.exitcode}")
    return saved


def strays(folder: Path) -> list[Path]:
    """What is not a checkpoint under its own name."""
    return [file for file in folder.iterdir() if file.name != "last.ckpt"]


def saver(io: str, megabytes: int, file: Path, spare: Path, report: Connection | None) -> None:
    """The process that is killed: load what is there, then save without end and report the number of each save.

    Without a report it saves once: the start after the last kill.
    """
    os.environ["TMPDIR"], tempfile.tempdir = str(spare), None
    plugin = _PLUGINS[io]()
    saves = plugin.load_checkpoint(file)["saves"] if file.exists() else 0
    weights = {str(number): torch.randn(250_000) for number in range(megabytes)}
    while True:
        saves += 1
        plugin.save_checkpoint({"saves": saves, "state_dict": weights}, file)
        if report is None:
            break
        report.send(saves)


if __name__ == "__main__":
    torch.set_num_threads(1)  # a process with more cannot be copied
    auto_cli(main, as_positional=False)
