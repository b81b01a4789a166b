"""A net that sees few different contexts, written out. Dimension key: N contexts, F at a time, T = block_size, V."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from charlm.inference.character_sampler import CharacterSampler
from charlm.nets.given_label import GivenLabel
from charlm.nets.loss import device_of
from charlm.nets.ngram import NGram
from charlm.tokenizer import BOUNDARY

_MOST_ENTRIES = 1 << 22  # N * V: 48 MB


class ContextTable(NamedTuple):
    """What follows each context that a net can reach.

    Args:
        probabilities: float32 (N, V) of the next character; the first context is the one after the prefix.
        next: int64 (N, V): the number of the context after one more character; 0 if the character has probability 0.
    """

    probabilities: Tensor
    next: Tensor


def context_table(net: nn.Module, sampler: CharacterSampler, first: Tensor, vocab_size: int) -> ContextTable | None:
    """Write out a net of windows from its first context on.

    Args:
        net: context int64 (F, T) in, logits (F, V or more) out.
        sampler: turns logits into probabilities.
        first: int64 (1, T), the context after the prefix.
        vocab_size: V.

    Returns:
        None if the table would be too large.
    """
    number_of = _numbering(net, first.shape[1], vocab_size)
    if number_of is None:
        return None
    contexts, known = first, number_of(first)
    probabilities, followers = list[Tensor](), list[Tensor]()
    letters = torch.arange(vocab_size)
    while len(contexts):
        if len(known) * vocab_size > _MOST_ENTRIES:
            return None
        logits = net(contexts.to(device_of(net)))[:, :vocab_size].cpu()
        weights = sampler.weights(logits, end_allowed=bool((contexts[0] != BOUNDARY).any()))
        probabilities.append((weights / weights.sum(1, keepdim=True)).float())
        older = contexts[:, 1:].repeat_interleave(vocab_size, dim=0)
        children = torch.cat([older, letters.repeat(len(contexts))[:, None]], dim=1)
        possible = (weights > 0).index_fill(1, torch.tensor([BOUNDARY]), False).flatten()
        numbers = torch.where(possible, number_of(children), known[0])
        followers.append(numbers.view(-1, vocab_size))
        distinct, which = numbers.unique(return_inverse=True)
        one_of = torch.empty_like(distinct).scatter_(0, which, torch.arange(len(which)))
        new = ~torch.isin(distinct, known)
        contexts, known = children[one_of[new]], torch.cat([known, distinct[new]])
    in_order = known.argsort()
    place = in_order[torch.searchsorted(known[in_order], torch.cat(followers))]
    return ContextTable(torch.cat(probabilities), place)


def _numbering(net: nn.Module, block_size: int, vocab_size: int) -> Callable[[Tensor], Tensor] | None:
    """Numbers contexts, int64 (F, T) to (F,), alike if the net cannot tell them apart; None if there are too many."""
    ngram, inputs = (net.net, net.labelled) if isinstance(net, GivenLabel) else (net, lambda contexts: contexts)
    if isinstance(ngram, NGram):
        device = device_of(net)
        return lambda contexts: ngram.longest_seen(inputs(contexts.to(device))).cpu()
    if vocab_size ** (block_size + 1) > _MOST_ENTRIES:
        return None
    places = vocab_size ** torch.arange(block_size)
    return lambda contexts: contexts @ places
