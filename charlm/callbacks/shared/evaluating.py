"""Evaluate a module, also in the middle of a training, without a trace. Plain torch: no Lightning."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Eval mode, no gradients, and the random generators of torch, Python and numpy restored afterwards.

    Each part of the module returns to its own mode, as a frozen part may differ from the others.
    """
    modes = [(part, part.training) for part in module.modules()]
    devices = {tensor.device for tensor in (*module.parameters(), *module.buffers())}
    devices.add(torch.device(getattr(module, "device", "cpu")))  # a LightningModule may have no weights on its device
    of_python, of_numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng([device for device in devices if device.type == "cuda"]), torch.no_grad():
        module.eval()
        try:
            yield
        finally:
            for part, training in modes:
                part.training = training
            random.setstate(of_python)
            np.random.set_state(of_numpy)
