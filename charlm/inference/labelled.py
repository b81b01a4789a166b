"""Names with labels: from the net of one label, or from all of them. Dimension key: K labels."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from charlm.inference.character_sampler import CharacterSampler
from charlm.inference.conditions import Conditions
from charlm.inference.sampling import draw_names
from charlm.nets.given_label import GivenLabel
from charlm.nets.loss import weighted_nats
from charlm.runs.load_checkpoint import Checkpoint
from charlm.tokenizer import CharTokenizer


def net_given_label(net: nn.Module, tokenizer: CharTokenizer, label: str | None) -> nn.Module:
    """A net of names with one label, from a net of names with labels; where names have no labels, the net itself.

    Raises:
        ValueError: no such label, or none where names have labels.
    """
    start = tokenizer.start(label)
    return GivenLabel(net, start) if tokenizer.labels else net


def checkpoint_given_label(checkpoint: Checkpoint, label: str | None) -> Checkpoint:
    """A checkpoint of names with one label, as if these had no labels, from a checkpoint of names with labels.

    Raises:
        ValueError: no such label, or none where names have labels.
    """
    net = net_given_label(checkpoint.net, checkpoint.tokenizer, label)
    return replace(checkpoint, net=net, tokenizer=CharTokenizer(checkpoint.tokenizer.alphabet))


def losses_by_label(
    net: nn.Module, tokenizer: CharTokenizer, batches: Iterable[tuple[Tensor, ...]]
) -> dict[str, float]:
    """The exact mean loss of the names of each label in nats per character, for the labels that names have.

    The arguments are those of `evaluate` and `net_given_label`.
    """
    total, count = torch.zeros(2, len(tokenizer.labels), dtype=torch.float64)
    for context, surprise, weight in weighted_nats(net, batches):
        number = context[:, 0] - tokenizer.vocab_size  # of the label, which begins each context
        total.index_add_(0, number, surprise.view(len(number), -1).sum(1))
        count.index_add_(0, number, weight.view(len(number), -1).sum(1))
    means = zip(tokenizer.labels, total.tolist(), count.tolist(), strict=True)
    return {label: nats / characters for label, nats, characters in means if characters}


def sample_with_labels(
    net: nn.Module, tokenizer: CharTokenizer, n: int, seed: int, shares: Sequence[float] | None = None, **options: Any
) -> list[tuple[str, str]]:
    """Draw names, each with its label before it, or with "" if names have no labels.

    Args:
        net: the net.
        tokenizer: the characters and labels of the net's ids.
        n: number of names.
        seed: of all draws.
        shares: the probability of each label, K numbers in proportion; None: all are equally probable.
        options: those of `draw_names`.
    """
    labels = tokenizer.labels or ("",)
    nets = [net_given_label(net, tokenizer, label or None) for label in labels]
    shares = shares or [1.0] * len(labels)
    drawn = draw_names(nets, tokenizer, n, Conditions(), CharacterSampler(), shares=shares, seed=seed, **options)
    return [(labels[number], name) for name, number in itertools.chain.from_iterable(drawn)]
