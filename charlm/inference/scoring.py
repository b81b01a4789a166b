"""How surprising names are to a net. Dimension key: B examples or names, L positions, V."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from charlm.data.contexts import build_contexts
from charlm.data.sequences import build_sequences
from charlm.nets.interface import block_size_of, check_longest, takes_names
from charlm.nets.loss import device_of, evaluating, nats
from charlm.tokenizer import IGNORED, CharTokenizer

_WINDOWS = 1 << 16  # characters scored at a time: bounds the memory
_NAMES = 1 << 10  # names scored at a time, as they are padded to the longest of them


@dataclass(frozen=True)
class NameScore:
    """How surprising a name is to a net.

    Args:
        name: the name.
        nats: the surprise -log p in nats of each character after those before it; the last one is the name's end.
    """

    name: str
    nats: list[float]

    @property
    def total(self) -> float:
        """Nats of the whole name, its end included: -log p(name)."""
        return math.fsum(self.nats)

    @property
    def mean(self) -> float:
        """Nats per character, the end counted as one."""
        return self.total / len(self.nats)


@torch.inference_mode()
def score_names(net: nn.Module, tokenizer: CharTokenizer, names: Sequence[str]) -> list[NameScore]:
    """How surprising each character of each name is, in nats; their mean over all names is the net's loss on them.

    Args:
        net: as for `sample_names`.
        tokenizer: the characters of the net's ids.
        names: names over the tokenizer's alphabet.

    Raises:
        ValueError: a character outside the alphabet, or a name that is too long for the net, which the message names;
            or logits that are NaN.
    """
    for name in names:
        tokenizer.encode(name)
    if not names:
        return []
    with evaluating(net):
        surprises = torch.cat(list(_surprises(net, tokenizer, names)))
    if surprises.isnan().any():  # infinity is the answer of a count table
        raise ValueError("the net gives no character a probability: its logits are NaN; use another checkpoint")
    surprise = surprises.tolist()
    ends = itertools.accumulate(len(name) + 1 for name in names)
    return [NameScore(name, surprise[end - len(name) - 1 : end]) for name, end in zip(names, ends, strict=True)]


def _surprises(net: nn.Module, tokenizer: CharTokenizer, names: Sequence[str]) -> Iterator[Tensor]:
    """The nats of every character of all names, piece by piece, float (B,)."""
    device = device_of(net)
    if not takes_names(net):
        context, target = build_contexts(names, tokenizer, block_size_of(net))
        for c, t in zip(context.split(_WINDOWS), target.split(_WINDOWS), strict=True):
            yield nats(net(c.to(device)), t.to(device)).cpu()
        return
    longest = max(names, key=len)
    check_longest(net, len(longest), repr(longest))
    for first in range(0, len(names), _NAMES):
        whole, target = build_sequences(names[first : first + _NAMES], tokenizer)
        yield nats(net(whole.to(device)), target.to(device)).cpu()[target != IGNORED]
