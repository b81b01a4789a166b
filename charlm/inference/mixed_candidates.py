"""Candidates of several nets, one for each label, as of one net whose names have labels. Dimension key: K nets."""

from bisect import bisect
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

import torch
from torch import nn

from charlm.inference.candidates import Candidates
from charlm.inference.character_sampler import CharacterSampler
from charlm.inference.decoding import decoder_for

_AT_ONCE = 1 << 8


class MixedCandidates:
    """Draws a net and then a candidate of it, both anew after a candidate that does not meet the conditions.

    So a net's share of the names that meet them is its share of all names, times how probable it is that a name of it
    meets them.

    Args:
        of_net: makes the candidates of a net from its number; it is not asked for nets that are never drawn.
        shares: how probable each net is, K numbers.
        seed: of the draws of nets.
    """

    def __init__(self, of_net: Callable[[int], Candidates], shares: Sequence[float], seed: int) -> None:
        self.of_net, self.shares = of_net, list(shares)
        self.generator = torch.Generator().manual_seed(seed)
        self.drawn = 0
        """Candidates so far."""
        self.rarity = ""

    def batches(self) -> Iterator[list[tuple[str, int]]]:
        """Names that meet the conditions, each with the number of its net, part by part, without an end."""
        if len(self.shares) == 1:
            candidates = self.of_net(0)
            for batch in candidates.batches():
                self.drawn, self.rarity = candidates.drawn, candidates.rarity
                yield [(name, 0) for name in batch if name is not None]
            return
        scales = [1.0] * len(self.shares)
        streams: dict[int, _Stream] = {}
        limits = self._limits(scales)
        while True:
            part = []
            for place in torch.rand(_AT_ONCE, dtype=torch.float64, generator=self.generator).tolist():
                number = min(bisect(limits, place * limits[-1]), len(limits) - 1)
                if number not in streams:
                    streams[number] = _Stream(self.of_net(number))
                name = streams[number].next()
                self.drawn += 1
                if name is not None:
                    part.append((name, number))
                if streams[number].scale != scales[number]:
                    scales[number] = streams[number].scale
                    limits = self._limits(scales)
            yield part

    def _limits(self, scales: list[float]) -> list[float]:
        """A candidate is kept with its probability over its scale, so it is drawn in proportion to the scale."""
        return list(accumulate(share * scale for share, scale in zip(self.shares, scales, strict=True)))


def prefix_probability(net: nn.Module, prefix: Sequence[int], sampler: CharacterSampler, vocab_size: int) -> float:
    """How probable it is that a name of a net begins with some ids, of which there is one at least."""
    decoder = decoder_for(net)(net, rows=1)
    logits, probability = decoder.start([]), 1.0
    for place, i in enumerate(prefix):
        if place:
            logits = decoder.step(torch.tensor(prefix[place - 1 : place]), torch.ones(1, dtype=torch.bool))
        weights = sampler.weights(logits[:, :vocab_size].cpu(), end_allowed=place > 0)[0]
        probability *= float(weights[i] / weights.sum())
    return probability


class _Stream:
    """One candidate after the other; `scale` is that of the next one."""

    def __init__(self, candidates: Candidates) -> None:
        self.candidates, self.batches = candidates, candidates.batches()
        self.waiting = deque(next(self.batches))

    @property
    def scale(self) -> float:
        return self.candidates.scale

    def next(self) -> str | None:
        name = self.waiting.popleft()
        if not self.waiting:
            self.waiting.extend(next(self.batches))
        return name
