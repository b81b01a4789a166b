"""The weights of the batches of several processes in training on whole names."""

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
