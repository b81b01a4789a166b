"""The n-gram by counting, with Kneser-Ney smoothing. Dimension key: B batch, T = block_size, V = vocab_size.

M: different n-grams of T + 1 characters; C: contexts of up to T characters; S: n-grams of up to T + 1 characters.
"""

from typing import Any

import torch
from torch import Tensor, nn

from charlm.nets.counts import Gathers
from charlm.nets.parts.counting import between, discounts, find, merged
from charlm.nets.parts.sizes import check_sizes
from charlm.tokenizer import IGNORED

_CHUNK = 1 << 20  # examples gathered at a time: bounds the memory


class NGram(nn.Module):
    """The next character from the last T, by counting: interpolated modified Kneser-Ney smoothing.

    The probability of a character w after a context h is

        p(w | h) = (c(h w) - D) / c(h) + backoff(h) * p(w | h without its oldest character)

    For the longest h, of T characters, c(h w) is how often h w occurs. For a shorter one it is the number of different
    characters that were seen before h w, so that one frequent name does not make its parts probable everywhere. c(h) is
    the sum of c(h w) over all w.

    Every seen n-gram gives up the discount D, and backoff(h), the sum of these discounts as a share of c(h), goes to
    the distribution of the shorter context; below the empty context that is 1 / V. After a context that was never seen,
    the shorter one alone decides. D is D_1, D_2 or D_3 where c(h w) is 1, 2, or at least 3. They are estimated for each
    length of h, from the numbers n_j of n-grams with the count j:

        D_j = j - (j + 1) * Y * n_(j+1) / n_j,  Y = n_1 / (n_1 + 2 * n_2)

    If names have weights, c(h w) and D of the longest h are multiplied by the mean weight of the names with h w. So
    common names decide what is probable, and still give up as much of it as the number of different names says.

    Args:
        vocab_size: V, the characters and the start/end token.
        block_size: T, characters of context: 1 counts pairs of characters, 4 counts groups of five.
        weighted: whether the buffer of weights exists, as it does after names with weights were counted.
        n_labels: K, labels of names; their ids follow the characters'. With labels, each window has one place more, at
            its beginning, for the label.

    Raises:
        ValueError: a size below 1.

    Example:
        >>> net = NGram(vocab_size=3, block_size=1)
        >>> net.count(torch.tensor([[0], [1], [0], [2]]), torch.tensor([1, 0, 2, 0]))  # "a" and "b"
        >>> [round(p, 3) for p in net(torch.tensor([[0]])).exp()[0].tolist()]
        [0.344, 0.328, 0.328]

    Source: Chen and Goodman 1999, "An Empirical Study of Smoothing Techniques for Language Modeling", Computer Speech
        and Language 13:359-394.
    """

    takes = "windows"
    grows = ("ngrams", "counts", "weights")
    """The buffers whose length depends on the names. They are all that a checkpoint holds; the others follow from them.
    """

    ngrams: Tensor
    """Integers (M, T + 1): the different windows of T characters, each with the character after it, in order."""
    counts: Tensor
    """int64 (M,): how often each occurs."""
    weights: Tensor | None
    """float64 (M,): the sum of the weights of the names that each occurs in; None if names have none."""
    contexts: Tensor
    """int64 (C,), sorted: the contexts of all lengths. Each is the number of the context without its oldest character,
    times V, plus that character. A context's number is its place in this table; the first is the empty one."""
    backoff: Tensor
    """float64 (C,)."""
    seen: Tensor
    """int64 (S,), sorted: number of the context, times V, plus the character after it; the first entry is none."""
    share: Tensor
    """float64 (S,): (c(h w) - D) / c(h)."""

    def __init__(self, vocab_size: int = 27, block_size: int = 3, weighted: bool = False, n_labels: int = 0) -> None:
        super().__init__()
        check_sizes(vocab_size=vocab_size, block_size=block_size)
        self.vocab_size, self.block_size = vocab_size, block_size + (n_labels > 0)
        self.ids = vocab_size + n_labels
        self.register_load_state_dict_pre_hook(NGram._make_room)
        self.clear()
        if weighted:
            self.weights = torch.zeros(0, dtype=torch.float64)

    @classmethod
    def from_contexts(cls, contexts: Gathers, vocab_size: int, n_labels: int = 0) -> "NGram":
        """Count all examples of a split; T is that of its contexts.

        Raises:
            ValueError: an id outside 0 to `vocab_size` - 1.
        """
        net = cls(vocab_size, contexts.block_size - (n_labels > 0), n_labels=n_labels)
        for index in torch.arange(len(contexts)).split(_CHUNK):
            weights = contexts.example_weights
            net.count(*contexts.gather(index), None if weights is None else weights[index])
        return net

    def clear(self) -> None:
        """Forget all counts, so that every character is as probable as any other."""
        dtype = torch.uint8 if self.ids <= 1 << 8 else torch.int32
        device = self.counts.device if hasattr(self, "counts") else None
        self.register_buffer("ngrams", torch.empty(0, self.block_size + 1, dtype=dtype, device=device))
        self.register_buffer("counts", torch.empty(0, dtype=torch.int64, device=device))
        self.register_buffer("weights", None)
        for name in ("contexts", "seen"):
            self.register_buffer(name, torch.full((1,), -1, device=device), persistent=False)
        self.register_buffer("backoff", torch.ones(1, dtype=torch.float64, device=device), persistent=False)
        self.register_buffer("share", torch.zeros(1, dtype=torch.float64, device=device), persistent=False)
        self._is_smooth = True

    def count(self, context: Tensor, target: Tensor, weights: Tensor | None = None) -> None:
        """Add examples to the counts.

        Args:
            context: int64 (B, T), oldest character first; of longer ones the last T count.
            target: int64 (B,), the character after each; -1 is ignored.
            weights: float (B,), the weight of each example's name; None: 1.

        Raises:
            ValueError: contexts of less than T characters, or an id outside 0 to V - 1.
        """
        if context.shape[1] < self.block_size:
            raise ValueError(f"the contexts have {context.shape[1]} characters, and block_size is {self.block_size}")
        counted = target != IGNORED
        rows = torch.cat([context[:, -self.block_size :], target[:, None]], dim=1)[counted]
        self._refuse_ids(rows)
        sums = [torch.cat([self.counts, self.counts.new_ones(len(rows))])]
        if weights is not None or self.weights is not None:
            before, ones = self.counts if self.weights is None else self.weights, torch.ones_like(target)
            sums.append(torch.cat([before, (ones if weights is None else weights)[counted]]).double())
        self.ngrams, sums = merged(torch.cat([self.ngrams, rows.to(self.ngrams)]), sums, self.ids)
        self.counts, self.weights = sums[0], sums[1] if len(sums) > 1 else None
        self._is_smooth = len(self.ngrams) == 0

    @property
    def weighted(self) -> bool:
        """Whether names with weights have been counted; a net is built with the same argument to load its counts."""
        return self.weights is not None

    def forward(self, context: Tensor) -> Tensor:
        """Log-probabilities float64 (B, V) of the character after `context`, int64 (B, T)."""
        numbers, row = self.longest_seen(context).unique(return_inverse=True)  # many contexts occur more than once
        return self._probabilities(numbers).log()[row]

    def longest_seen(self, context: Tensor) -> Tensor:
        """The number of the longest context that was seen, int64 (B,), for `context`, int64 (B, T)."""
        if not self._is_smooth:
            self._smooth()
        number = context.new_zeros(len(context))
        goes_on = torch.ones_like(number, dtype=torch.bool)
        for column in context.flip(1).unbind(1):  # the newest character first
            longer, is_seen = find(self.contexts, number * self.ids + column)
            goes_on = goes_on & is_seen
            number = torch.where(goes_on, longer, number)
        return number

    def _probabilities(self, numbers: Tensor) -> Tensor:
        """The formula: float64 (B, V) for B different contexts, given by their numbers."""
        V, base = self.vocab_size, self.ids
        shorter = self.backoff.new_full((len(numbers), V), 1 / V)
        if (numbers > 0).any():
            parents, row = (self.contexts[numbers[numbers > 0]] // base).unique(return_inverse=True)
            shorter[numbers > 0] = self._probabilities(parents)[row]
        p = self.backoff[numbers, None] * shorter
        row, place = between(*torch.searchsorted(self.seen, torch.stack([numbers * base, (numbers + 1) * base])))
        p[row, self.seen[place] % base] += self.share[place]
        return p

    def _smooth(self) -> None:
        """Compute the tables from the counts: number the contexts, count the n-grams of each length, and discount."""
        base, ids = self.ids, self.ngrams.long()
        number = torch.zeros_like(self.counts)  # of the last `length` characters of each row's context
        contexts, seen = [number.new_full((1,), -1)], [number.new_full((1,), -1)]
        for length in range(self.block_size + 1):
            if length:
                keys, place = (number * base + ids[:, -1 - length]).unique(return_inverse=True)
                number = sum(map(len, contexts)) + place
                contexts.append(keys)
            keys, place = (number * base + ids[:, -1]).unique(return_inverse=True)
            seen.append(keys)
        self.contexts, self.seen = torch.cat(contexts), torch.cat(seen)  # both are sorted, as longer ones come last
        # each n-gram counts once for the one without its oldest character; the longest count as often as they occur
        number, last = self.seen // base, self.seen % base
        shorter = (self.contexts[number] // base * base + last)[number > 0]
        c = torch.bincount(torch.searchsorted(self.seen, shorter), minlength=len(self.seen))
        c[len(c) - len(keys) :].index_add_(0, place, self.counts)
        discount = torch.cat([discounts(of_length) for of_length in c.split([len(keys) for keys in seen])])
        if self.weights is not None:
            mean = torch.zeros_like(keys, dtype=torch.float64).index_add_(0, place, self.weights) / c[-len(keys) :]
            weight = torch.cat([mean.new_ones(len(c) - len(keys)), mean])
            c, discount = c * weight, discount * weight
        number, c, discount = number[1:], c[1:].double(), discount[1:]  # without the entry that is none
        total = torch.bincount(number, c)
        self.backoff = torch.bincount(number, discount) / total
        self.share = torch.cat([total.new_zeros(1), (c - discount) / total[number]])
        self._is_smooth = True

    def _refuse_ids(self, rows: Tensor) -> None:
        limits = ((rows[:, :-1], self.ids), (rows[:, -1:], self.vocab_size)) if len(rows) else ()
        outside = [int(i) for part, size in limits for i in part.aminmax() if not 0 <= i < size]
        if outside:
            raise ValueError(
                f"the examples have id {outside[0]}, and vocab_size is {self.vocab_size}; use the tokenizer's own"
            )

    def _make_room(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Make room for as many n-grams as a checkpoint has, which torch would refuse to load.

        Raises:
            ValueError: they are no counts of n-grams of this `vocab_size` and `block_size`.
        """
        ngrams, counts, weights = (state_dict.get(f"{prefix}{name}") for name in self.grows)
        if isinstance(ngrams, Tensor) and isinstance(counts, Tensor):
            if ngrams.shape != (len(counts), self.block_size + 1) or ngrams.is_floating_point():
                raise ValueError(f"its n-grams are {tuple(ngrams.shape)}, and block_size is {self.block_size}")
            self._refuse_ids(ngrams)
            self.clear()
            self.ngrams, self.counts = ngrams.to(self.ngrams, copy=True), counts.to(self.counts, copy=True)
            if isinstance(weights, Tensor):
                self.weights = weights.to(self.counts.device, torch.float64, copy=True)
            if len(counts):
                self._smooth()
