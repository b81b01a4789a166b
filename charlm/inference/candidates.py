"""Candidates for names, of which those that meet the conditions are kept. Dimension key: B rows, V = vocab_size.

Names that meet conditions follow the net's own distribution. To forbid at each step what cannot be right would change
it: names that soon come to a dead end would be drawn too often. So names are drawn freely, and those that meet the
conditions are kept.

If these are few, a look-ahead steers the draws: the probability of each next character is multiplied by the probability
that a name will meet the conditions after it. A name is then kept with a probability in proportion to p / q, where p is
its probability for the net and q its probability in the steered draws.

For a net of few contexts, such as an MLP of three characters, the look-ahead is computed from the net itself. Then all
p / q are equal, all candidates are kept, and the distribution is exact. For other nets it is estimated from n-grams of
names that the net has drawn. The greatest p / q is then not known, and the greatest seen so far stands for it, so a few
names are drawn a little too seldom; scripts/bench/sampling.py measures how much. Such a look-ahead is used for rare
names only, and only if it is faster.

The batches do not depend on how many names are wanted, so one seed gives one sequence of names, bit for bit.
"""

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from charlm.data.contexts import Contexts
from charlm.inference.automaton import automaton_of
from charlm.inference.character_sampler import CharacterSampler, draw
from charlm.inference.conditions import Conditions
from charlm.inference.decoding import decoder_for
from charlm.inference.lookahead import Lookahead, Steering, look_ahead
from charlm.nets.interface import positions_of, takes_names
from charlm.nets.ngram import NGram
from charlm.tokenizer import BOUNDARY, CharTokenizer

_FIRST_BATCHES = (512, 512)  # small, so that a few names cost little; one is enough for NameSamples
_PLAIN = 1 << 14  # candidates drawn before there is a look-ahead, which may be estimated from them; whole batches
_ENOUGH = 1 / 16  # if this share of them meets the conditions, a look-ahead would not be faster
_RARE = 1 / 256  # above this share no look-ahead is estimated, so that the distribution stays exact
_TRIAL = 2  # batches drawn with a look-ahead to decide whether it is used
_FASTER = 4  # times as many candidates as without it have to be kept, or it is not used
_CONTEXTS = (3, 2, 1)  # characters of context of the n-grams; the first whose tables are small enough


