"""A GRU that reads what n-grams expect. Dimension key: B names, L positions, S positions of all names, H, V.

G: the n-grams, one for each of `ORDERS`.
"""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from charlm.nets.ngram import NGram
from charlm.nets.parts.fast_gru import can_be_fast, gru
from charlm.nets.parts.held_out import fold_of, key_of, windows
from charlm.nets.parts.packing import inside_names
from charlm.nets.parts.recurrence import Recurrent, State

ORDERS = (4, 6)
"""How many characters of context the n-grams have."""
FOLDS = 5
_MOST_KEPT = 1 << 27  # numbers in float32, half a gigabyte


class Mixture(Recurrent):
    """A GRU and n-grams of 4 and 6 characters of context, whose probabilities are multiplied.

    With each character, the GRU also reads the n-grams' probabilities of the next one. Its state h then says how far
    each n-gram g is trusted:

        log p(w) = output(h)_w + sum over g of trust(h)_g * log p_g(w) + a constant

    After a long context that was seen often the n-grams know the next character; elsewhere the GRU does. In training
    the probabilities are those of `HeldOut`, which come from other names only. With its own names' counts, the GRU
    would learn to trust n-grams that have seen the answer.

    Args:
        vocab_size: V, the characters and the start/end token.
        n_embd: numbers per character.
        n_hidden: H, units of the GRU.
        dropout: share of the units that is dropped in training, before and after the GRU.
        weighted: whether the n-grams have counted names with weights.
        n_labels: K, labels that may begin a name in place of the start token; their ids follow the characters'.

    Raises:
        ValueError: a size below 1, or `dropout` outside [0, 1).

    Source: Klakow 1998, ICSLP, "Log-linear interpolation of language models"; Jelinek and Mercer 1980 (the weights of
        a mixture are estimated on held-out text).
    """

    layers = nn.GRU
    grows = tuple(f"ngrams.{g}.{name}" for g in range(len(ORDERS)) for name in NGram.grows)
    """The buffers whose length depends on the names."""

    def __init__(
        self,
        vocab_size: int = 27,
        n_embd: int = 32,
        n_hidden: int = 32,
        dropout: float = 0.5,
        weighted: bool = False,
        n_labels: int = 0,
    ) -> None:
        super().__init__(vocab_size, n_embd, n_hidden, 1, dropout, n_labels)
        self.labelled = n_labels > 0
        self.expected = nn.Linear(len(ORDERS) * vocab_size, n_embd)
        self.trust = nn.Linear(n_hidden, len(ORDERS))
        nn.init.zeros_(self.trust.weight)
        nn.init.constant_(self.trust.bias, 0.8 / len(ORDERS))
        self.ngrams = nn.ModuleList(NGram(vocab_size, order, weighted, n_labels) for order in ORDERS)

    def clear(self) -> None:
        """Forget all counts."""
        for ngram in _each(self.ngrams):
            ngram.clear()

    def count_names(self, names: Tensor, target: Tensor, weights: Tensor | None = None) -> None:
        """Add names to the n-grams' counts.

        Args:
            names: int64 (B, L), which begin with token 0.
            target: int64 (B, L), the character after each; -1 is ignored.
            weights: float (B,), how often each name counts; None: once.
        """
        spread = None if weights is None else weights[:, None].expand(target.shape).flatten()
        for ngram in _each(self.ngrams):
            ngram.count(windows(names, ngram.block_size, self.labelled).flatten(0, 1), target.flatten(), spread)

    def log_probabilities(self, names: Tensor, first: int = 0) -> Tensor:
        """What each n-gram expects after each of `names`, int64 (B, L): float64 (B, L, G, V).

        Args:
            names: which begin with token 0.
            first: the position to begin at.
        """
        contexts = [windows(names, ngram.block_size, self.labelled)[:, first:] for ngram in _each(self.ngrams)]
        each = [ngram(context.flatten(0, 1)) for ngram, context in zip(_each(self.ngrams), contexts, strict=True)]
        return torch.stack(each, dim=1).unflatten(0, contexts[0].shape[:2])

    @property
    def weighted(self) -> bool:
        """Whether names with weights have been counted; a net is built with the same argument to load its counts."""
        return _each(self.ngrams)[0].weighted

    def forward(self, names: Tensor, log_p: Tensor | None = None) -> Tensor:
        """Logits float32 (B, L, V) for the character after each of `names`, int64 (B, L), which begin with token 0.

        Args:
            names: in training with the longest first, which is faster.
            log_p: float (B, L, G, V), what the n-grams expect; None: by the names that were counted.
        """
        log_p = self.log_probabilities(names) if log_p is None else log_p
        log_p = log_p.to(self.embedding.weight.dtype).transpose(0, 1)
        if not can_be_fast(self):
            hidden, _ = self.recurrent(self._embedded(names.t(), log_p))
            return self._logits(hidden, log_p).transpose(0, 1)
        inside = inside_names(names).t()  # (L, B): position by position, without the padding
        log_p = log_p[inside]  # (S, G, V)
        rows = inside.sum(1).tolist()
        hidden = gru(self._embedded(names.t()[inside], log_p), rows, *self.recurrent.all_weights[0])
        logits = self._logits(hidden, log_p)
        padded = logits.new_zeros(*inside.shape, logits.shape[1]).masked_scatter(inside[..., None], logits)
        return padded.transpose(0, 1)

    def step(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The logits after one more character of every name.

        Args:
            ids: int64 (B,); token 0 in the first call.
            state: as the last call returned it; None in the first call.

        Returns:
            logits: float32 (B, V).
            state: the GRU's state (1, B, H), and the first and the last characters, int64 (7, B).
        """
        hidden, read = (None, ids.repeat(max(ORDERS) + 1, 1)) if state is None else state
        read = torch.cat([read[:1], read[2:], ids[None]])
        log_p = self.log_probabilities(read.t(), first=-1)[:, 0].to(self.embedding.weight.dtype)
        _, hidden = self.recurrent(self._embedded(ids, log_p)[None], hidden)
        return self._logits(hidden[0], log_p), (hidden, read)

    def _embedded(self, ids: Tensor, log_p: Tensor) -> Tensor:
        return self.dropout(self.embedding(ids) + self.expected(log_p.exp().flatten(-2)))

    def _logits(self, hidden: Tensor, log_p: Tensor) -> Tensor:
        hidden = self.dropout(hidden)
        return self.output(hidden) + (self.trust(hidden)[..., None] * log_p).sum(-2)


class HeldOut(nn.Module):
    """For training a mixture: what n-grams expect of a name that have counted neither it nor its copies.

    The names are dealt into 5 folds by their characters, and each fold's n-grams count the other four. One `NGram` of
    each order holds all of them: the number of the fold stands before the target, like one more character.

    Args:
        vocab_size: V, the characters and the start/end token.
        n_labels: K, as for `Mixture`.
    """

    def __init__(self, vocab_size: int, n_labels: int = 0) -> None:
        super().__init__()
        self.labelled, self.first_fold = n_labels > 0, vocab_size + n_labels
        contexts = [order + self.labelled for order in ORDERS]
        self.ngrams = nn.ModuleList(NGram(vocab_size, size, n_labels=n_labels + FOLDS) for size in contexts)
        self._kept: dict[int, Tensor] = {}
        self._numbers = 0

    def count_names(self, names: Tensor, target: Tensor, weights: Tensor | None = None) -> None:
        """Add names to the counts of all folds but their own; arguments as for `Mixture.count_names`."""
        fold = fold_of(names, FOLDS)
        others = [(fold + away) % FOLDS for away in range(1, FOLDS)]
        spread = None if weights is None else weights.repeat(len(others))[:, None].expand(-1, names.shape[1]).flatten()
        for ngram in _each(self.ngrams):
            rows = torch.cat([self._contexts(names, other, ngram.block_size) for other in others])
            ngram.count(rows, target.repeat(len(others), 1).flatten(), spread)

    def forward(self, names: Tensor) -> Tensor:
        """`Mixture.log_probabilities` in float32, of each name by the counts of its fold; 0 in the padding.

        A name is looked up once, since later epochs ask for it again, until `_MOST_KEPT` numbers are kept.
        """
        keys = key_of(names).tolist()
        new = [row for row, key in enumerate(keys) if key not in self._kept]
        lengths = ((names > 0) * torch.arange(names.shape[1], device=names.device)).amax(1) + 1
        found = {}
        if new:
            each = self._looked_up(names[new])
            found = {keys[row]: each[at, : lengths[row]].clone() for at, row in enumerate(new)}
            if self._numbers < _MOST_KEPT:
                self._kept |= found
                self._numbers += sum(map(torch.numel, found.values()))
        return pad_sequence([self._kept[key] if key in self._kept else found[key] for key in keys], batch_first=True)

    def _looked_up(self, names: Tensor) -> Tensor:
        fold = fold_of(names, FOLDS)
        each = [ngram(self._contexts(names, fold, ngram.block_size)) for ngram in _each(self.ngrams)]
        return torch.stack(each, dim=1).float().unflatten(0, names.shape)

    def _contexts(self, names: Tensor, fold: Tensor, size: int) -> Tensor:
        """Int64 (B * L, size): the last characters at each position, and the fold."""
        last = windows(names, size - 1, self.labelled)
        return torch.cat([last, (self.first_fold + fold)[:, None, None].expand(*names.shape, 1)], dim=2).flatten(0, 1)


class CrossFitted(nn.Module):
    """A mixture for the names that it was trained on: each is predicted by n-grams that have not counted it.

    With their own counts, training names have a loss far below that of new names, and not because the GRU overfits.

    Args:
        net: the mixture.
        batches: of all its training names: names and target, both int64 (B, L), and perhaps their weights, float (B,).
    """

    def __init__(self, net: Mixture, batches: Iterable[tuple[Tensor, ...]]) -> None:
        super().__init__()
        vocab_size = net.output.out_features
        self.net, self.held_out = net, HeldOut(vocab_size, net.embedding.num_embeddings - vocab_size)
        for batch in batches:
            self.held_out.count_names(*batch)

    def forward(self, names: Tensor) -> Tensor:
        """Logits float32 (B, L, V) for the character after each of `names`, int64 (B, L), which begin with token 0."""
        return self.net(names, self.held_out(names.cpu()).to(names.device))


def _each(ngrams: nn.ModuleList) -> list[NGram]:
    return cast("list[NGram]", list(ngrams))
