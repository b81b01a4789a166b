"""Training with several processes, which Lightning or torchrun starts."""

import os
from datetime import timedelta
from typing import Any

from jsonargparse import Namespace
from jsonargparse.typing import PositiveInt
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.strategies import DDPStrategy
from torch.distributed import DistError


class LostProcess(RuntimeError):
    """Another process of the training has ended, or stood still for too long."""

    exit_status = 1

    def __init__(self) -> None:
        super().__init__(
            "another process of this training has ended or stood still for longer than --ddp_timeout, so this one ends"
            " too; `charlm fit --resume` continues from the last checkpoint"
        )


def add_timeout(parser: LightningArgumentParser) -> None:
    """Add the option --ddp_timeout."""
    parser.add_argument(
        "--ddp_timeout", type=PositiveInt, default=60, help="seconds that processes wait for one that stands still"
    )


def is_of_other_process(error: RuntimeError) -> bool:
    """Whether the error says that another process has stopped responding."""
    return isinstance(error, DistError) or "gloo" in str(error)


def processes_of(options: Namespace) -> dict[str, Any]:
    """The Trainer's devices, nodes and strategy: the user's, or under torchrun the number of processes it has started.

    Processes wait for one that stands still for `options.ddp_timeout` seconds; Lightning's wait for half an hour.
    """
    devices, nodes, strategy = (options.trainer[name] for name in ("devices", "num_nodes", "strategy"))
    if "TORCHELASTIC_RUN_ID" in os.environ:
        devices = int(os.environ["LOCAL_WORLD_SIZE"]) if devices == "auto" else devices
        nodes = int(os.environ["GROUP_WORLD_SIZE"]) if nodes == 1 else nodes
    several = nodes > 1 or "," in str(devices) or (str(devices).isdecimal() and int(devices) > 1)
    if str(strategy).endswith(("spawn", "fork", "notebook")):
        raise ValueError(
            f"--trainer.strategy {strategy} is for notebooks; give ddp, which starts the same number of processes"
        )
    if strategy == "ddp" or (strategy == "auto" and several):
        strategy = DDPStrategy(timeout=timedelta(seconds=options.ddp_timeout))
    return {"devices": devices, "num_nodes": nodes, "strategy": strategy}
