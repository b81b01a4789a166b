"""What a measured process does: one function of its file, and that function's numbers as a line of JSON."""

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
    """Call the function that the command line names with the options it gives in JSON, and print what comes back."""
    name, options = sys.argv[1:]
    chosen = next(function for function in functions if function.__name__ == name)
    print("\n" + json.dumps(chosen(**json.loads(options))))


@contextmanager
def clock(numbers: Numbers) -> Iterator[None]:
    """Add the seconds that the block took to `numbers`."""
    started = time.perf_counter()
    yield
    numbers["seconds"] = time.perf_counter() - started


@contextmanager
def peak_memory(numbers: Numbers) -> Iterator[None]:
    """Add what the process took at its peak within the block, above the level before it, to `numbers`, in bytes."""
    gc.collect()
    if sys.platform == "linux":
        getattr(ctypes.CDLL(None), "malloc_trim", int)(0)  # what is free already is no room to hide in
    with suppress(OSError):  # where this is refused, the peak counts only as far as it is above all earlier ones
        (_SELF / "clear_refs").write_text("5")  # the peak begins anew, at the level of now
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
