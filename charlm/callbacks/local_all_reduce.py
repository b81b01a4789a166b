"""Gradients averaged between the processes of one machine, where gloo takes longer than a small model's step."""

from collections.abc import Sequence
from multiprocessing.connection import Client, Connection, Listener
from os import urandom
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

_PATIENCE = 1800  # seconds to wait for another process, as torch.distributed does; this one's stops do not count


class LocalAllReduce(Callback):
    """Average the gradients of DDP's processes over sockets of one machine instead of over gloo.

    Gloo hands every message on through three threads a process. Where the processes keep all cores busy these wait for
    a core, up to 4 ms on Linux, which can be half of a small model's step. Here the thread that needs the gradients
    sends and receives them. They are what gloo gives: for two processes bit for bit, for more within rounding.

    Gloo stays in use, and this callback does nothing, on GPUs, over several machines, in another strategy than
    Lightning's DDP, and for gradients of more than `max_bytes`, which gloo exchanges while the others are computed.
    Not to be used beside another communication hook. What becomes of a process that stands still is ProcessGuard's
    part.

    Args:
        max_bytes: of all gradients together; 0: always gloo.

    Raises:
        ValueError: `max_bytes` < 0.
        ConnectionError: in training, when another process has ended.
        TimeoutError: when another process has sent nothing for half an hour.
    """

    def __init__(self, max_bytes: int = 1 << 20) -> None:
        if max_bytes < 0:
            raise ValueError(f"LocalAllReduce's max_bytes is {max_bytes}; give a number of bytes, or 0 to leave it out")
        self.max_bytes = max_bytes
        self._peers: list[Connection] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Connect the processes, where that is of use."""
        model = trainer.strategy.model
        if isinstance(model, DistributedDataParallel) and self._is_of_use(trainer, model):
            self._peers = _connected(trainer.global_rank, trainer.world_size)
            if self._peers:
                model.register_comm_hook(self._peers, _average)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the sockets."""
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close the sockets, which tells the other processes."""
        self._close()

    def _is_of_use(self, trainer: Trainer, model: DistributedDataParallel) -> bool:
        learnt = [p for p in model.parameters() if p.requires_grad]
        return (
            type(trainer.strategy) is DDPStrategy
            and trainer.num_nodes == 1
            and trainer.world_size > 1
            and dist.get_backend() == "gloo"
            and all(p.device.type == "cpu" for p in learnt)
            and sum(p.nbytes for p in learnt) <= self.max_bytes
        )

    def _close(self) -> None:
        for peer in self._peers:
            peer.close()
        self._peers = []


def _connected(rank: int, world_size: int) -> list[Connection]:
    """Process 0: the others by rank. The others: process 0. None where this machine allows no such sockets."""
    key, listener = urandom(32), None
    if rank == 0:
        try:
            listener = Listener(None, backlog=world_size, authkey=key)
        except OSError as error:
            rank_zero_warn(f"LocalAllReduce has no socket ({error}); gradients are exchanged by gloo")
    address: list[Any] = [(listener.address, key) if listener is not None else None]
    dist.broadcast_object_list(address, src=0)
    if address[0] is None:
        return []
    if listener is None:
        where, key = address[0]
        peer = Client(where, authkey=key)
        peer.send(rank)
        return [peer]
    with listener:
        peers = [listener.accept() for _ in range(world_size - 1)]
    by_rank = {peer.recv(): peer for peer in peers}
    return [by_rank[rank] for rank in sorted(by_rank)]


def _average(peers: Sequence[Connection], bucket: dist.GradBucket) -> Future[Tensor]:
    """A communication hook of DistributedDataParallel: process 0 adds up, by rank, and sends the sum back."""
    gradients = bucket.buffer().div_(dist.get_world_size())
    if dist.get_rank() == 0:
        for rank, peer in enumerate(peers, start=1):
            gradients += _receive(peer, torch.empty_like(gradients), rank)
        for rank, peer in enumerate(peers, start=1):
            _send(peer, gradients, rank)
    else:
        _send(peers[0], gradients, 0)
        _receive(peers[0], gradients, 0)
    done: Future[Tensor] = Future()
    done.set_result(gradients)
    return done


def _send(peer: Connection, tensor: Tensor, rank: int) -> None:
    try:
        peer.send_bytes(_memory(tensor))
    except OSError as error:
        raise _gone(rank) from error


def _receive(peer: Connection, tensor: Tensor, rank: int) -> Tensor:
    try:
        in_time = any(peer.poll(1.0) for _ in range(_PATIENCE))
        if in_time:
            peer.recv_bytes_into(_memory(tensor))
    except (EOFError, OSError) as error:
        raise _gone(rank) from error
    if not in_time:
        raise TimeoutError(f"process {rank} has sent no gradients for {_PATIENCE} seconds; look at what holds it up")
    return tensor


def _memory(tensor: Tensor) -> memoryview:
    return tensor.view(torch.uint8).numpy().data


def _gone(rank: int) -> ConnectionError:
    return ConnectionError(f"process {rank} of this training has ended; its own message says why")
