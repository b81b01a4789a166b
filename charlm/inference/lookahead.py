"""How probable it is that an unfinished name will meet the conditions.

Dimension key: N contexts of a table, S states of an automaton, B rows, V = vocab_size.
"""

import torch
from torch import Tensor, nn

from charlm.inference.automaton import Automaton
from charlm.inference.character_sampler import CharacterSampler
from charlm.inference.context_table import ContextTable, context_table
from charlm.inference.decoding import WindowDecoder
from charlm.tokenizer import BOUNDARY

_MOST_WORK = 1 << 25  # N * S * V, for each length
_MOST_NUMBERS = 1 << 26  # of all lengths: 256 MB
_CONVERGED = 1e-6  # relative


class Lookahead:
    """The probability that a name will meet the conditions, by its length, context and state of the automaton.

    It is computed backwards from the longest names. A draw of the next character is steered by it: the probability of
    each character is multiplied by what is ahead after it.

    Args:
        table: what follows each context.
        automaton: accepts the names that meet the conditions, whatever their length.
        prefix: the ids that every name begins with.
        lengths: of the names that meet the conditions, all counted with the prefix.
        limit: length at which a name is cut.
    """

    def __init__(
        self, table: ContextTable, automaton: Automaton, prefix: list[int], lengths: range, limit: int
    ) -> None:
        self.table = table
        self.follow = torch.from_numpy(automaton.next)
        self.accepts = torch.from_numpy(automaton.accepts).float()
        self.state = automaton.after(prefix)
        self.length = len(prefix)
        self.lengths = lengths
        met = self.accepts.expand(len(table.next), -1) * (limit in lengths)
        self.met = {limit: met}
        steady = False  # where a name may end at any length, there is soon no difference between two lengths
        for length in range(limit - 1, self.length - 1, -1):
            if not steady or length not in lengths:
                before = self._before(met) + table.probabilities[:, :1] * self.accepts * (length in lengths)
                steady = bool(((before - met).abs() <= _CONVERGED * before).all())
                met = before
            self.met[length] = met

    @property
    def probability(self) -> float:
        """That a name meets the conditions, given its prefix."""
        return float(self.met[self.length][0, self.state])

    def _before(self, met: Tensor) -> Tensor:
        """The mean of `met` after one more character, float32 (N, S)."""
        mean = torch.zeros(met.shape)
        for letter in range(BOUNDARY + 1, self.follow.shape[1]):
            mean += (
                self.table.probabilities[:, letter, None] * met[self.table.next[:, letter]][:, self.follow[:, letter]]
            )
        return mean


def look_ahead(
    net: nn.Module, sampler: CharacterSampler, automaton: Automaton, prefix: list[int], lengths: range, limit: int
) -> Lookahead | None:
    """The look-ahead by all contexts of a net of windows; the other arguments are those of `Lookahead`.

    Returns:
        None if its tables would be too large, or if it finds no name that meets the conditions.
    """
    first = WindowDecoder(net, rows=1)
    first.start(prefix)
    states, vocab_size = automaton.next.shape
    table = context_table(net, sampler, first.context.cpu(), vocab_size)
    if table is None or table.next.numel() * states > _MOST_WORK or len(table.next) * states * limit > _MOST_NUMBERS:
        return None
    lookahead = Lookahead(table, automaton, prefix, lengths, limit)
    return lookahead if lookahead.probability > 0 else None


class Steering:
    """Steers the draws of some names side by side.

    Args:
        lookahead: what is ahead.
        rows: B, the number of names at first.
    """

    def __init__(self, lookahead: Lookahead, rows: int) -> None:
        self.lookahead = lookahead
        self.length = lookahead.length
        self.context = torch.zeros(rows, dtype=torch.int64)
        self.state = torch.full((rows,), lookahead.state)
        self.open_rows = torch.arange(rows)
        self.log_weight = torch.zeros(rows, dtype=torch.float64)
        """log p(name) - log q(name), where q is the steered draw, up to a constant; -inf where a draw failed."""

    def steered(self, weights: Tensor) -> Tensor:
        """Steer the next draw.

        Args:
            weights: (B, V), in proportion to the probabilities of the net.

        Returns:
            the weights times what is ahead, float64 (B, V).
        """
        ahead, now = self.lookahead, self.lookahead.met[self.length][self.context, self.state]
        context, state = ahead.table.next[self.context], ahead.follow[self.state]
        after = ahead.met[self.length + 1][context, state]
        after[:, BOUNDARY] = ahead.accepts[self.state] * (self.length in ahead.lengths)
        steered = weights.double() / weights.sum(1, keepdim=True, dtype=torch.float64) * after
        total = steered.sum(1)
        self.log_weight[self.open_rows] += (total / now).log()
        steered[total == 0, BOUNDARY] = 1  # a name that failed ends at once
        return steered

    def step(self, ids: Tensor, unfinished: Tensor) -> None:
        """Go on to the next character, as the decoder does."""
        self.context = self.lookahead.table.next[self.context, ids][unfinished]
        self.state = self.lookahead.follow[self.state, ids][unfinished]
        self.open_rows = self.open_rows[unfinished]
        self.length += 1
