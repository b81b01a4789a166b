"""The bigram's loss of a large batch in an eighth of the time. Dimension key: B batch, T context length, V."""

import torch
from torch import Tensor

from charlm.nets.bigram import Bigram
from charlm.nets.counts import count_pairs


def loss_by_counts(net: Bigram, context: Tensor, target: Tensor) -> Tensor:
    """The cross-entropy as a mean over the V * V pairs of characters, each weighted by how often it occurs.

    Args:
        net: the bigram.
        context: int64 (B, T), of which the last column counts.
        target: int64 (B,), each a character's id.

    Returns:
        float (), in nats per character; within rounding the cross-entropy of the net's logits.

    Raises:
        ValueError: an id outside 0..V-1.
    """
    counts = count_pairs((context, target), len(net.W))[:, : net.W.shape[1]]  # labels are no targets
    share = counts.to(net.W) / counts.sum().item()
    return -torch.where(share > 0, share * net.W.log_softmax(1), 0).sum()
