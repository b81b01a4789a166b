"""Candidates from several nets, one for each label, as if one net drew names with labels. Dimension key: K nets."""

from bisect import bisect
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

import torch
from torch import nn

from charlm.inference.candidates import Candidates
from charlm.inference.character_sampler import CharacterSampler
from charlm.inference.decoding import decoder_for

_AT_ONCE = 1 << 8  # candidates that are drawn for one part of the names


class MixedCandidates:
    """Draws a net and then a candidate from it, and both anew after a candidate that does not meet the conditions.

    So a net's share of the names that meet them is in proportion to its share of all names, times the probability that
    a name of this net meets them.

    Args:
        of_net: gives the candidates of the net with a number; it is not called for nets that are never drawn.
        shares: the probability of each net, K numbers in proportion.
        seed: of the draws of nets.
    """

    def __init__(self, of_net: Callable[[int], Candidates], shares: Sequence[float], seed: int) -> None:
        self.of_net, self.shares = of_net, list(shares)
        self.streams: dict[int, _Stream] = {}  # of the nets that were drawn so far
        self.scales = [1.0] * len(self.shares)
        self.limits = self._limits()
        self.generator = torch.Generator().manual_seed(seed)
        self.drawn = 0
        """The number of candidates so far."""
        self.rarity = ""
        """That of a single net's candidates, for a message; "" if there are several nets."""

    def batches(self) -> Iterator[list[tuple[str, int]]]:
        """Names that meet the conditions, each with the number of its net, part by part, without an end."""
        if len(self.shares) == 1:
            candidates = self.of_net(0)
            for batch in candidates.batches():
                self.drawn, self.rarity = candidates.drawn, candidates.rarity
                yield [(name, 0) for name in batch if name is not None]
            return
        while True:
            places = torch.rand(_AT_ONCE, dtype=torch.float64, generator=self.generator).tolist()
            drawn = map(self._draw, places)
            yield [(name, number) for name, number in drawn if name is not None]

    def _draw(self, place: float) -> tuple[str | None, int]:
        """The next candidate of the net at a place from 0 to 1, and the number of the net."""
        number = min(bisect(self.limits, place * self.limits[-1]), len(self.limits) - 1)
        if number not in self.streams:
            self.streams[number] = _Stream(self.of_net(number))
        stream = self.streams[number]
        name = stream.next()
        self.drawn += 1
        if stream.scale != self.scales[number]:
            self.scales[number] = stream.scale
            self.limits = self._limits()
        return name, number

    def _limits(self) -> list[float]:
        """A candidate is kept with its probability over its scale, so it is drawn in proportion to the scale."""
        return list(accumulate(share * scale for share, scale in zip(self.shares, self.scales, strict=True)))


def prefix_probability(net: nn.Module, prefix: Sequence[int], sampler: CharacterSampler, vocab_size: int) -> float:
    """The probability that a name of a net begins with some ids, at least one."""
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
