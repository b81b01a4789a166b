"""How surprising names are to a net. Dimension key: B examples or names, L positions."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from charlm.callbacks.shared.evaluating import evaluating
from charlm.data.contexts import build_contexts
from charlm.data.sequences import build_sequences
from charlm.nets.given_label import check_label_given
from charlm.nets.interface import block_size_of, check_longest, takes_names
from charlm.nets.loss import device_of, nats
from charlm.tokenizer import CharTokenizer

_WINDOWS_AT_ONCE = 1 << 9  # few: large tensors of ever new sizes leave holes and kernels in memory
_NAMES_AT_ONCE = 1 << 10  # few, because they are padded to the longest of them


@dataclass(frozen=True)
class NameScore:
    """How surprising a name is to a net.

    Args:
        name: the name.
        nats: -log p in nats of each character, given those before it; the last one is for the name's end.
    """

    name: str
    nats: list[float]

    @property
    def total(self) -> float:
        """-log p(name) in nats, including the name's end."""
        return math.fsum(self.nats)

    @property
    def mean(self) -> float:
        """Nats per character; the end counts as one."""
        return self.total / len(self.nats)


@torch.inference_mode()
def score_names(net: nn.Module, tokenizer: CharTokenizer, names: Sequence[str]) -> list[NameScore]:
    """Score each character of each name by -log p, in nats; the mean over all characters is the net's loss on them.

    Args:
        net: as for `sample_names`.
        tokenizer: the characters of the net's ids.
        names: names over the tokenizer's alphabet.

    Returns:
        one score for each name, in the same order.

    Raises:
        ValueError: a character outside the alphabet, a name that is too long for the net, a net of names with labels
            that is given none, or NaN logits.
    """
    check_label_given(net, tokenizer)
    for name in names:
        tokenizer.encode(name)
    if not names:
        return []
    with evaluating(net):
        surprises = (_of_whole_names if takes_names(net) else _of_windows)(net, tokenizer, names)
    if math.isnan(sum(map(sum, surprises))):  # infinity is allowed: a count table has it for pairs that it never saw
        raise ValueError("the net gives no character a probability: its logits are NaN; use another checkpoint")
    return list(map(NameScore, names, surprises))


def _of_windows(net: nn.Module, tokenizer: CharTokenizer, names: Sequence[str]) -> list[list[float]]:
    """The nats of every character of each name."""
    device = device_of(net)
    context, target = build_contexts(names, tokenizer, block_size_of(net))
    parts = zip(context.split(_WINDOWS_AT_ONCE), target.split(_WINDOWS_AT_ONCE), strict=True)
    surprise = torch.cat([nats(net(c.to(device)), t.to(device)).cpu() for c, t in parts]).tolist()
    ends = itertools.accumulate(len(name) + 1 for name in names)
    return [surprise[end - len(name) - 1 : end] for name, end in zip(names, ends, strict=True)]


def _of_whole_names(net: nn.Module, tokenizer: CharTokenizer, names: Sequence[str]) -> list[list[float]]:
    """The same by a net of whole names, some names of about the same length at a time."""
    device, longest = device_of(net), max(names, key=len)
    check_longest(net, len(longest), repr(longest))
    surprises: list[list[float]] = [[] for _ in names]
    by_length = sorted(range(len(names)), key=lambda number: len(names[number]))
    for first in range(0, len(names), _NAMES_AT_ONCE):
        numbers = by_length[first : first + _NAMES_AT_ONCE]
        whole, target = build_sequences([names[number] for number in numbers], tokenizer)
        rows = nats(net(whole.to(device)), target.to(device)).tolist()
        for number, row in zip(numbers, rows, strict=True):
            surprises[number] = row[: len(names[number]) + 1]
    return surprises
