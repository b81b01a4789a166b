"""The one loss of every net, in nats per character. Dimension key: B batch, L positions, V = vocab_size."""

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from charlm.callbacks.shared.evaluating import evaluating
from charlm.tokenizer import IGNORED


@dataclass(frozen=True)
class Evaluation:
    """An exact mean over examples.

    Args:
        loss: mean cross-entropy in nats per character, the end of each name included; weighted, if names have weights.
        count: characters in the mean; with weights, the sum of those of all characters.
    """

    loss: float
    count: float

    @property
    def perplexity(self) -> float:
        """exp(loss): the number of equally likely characters that would be as hard to guess."""
        return math.exp(self.loss)


def nats(logits: Tensor, target: Tensor) -> Tensor:
    """The surprise of every target.

    Args:
        logits: float (B, V) or (B, L, V).
        target: int64 (B,) or (B, L); -1 is ignored.

    Returns:
        float, shaped like `target`: -log p(target) in nats, 0 where the target is -1.
    """
    flat = F.cross_entropy(logits.flatten(0, -2), target.flatten(), ignore_index=IGNORED, reduction="none")
    return flat.view_as(target)


def cross_entropy(logits: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The mean of `nats` over the targets that count; shapes as there, result float ().

    Args:
        logits: float (B, V) or (B, L, V).
        target: int64 (B,) or (B, L); -1 is ignored.
        label_smoothing: share of each target that is spread over all V, in [0, 1).
    """
    flat, targets = logits.flatten(0, -2), target.flatten()
    return F.cross_entropy(flat, targets, ignore_index=IGNORED, label_smoothing=label_smoothing)


def counted(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (N, V) and targets (N,) of the N characters that count; those of windows are returned unchanged."""
    if target.dim() == 1:
        return logits, target
    counts = target != IGNORED
    return logits[counts], target[counts]


def target_weights(target: Tensor, weights: Tensor | None = None) -> Tensor:
    """How often each target counts in a mean.

    Args:
        target: int64 (B,) or (B, L); -1 is ignored.
        weights: (B,), how often each example counts; None: once.

    Returns:
        float32, shaped like `target`: 0 where the target is -1.
    """
    counts = (target != IGNORED).float()
    return counts if weights is None else counts * weights.view(-1, *[1] * (target.dim() - 1))


@torch.inference_mode()
def evaluate(net: nn.Module, batches: Iterable[tuple[Tensor, ...]]) -> Evaluation:
    """The exact mean loss of a net over batches of any size.

    Args:
        net: context in, logits out; it is evaluated in eval mode, and each part is back in its own mode afterwards.
        batches: pairs of context int64 (B, T) and target int64 (B,); or of names and target, both int64 (B, L). A third
            part are the weights of the examples, float (B,).

    Raises:
        ValueError: there is no target to evaluate.
    """
    total, count = 0.0, 0.0
    for _, surprise, weight in weighted_nats(net, batches):
        total += surprise.sum().item()
        count += weight.sum().item()
    if count == 0:
        raise ValueError("there is no example to evaluate; give this split a share of the names")
    return Evaluation(total / count, count)


@torch.inference_mode()
def weighted_nats(net: nn.Module, batches: Iterable[tuple[Tensor, ...]]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """What a mean loss is made of; the arguments are those of `evaluate`.

    Yields:
        For each batch its context, and on the CPU, float64, both shaped like its target: the surprise of each target in
        nats times its weight, and the weight.
    """
    device = device_of(net)
    with evaluating(net):
        for context, target, *weights in batches:
            weight = target_weights(target, *weights).double()
            surprise = nats(net(context.to(device)), target.to(device)).cpu().double()
            yield context, surprise * weight, weight


def device_of(net: nn.Module) -> torch.device:
    """The device that holds the weights of a net; of one without weights the CPU."""
    return next(itertools.chain(net.parameters(), net.buffers()), torch.empty(0)).device
