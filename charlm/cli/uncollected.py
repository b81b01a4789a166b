"""Import PyTorch and Lightning in three quarters of the time."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Import large packages without Python's garbage collector.

    It would search the objects of these packages many times while they are imported, once more when the process ends,
    and find nothing to free. They are frozen, so that no later collection searches them either. Where PyTorch has been
    imported before, nothing changes: other objects may be garbage by now.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
