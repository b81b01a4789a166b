"""The random generators of a process as plain values, which a checkpoint can hold and `weights_only=True` can load."""

import random
from typing import Any

import numpy as np
import torch

RNGState = dict[str, Any]
"""torch: uint8 tensors, of the CPU and of every GPU in use; Python and numpy: numbers in tuples and lists."""


def rng_state() -> RNGState:
    """The state of the global generators of torch, Python and numpy."""
    name, keys, index, has_gauss, gauss = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
        "python": random.getstate(),
        "numpy": [str(name), torch.from_numpy(np.asarray(keys).astype(np.int64)), int(index), has_gauss, float(gauss)],
    }


def set_rng_state(state: RNGState) -> None:
    """Restore the generators; states of GPUs that this process does not have are left out."""
    torch.set_rng_state(state["torch"].cpu())
    for device, of_device in enumerate(state["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(of_device.cpu(), device)
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, index, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), index, has_gauss, cached))
