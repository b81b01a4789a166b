"""The weights of the batches of several processes: in training on whole names, and in an evaluation."""

from lightning.pytorch import Trainer
from torch import Tensor

from charlm.tokenizer import IGNORED


def rank_weight(trainer: Trainer, target: Tensor) -> Tensor | None:
    """What a process's mean loss is to be multiplied by before the processes' mean is taken, as DDP does.

    Names are of unequal length, so that the processes have unequal numbers of characters: the mean of their means is
    not the mean over all characters, which one process would take of the same names.

    Args:
        trainer: in training; every process has to ask.
        target: int64 (B, L) of this process, padding -1; or (B,) of windows, of which all have as many.

    Returns:
        float (): the characters of this process, divided by their mean over the processes; None where that is 1.
    """
    if trainer.world_size == 1 or target.dim() == 1:
        return None
    count = (target != IGNORED).sum().float()
    return count / trainer.strategy.reduce(count.clone(), reduce_op="mean")


def weight_in_epoch(trainer: Trainer | None, target: Tensor) -> int:
    """A batch's weight in the mean that Lightning takes over an epoch and all processes.

    That is the number of targets, times that of processes. Lightning adds up each process's weights and rounds the
    processes' mean of these sums down to a whole number; with an odd number of targets on two processes, the loss of
    an evaluation would be too large by as much.

    Args:
        trainer: None for a model without one.
        target: int64 (N,) of this process, without padding.
    """
    return len(target) * getattr(trainer, "world_size", 1)
