"""The number of CPU threads of a training, and the precision of its matrix products."""

import logging
import os
from typing import Literal

import torch
from lightning.pytorch.cli import LightningArgumentParser

log = logging.getLogger(__name__)


def add_matmul_precision(parser: LightningArgumentParser) -> None:
    """Add the option --float32_matmul_precision, an argument of `torch.set_float32_matmul_precision`."""
    parser.add_argument(
        "--float32_matmul_precision",
        type=Literal["highest", "high", "medium"],
        default="highest",
        help="of matrix products: high is faster on GPUs (TF32), medium also on CPUs with AMX (bfloat16)",
    )


def use_matmul_precision(precision: str, batch_size: int | None) -> None:
    """Set what the user chose; with "highest", which is float32, what `fast_products` set stays.

    Below 64 examples a batch it does not stay: a step takes up to two fifths more time there with oneDNN than with MKL.
    """
    if precision != "highest" or (batch_size is not None and batch_size < 64):
        torch.set_float32_matmul_precision(precision)


def choose_threads(batch_size: int | None) -> None:
    """Use one CPU thread for batches below 4,096 examples, unless OMP_NUM_THREADS is set.

    A step of a small net is too short to share. Up to a thousand examples a second thread costs what it saves, and if
    another program keeps a core busy, torch's threads wait for each other and a step takes fifty times as long. With
    four thousand examples it saves a quarter of the time. It saves as much in steps of 5 ms and more, for twice the CPU
    time: OMP_NUM_THREADS=2 is worth a try for larger nets on an idle machine; scripts/bench/threads.py measures it.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return
    small = batch_size is not None and batch_size < 4096
    if small:
        torch.set_num_threads(1)
    why = "the fastest for small batches" if small else "since batches are large"
    log.info(f"CPU threads: {torch.get_num_threads()}, {why}; set OMP_NUM_THREADS to change it")
