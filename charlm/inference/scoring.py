"""How surprising names are to a net. Dimension key: B examples or names, L positions."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from charlm.callbacks.shared.evaluating import evaluating
from charlm.data.contexts import build_contexts
from charlm.data.sequences import build_sequences
from charlm.nets.given_label import check_label_given
from charlm.nets.interface import block_size_of, check_longest, takes_names
from charlm.nets.loss import device_of, nats
from charlm.tokenizer import IGNORED, CharTokenizer

_WINDOWS_AT_ONCE = 1 << 16  # bounds the memory
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
        surprises = torch.cat(list(_surprises(net, tokenizer, names)))
    if surprises.isnan().any():  # infinity is allowed: a count table has it for pairs that it never saw
        raise ValueError("the net gives no character a probability: its logits are NaN; use another checkpoint")
    surprise = surprises.tolist()
    ends = itertools.accumulate(len(name) + 1 for name in names)
    return [NameScore(name, surprise[end - len(name) - 1 : end]) for name, end in zip(names, ends, strict=True)]


def _surprises(net: nn.Module, tokenizer: CharTokenizer, names: Sequence[str]) -> Iterator[Tensor]:
    """The nats of every character of all names, float (B,), a part at a time."""
    device = device_of(net)
    if not takes_names(net):
        context, target = build_contexts(names, tokenizer, block_size_of(net))
        for c, t in zip(context.split(_WINDOWS_AT_ONCE), target.split(_WINDOWS_AT_ONCE), strict=True):
            yield nats(net(c.to(device)), t.to(device)).cpu()
        return
    longest = max(names, key=len)
    check_longest(net, len(longest), repr(longest))
    for first in range(0, len(names), _NAMES_AT_ONCE):
        whole, target = build_sequences(names[first : first + _NAMES_AT_ONCE], tokenizer)
        yield nats(net(whole.to(device)), target.to(device)).cpu()[target != IGNORED]
