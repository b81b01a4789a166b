"""The number of CPU threads for a training."""

import logging
import os

import torch

log = logging.getLogger(__name__)


def choose_threads(batch_size: int | None) -> None:
    """Use one CPU thread for batches below 4,096 examples, unless OMP_NUM_THREADS is set.

    A step of a small net is too short to share. Up to a thousand examples a second thread costs what it saves, and if
    another program keeps a core busy, torch's threads wait for each other and a step takes fifty times as long. With
    four thousand examples it saves a quarter of the time.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return
    small = batch_size is not None and batch_size < 4096
    if small:
        torch.set_num_threads(1)
    why = "the fastest for small batches" if small else "since batches are large"
    log.info(f"CPU threads: {torch.get_num_threads()}, {why}; set OMP_NUM_THREADS to change it")
