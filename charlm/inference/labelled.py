"""Names with labels: from the net of one label, or from all of them. Dimension key: K labels."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from charlm.inference.sampling import sample_names
from charlm.nets.given_label import GivenLabel
from charlm.runs.checkpoint_file import Checkpoint
from charlm.tokenizer import CharTokenizer

Draw = Callable[[nn.Module, int, int], Iterable[str]]
"""Draws names: takes a net, the number of names and a seed."""


def of_label(net: nn.Module, tokenizer: CharTokenizer, label: str | None) -> nn.Module:
    """The net of the names with one label; where names have no labels, the net itself.

    Raises:
        ValueError: no such label, or none where names have labels.
    """
    start = tokenizer.start(label)
    return GivenLabel(net, start) if tokenizer.labels else net


def given_label(checkpoint: Checkpoint, label: str | None) -> Checkpoint:
    """A checkpoint as if it held the model of the names with one label, and these had no labels.

    Raises:
        ValueError: no such label, or none where names have labels.
    """
    net = of_label(checkpoint.net, checkpoint.tokenizer, label)
    return replace(checkpoint, net=net, tokenizer=CharTokenizer(checkpoint.tokenizer.alphabet))


def sample_with_labels(
    net: nn.Module, tokenizer: CharTokenizer, n: int, seed: int, shares: Sequence[float] | None = None, **options: Any
) -> list[tuple[str, str]]:
    """Names with their labels as from `draw_with_labels`; without `shares`, all labels are equally probable.

    The options are those of `sample_names`.
    """

    def draw(net: nn.Module, n: int, seed: int) -> list[str]:
        return sample_names(net, tokenizer, n, seed=seed, **options)

    return list(draw_with_labels(net, tokenizer, shares or [1.0] * len(tokenizer.labels), n, seed, draw))


def draw_with_labels(
    net: nn.Module, tokenizer: CharTokenizer, shares: Sequence[float], n: int, seed: int, draw: Draw
) -> Iterator[tuple[str, str]]:
    """Draw names, each given a label that is drawn before; yields the label, "" if names have none, and the name.

    Args:
        net: the net.
        tokenizer: the characters and labels of the net's ids.
        shares: how probable each label is, K numbers.
        n: number of names.
        seed: of all draws.
        draw: draws the names of one label; each label has a seed of its own.
    """
    if not tokenizer.labels:
        yield from zip(itertools.repeat(""), draw(net, n, seed))
        return
    limits = torch.tensor(shares, dtype=torch.float64).cumsum(0)
    places = torch.rand(n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * limits[-1]
    numbers = torch.searchsorted(limits, places, right=True).clamp_(max=len(limits) - 1).tolist()
    names = {
        number: iter(draw(of_label(net, tokenizer, label), numbers.count(number), (seed + number) % 2**63))
        for number, label in enumerate(tokenizer.labels)
        if number in numbers
    }
    for number in numbers:
        yield tokenizer.labels[number], next(names[number])
