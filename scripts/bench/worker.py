"""The frame of a measured process: calls one function of its file and prints its numbers as a line of JSON."""

import ctypes
import gc
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

Numbers = dict[str, float]
_SELF = Path("/proc/self")


def work(*functions: Callable[..., Numbers]) -> None:
    """Call the function that the command line names with its options in JSON, and print the result."""
    name, options = sys.argv[1:]
    chosen = next(function for function in functions if function.__name__ == name)
    print("\n" + json.dumps(chosen(**json.loads(options))))


@contextmanager
def clock(numbers: Numbers) -> Iterator[None]:
    """Add the duration of the block to `numbers`, in seconds."""
    started = time.perf_counter()
    yield
    numbers["seconds"] = time.perf_counter() - started


@contextmanager
def peak_memory(numbers: Numbers) -> Iterator[None]:
    """Add the peak memory of the block, above the level before it, to `numbers`, in bytes."""
    gc.collect()
    if sys.platform == "linux":
        getattr(ctypes.CDLL(None), "malloc_trim", int)(0)  # so that freed memory does not hide new allocations
    with suppress(OSError):  # if refused, the peak counts only above all earlier peaks
        (_SELF / "clear_refs").write_text("5")  # resets the peak to the current level
    before = _peak()
    yield
    numbers["bytes"] = _peak() - before


def _peak() -> int:
    try:
        return 1024 * int(re.findall(r"VmHWM:\s+(\d+)", (_SELF / "status").read_text())[0])
    except (OSError, IndexError):
        import resource  # Unix only

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak
