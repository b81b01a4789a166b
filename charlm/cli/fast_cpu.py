"""Settings of torch and of the process under which nets take less time on a CPU; results stay those of float32."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's numbers for mallopt


@contextmanager
def fast_products() -> Iterator[None]:
    """Multiply matrices with oneDNN on AMD processors with AVX-512: MKL, torch's default, takes twice the time there.

    torch's name for this is a precision of "medium". It allows oneDNN to round numbers to bfloat16, which oneDNN does
    on processors with AMX only. Nothing changes without torch, on other processors, and on a machine with a GPU, whose
    products would be rounded.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_float32_matmul_precision()
    if _onednn_is_faster(torch.cpu.get_capabilities()) and not torch.cuda.is_available():
        torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the next step; returning it and asking for it again takes a tenth of a step.

    It cannot be undone, since glibc does not reveal its settings, so it is only for processes that train and then end.
    """
    with suppress(AttributeError, OSError, TypeError):  # another C library
        libc = ctypes.CDLL(None)
        libc.mallopt(_MMAP_THRESHOLD, 32 << 20)
        libc.mallopt(_TRIM_THRESHOLD, 128 << 20)


def _onednn_is_faster(able: dict[str, object]) -> bool:
    is_amd = str(able.get("cpu_name")).startswith("AMD")
    return is_amd and able.get("avx512_f") is True and not able.get("amx_tile")
