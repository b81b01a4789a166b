"""Load checkpoints that were changed at random, and count what becomes of them: no crash, no hang, no flood of memory.

python scripts/reliability/fuzz_checkpoints.py --seconds 600
python scripts/reliability/fuzz_checkpoints.py --inputs 500 --seed 3        so many instead, the same each time

The originals are small checkpoints of every net that charlm has, laid out as a Trainer's. The changes: flipped bits,
cut ends, pieces of one in another; and, in archives whose checksums are right again, parts left out, doubled, renamed
or swapped, and operations, numbers and names of the pickle. Each input goes through `load_checkpoint` and
AtomicCheckpointIO in a process that may not take more than 1 GB beyond its start; an input that takes more than 1
second of the CPU counts as slow. Exit status 1 if anything but OSError and ValueError came out, the process died, or
an input was slow.
"""

import multiprocessing
import random
import resource
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from checkpoint_changes import changed, originals
from jsonargparse import auto_cli
from jsonargparse.typing import NonNegativeInt, PositiveFloat, PositiveInt

from charlm.callbacks.atomic_io import AtomicCheckpointIO
from charlm.runs.checkpoint import load_checkpoint

_FORK = multiprocessing.get_context("fork")
_MEMORY = 2**30  # bytes of RAM
_HANGS = 20.0  # seconds
_DOORS: dict[str, Callable[[Path], object]] = {
    "load_checkpoint": load_checkpoint,
    "AtomicCheckpointIO": AtomicCheckpointIO().load_checkpoint,
}


def main(
    seconds: PositiveFloat | None = None,
    inputs: PositiveInt | None = None,
    seed: NonNegativeInt = 0,
    slow: PositiveFloat = 1.0,
) -> None:
    """Change, load, count, print.

    Args:
        seconds: how long; by default 10 where `inputs` is not given.
        inputs: how many inputs at most.
        seed: of the changes.
        slow: seconds of the CPU that an input may take.
    """
    drawn, counts, started = random.Random(seed), Counter[str](), time.monotonic()
    limit = seconds if seconds is not None else 10.0 if inputs is None else float("inf")
    most, slowest = 0.0, 0.0
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        bases = originals()
        reader = Reader(Path(folder))
        while time.monotonic() - started < limit and (inputs is None or counts["inputs"] < inputs):
            data = changed(drawn, bases)
            counts["inputs"] += 1
            for answer, took, peak in reader.answers(data):
                counts[answer] += 1
                counts["slow"] += took > slow
                slowest, most = max(slowest, took), max(most, peak)
                if answer.startswith("bad") or took > slow:
                    kept = Path(tempfile.gettempdir()) / f"fuzz-{seed}-{counts['inputs']}.ckpt"
                    kept.write_bytes(data)
                    print(f"{answer} in {took:.1f} s: {kept}", flush=True)
        reader.end()
    bad = sum(count for answer, count in counts.items() if answer.startswith("bad"))
    print(f"{counts['inputs']:,} inputs by two readers: {counts['loaded']:,} loaded, {counts['refused']:,} refused")
    times = f"over {slow:g} s: {counts['slow']}, the slowest {slowest:.2f} s"
    print(f"other exceptions and deaths: {bad}; {times}; {most:.0f} MB")
    raise SystemExit(1 if bad or counts["slow"] or most * 1e6 > _MEMORY else 0)


class Reader:
    """A process that loads files; a new one takes its place when it dies."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "input.ckpt"
        self._start()

    def _start(self) -> None:
        self.pipe, other = _FORK.Pipe()
        self.process = _FORK.Process(target=read_all, args=(other, self.file), daemon=True)
        self.process.start()
        other.close()

    def answers(self, data: bytes) -> list[tuple[str, float, float]]:
        """What each reader makes of an input: the answer, CPU seconds, the process's largest memory in MB."""
        self.file.write_bytes(data)
        answers: list[tuple[str, float, float]] = []
        for name in _DOORS:
            started = time.monotonic()
            self.pipe.send(name)
            if self.pipe.poll(_HANGS):
                try:
                    answers.append(self.pipe.recv())
                    continue
                except EOFError:
                    pass
            self.process.kill()
            self.process.join()
            took = time.monotonic() - started
            answers.append((f"bad: {name} ended with {self.process.exitcode}", took, 0.0))
            self._start()
        return answers

    def end(self) -> None:
        self.process.kill()
        self.process.join()


def read_all(pipe: Connection, file: Path) -> None:
    """The process: load the file by the reader that is named, say how that went."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    with open("/proc/self/statm") as sizes:  # the address space that is taken at the start does not count
        taken = int(sizes.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + _MEMORY, taken + _MEMORY))
    warnings.simplefilter("error")
    while True:
        door = _DOORS[pipe.recv()]
        started = time.process_time()
        try:
            door(file)
            answer = "loaded"
        except (OSError, ValueError) as error:
            answer = "refused" if "\n" not in str(error) and "weights_only" not in str(error) else f"bad text: {error}"
        except BaseException as error:
            answer = f"bad: {type(error).__name__}: {error}"
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - used
        pipe.send((answer, time.process_time() - started, peak / 1e6))


if __name__ == "__main__":
    torch.set_num_threads(1)  # a process with more cannot be copied
    auto_cli(main, as_positional=False)
