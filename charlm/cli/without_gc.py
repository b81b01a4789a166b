"""Import PyTorch and Lightning without garbage collection, in three quarters of the time."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_gc() -> Iterator[None]:
    """Turn Python's garbage collector off while large packages are imported.

    It would search the objects of these packages many times during the import, and once more when the process ends,
    and find nothing to free. The objects are then frozen, so that no later collection searches them either. If PyTorch
    has been imported before, nothing changes: other objects may be garbage by now.
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