class Candidates:
    """Names drawn from a net, one batch after the other.

    Args:
        net: as for `sample_names`.
        tokenizer: its characters.
        conditions: what the names have to be like.
        sampler: turns logits into probabilities.
        seed: of the draws.
        cut: length at which names are cut, if the conditions have no greatest length.

    Raises:
        ValueError: a prefix with a character outside the alphabet, or conditions that no name meets.
    """

    def __init__(
        self,
        net: nn.Module,
        tokenizer: CharTokenizer,
        conditions: Conditions,
        sampler: CharacterSampler,
        seed: int,
        cut: int,
    ) -> None:
        self.net, self.tokenizer, self.conditions, self.sampler = net, tokenizer, conditions, sampler
        self.generator = torch.Generator().manual_seed(seed)
        self.prefix = tokenizer.encode(conditions.prefix)
        longest = conditions.max_length
        limit = cut if longest is None else longest + 1
        self.limit = min(limit, positions_of(net) or limit)
        """Length at which a name is cut; with a greatest length, a cut name is one that is too long."""
        self.lengths = range(conditions.min_length, self.limit + (longest is None))
        self.automaton = automaton_of(conditions.patterns, tokenizer)
        self._refuse_impossible()
        self.batch_size = decoder_for(net).max_rows
        self.drawn = 0
        """The number of candidates so far."""
        self.lookahead: Lookahead | None = None
        """The look-ahead in use; None before it is decided that one is faster."""
        self.scale = 1.0
        """The probability that a draw of the net's own meets the conditions, over the probability that a candidate of
        the last batch is kept."""
        self.share = 0.0
        """The share of the net's own draws that meet the conditions; 0.0 if it was not estimated."""

    @property
    def rarity(self) -> str:
        """How rare names that meet the conditions are, for a message; "" if it was not estimated."""
        return f" (about 1 of {1 / self.share:,.0f} meets the conditions)" if self.share else ""

    def batches(self) -> Iterator[Sequence[str | None]]:
        """Batches of candidates, without an end; None stands for those that are not kept."""
        sizes = itertools.chain(_FIRST_BATCHES, itertools.repeat(self.batch_size))
        plain = (self._draw(size)[0] for size in sizes)
        if not self.conditions.restrict:
            yield from plain  # which has no end
        seen: list[str] = []
        while len(seen) < _PLAIN:
            seen += (names := next(plain))
            yield self._without_others(names)
        met = sum(map(self._meets, seen))
        if met < _ENOUGH * _PLAIN and (lookahead := self._look_ahead(seen, met)):
            yield from self._steered(lookahead)
        yield from map(self._without_others, plain)

    def _steered(self, lookahead: Lookahead) -> Iterator[list[str | None]]:
        """Names drawn with a look-ahead, if that is faster; each is kept with p / q as a share of the greatest p / q.

        Source: von Neumann 1951, "Various techniques used in connection with random digits" (rejection).
        """
        trial = [self._draw(self.batch_size, lookahead) for _ in range(_TRIAL)]
        weights = torch.cat([weights for _, _, weights in trial])
        self.share = float(weights.mean()) * lookahead.probability
        greatest = float(weights.max())
        if not float(weights.mean()) > _FASTER * self.share * greatest:
            return
        self.lookahead = lookahead
        more = (self._draw(self.batch_size, lookahead) for _ in itertools.count())
        for names, uniforms, weights in itertools.chain(trial, more):
            greatest = max(greatest, float(weights.max()))
            self.scale = lookahead.probability * greatest
            kept = (uniforms * greatest < weights).tolist()
            yield [name if keep and self._meets(name) else None for name, keep in zip(names, kept, strict=True)]

    def _look_ahead(self, seen: list[str], met: int) -> Lookahead | None:
        """A look-ahead by the net's own contexts if they are few; else, for rare names, by n-grams of seen names."""
        if self.automaton is None:
            return None
        parts = (self.automaton, self.prefix, self.lengths, self.limit)
        if not takes_names(self.net) and (found := look_ahead(self.net, self.sampler, *parts)):
            return found
        if met > _RARE * _PLAIN:
            return None
        ids = self.tokenizer.encode_lines("".join(f"{name}\n" for name in seen))
        grams = (NGram.from_contexts(Contexts(ids, T), self.tokenizer.vocab_size) for T in _CONTEXTS)
        return next(filter(None, (look_ahead(net, CharacterSampler(), *parts) for net in grams)), None)

    def _draw(self, rows: int, lookahead: Lookahead | None = None) -> tuple[list[str], Tensor, Tensor]:
        """Draw names side by side; finished rows leave the computation.

        Returns:
            the names; one more random number in [0, 1) for each, float64 (B,); and p / q of each, up to a factor that
            is the same for all, float64 (B,).
        """
        decoder = decoder_for(self.net)(self.net, rows)
        # as many for each name as it can need, so that a name does not depend on those beside it
        uniforms = torch.rand(rows, self.limit + 1, dtype=torch.float64, generator=self.generator).t().contiguous()
        steering = None if lookahead is None else Steering(lookahead, rows)
        logits = decoder.start(self.prefix)
        open_rows = torch.arange(rows)
        columns = [torch.full((rows,), i) for i in self.prefix]
        while True:
            logits = logits[:, : self.tokenizer.vocab_size].cpu()
            weights = self.sampler.weights(logits, end_allowed=bool(columns))
            if steering:
                weights = steering.steered(weights)
            drawn = draw(weights, uniforms[len(columns)][open_rows])
            columns.append(torch.full((rows,), BOUNDARY).index_copy(0, open_rows, drawn))
            unfinished = drawn != BOUNDARY
            open_rows = open_rows[unfinished]
            if not len(open_rows) or len(columns) == self.limit:
                break
            if steering:
                steering.step(drawn, unfinished)
            logits = decoder.step(drawn, unfinished)
        columns.append(torch.full((rows,), BOUNDARY))  # the end of names that were cut
        ids = torch.stack(columns, dim=1)
        ended = ids == BOUNDARY
        self.drawn += rows
        names = self.tokenizer.decode_lines(ids[(ended.cumsum(1) - ended.long()) == 0])  # up to the first boundary
        return names, uniforms[-1], steering.log_weight.exp() if steering else torch.ones(rows).double()

    def _without_others(self, names: list[str]) -> list[str | None]:
        """The names, with None for those that do not meet the conditions."""
        return [name if self._meets(name) else None for name in names]

    def _meets(self, name: str) -> bool:
        return len(name) in self.lengths and self.conditions.are_met(name)

    def _refuse_impossible(self) -> None:
        """Refuse conditions that no name over the alphabet meets."""
        if len(self.prefix) >= self.limit:
            raise ValueError(
                f"the prefix {self.conditions.prefix!r} has {len(self.prefix)} characters, and names are cut at"
                f" {self.limit}; give a shorter `prefix`"
            )
        read, shortest, longest = len(self.prefix), max(self.lengths.start, len(self.prefix)), self.lengths.stop - 1
        possible = shortest <= longest
        if possible and self.automaton is not None:
            possible = self.automaton.accepts_some(self.automaton.after(self.prefix), shortest - read, longest - read)
        if not possible:
            raise ValueError(
                f"no name of at most {longest} characters over the model's alphabet meets the conditions:"
                f" {self.conditions}"
            )
