"""Regular expressions as a finite automaton over a model's characters. Dimension key: S states, V = vocab_size.

K: states of a nondeterministic automaton; each of the S states is a set of them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from charlm.inference.regex import Node, NotSupportedError, Reads, parse
from charlm.tokenizer import BOUNDARY, CharTokenizer

_MOST_STATES = 500  # S and K; tables for longer expressions are not worth their memory


class Automaton(NamedTuple):
    """A deterministic automaton that reads the ids of a name.

    Args:
        next: int64 (S, V): the state after one more character; the column of the boundary is not used.
        accepts: bool (S,): whether a name may end in the state.
        start: the state before the first character.
    """

    next: np.ndarray
    accepts: np.ndarray
    start: int

    def after(self, ids: Sequence[int]) -> int:
        """The state after some ids."""
        state = self.start
        for i in ids:
            state = int(self.next[state, i])
        return state

    def accepts_some(self, state: int, least: int, most: int) -> bool:
        """Whether a name can be accepted after `least` to `most` more characters."""
        states = np.array([state])
        for read in range(most + 1):
            if read >= least and self.accepts[states].any():
                return True
            states = np.unique(self.next[states, BOUNDARY + 1 :])
        return False


def automaton_of(patterns: Sequence[str], tokenizer: CharTokenizer) -> Automaton | None:
    """The automaton of the names in which each of some regular expressions is found, as by `re.search`.

    Args:
        patterns: correct regular expressions.
        tokenizer: the characters of the names.

    Returns:
        None if an expression has other parts than characters, classes, groups, |, ^, $ and repetitions, or if the
        automaton has more than 500 states.

    Source: Thompson 1968, CACM 11:419-422; Rabin and Scott 1959, IBM Journal 3:114-125.
    """
    nfa = _Nfa()
    try:
        ends = [nfa.add_search(parse(pattern, tokenizer.alphabet), tokenizer) for pattern in patterns]
        return _deterministic(nfa, ends, tokenizer.vocab_size)
    except (NotSupportedError, RecursionError):
        return None


class _Nfa:
    """A nondeterministic automaton; each edge has the state before it, the state after it, and what it reads."""

    def __init__(self) -> None:
        self.edges: list[tuple[int, int, Reads]] = []
        self.starts: list[int] = []
        self.states = 0

    def add_search(self, node: Node, tokenizer: CharTokenizer) -> int:
        """Add an expression to be found anywhere in a name; returns the state that is reached once it was found."""
        start, anything = self._new(), frozenset(range(1, tokenizer.vocab_size))
        end = self._add(node, start)
        self.edges += [(start, start, anything), (end, end, anything)]
        self.starts.append(start)
        return end

    def _new(self) -> int:
        self.states += 1
        if self.states > _MOST_STATES:
            raise NotSupportedError
        return self.states - 1

    def _add(self, node: Node, start: int) -> int:
        """Add an expression from a state on; returns the state after it."""
        end = self._new()
        if not isinstance(node, list):
            self.edges.append((start, end, node))
            return end
        for sequence in node:
            state = self._new()
            self.edges.append((start, state, ""))
            for part, least, most in sequence:
                state = self._add_often(part, state, least, most)
            self.edges.append((state, end, ""))
        return end

    def _add_often(self, part: Node, state: int, least: int, most: int | None) -> int:
        for _ in range(least):
            state = self._add(part, state)
        after = self._new()
        self.edges.append((state, after, ""))
        if most is None:
            self.edges.append((self._add(part, after), after, ""))
        else:
            for _ in range(most - least):
                state = self._add(part, state)
                self.edges.append((state, after, ""))
        return after


def _deterministic(nfa: _Nfa, ends: list[int], vocab_size: int) -> Automaton:
    """The automaton whose states are sets of the states of `nfa`, a row of bool (K,) each."""
    always, at_begin, at_end = (_reachable(nfa, ("", also)) for also in ("", "^", "$"))
    edges = [(before, after, ids) for before, after, ids in nfa.edges if not isinstance(ids, str)]
    before = np.array([edge[0] for edge in edges], int)
    reads = np.zeros((vocab_size, len(edges)), np.float32)
    for number, (_, _, ids) in enumerate(edges):
        reads[list(ids), number] = 1
    follow = always[[edge[1] for edge in edges]].reshape(len(edges), nfa.states)
    states: list[np.ndarray] = [np.any(at_begin[nfa.starts], axis=0)]
    numbers = {states[0].tobytes(): 0}
    rows: list[list[int]] = []
    for state in states:  # grows meanwhile
        reached = reads @ (follow * state[before, None]) > 0
        row = []
        for after in reached:
            key = after.tobytes()
            if key not in numbers:
                numbers[key] = len(states)
                states.append(after)
            row.append(numbers[key])
        rows.append(row)
        if len(states) > _MOST_STATES:
            raise NotSupportedError
    accepts = [at_end[np.flatnonzero(state)][:, ends].any(axis=0).all() for state in states]
    return _minimal(np.array(rows, np.int64), np.array(accepts))


def _minimal(next: np.ndarray, accepts: np.ndarray) -> Automaton:
    """The automaton with the fewest states that accepts the same names as one that begins in state 0.

    Source: Moore 1956, "Gedanken-experiments on sequential machines", Automata Studies, 129-153.
    """
    kind = accepts.astype(np.int64)  # of each state; states of one kind are told apart by what they lead to
    while True:
        leads_to = np.column_stack([kind, kind[next]])
        _, one_of, finer = np.unique(leads_to, axis=0, return_index=True, return_inverse=True)
        finer = finer.reshape(-1)  # numpy 2.0 gives a column
        if finer.max() == kind.max():
            return Automaton(finer[next[one_of]], accepts[one_of], int(finer[0]))
        kind = finer


def _reachable(nfa: _Nfa, reading: tuple[str, ...]) -> np.ndarray:
    """Bool (K, K): which states can be reached from which ones by edges that read nothing, of these kinds."""
    reached = np.eye(nfa.states, dtype=np.float32)
    for before, after, reads in nfa.edges:
        if reads in reading:
            reached[before, after] = 1
    for _ in range(nfa.states.bit_length()):
        reached = (reached @ reached > 0).astype(np.float32)
    return reached > 0
