"""Which names are for training, validation and test. Dimension key: M names (lines), N examples, S stream length."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from charlm.data.cleaning import line_lengths
from charlm.data.contexts import Contexts, StreamAttributes, notebook_positions
from charlm.data.corpus import Corpus, read_corpus
from charlm.data.lowercase import Language
from charlm.data.several_files import Paths, read_files
from charlm.data.shuffle import line_hashes
from charlm.tokenizer import BOUNDARY, LONGEST_NAME, CharTokenizer, code_points

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")
Shares = tuple[float, float, float]
DEFAULT_SPLIT: Shares = (0.8, 0.1, 0.1)
"""The shares of train, val and test, as in the course."""


@dataclass(frozen=True)
class Splits:
    """One list of names, cut into three parts.

    Args:
        corpus: the clean names.
        tokenizer: the characters and their ids.
        train: the examples to train on.
        val: the examples to choose settings by.
        test: the examples to report on.
        name_split: uint8 (M,), 0, 1 or 2 for every line; None if examples were split instead of names.
    """

    corpus: Corpus
    tokenizer: CharTokenizer
    train: Contexts
    val: Contexts
    test: Contexts
    name_split: np.ndarray | None = field(repr=False)

    @property
    def train_names(self) -> int:
        """Lines of train; all lines if examples were split (`split_by="pair"`)."""
        return len(self.corpus) if self.name_split is None else int((self.name_split == 0).sum())

    def names(self, part: Part) -> list[str]:
        """The lines of one split in the order of the file; all lines if examples were split (`split_by="pair"`)."""
        names = self.corpus.names()
        if self.name_split is None:
            return names
        return list(itertools.compress(names, self.name_split == PARTS.index(part)))

    def label_shares(self) -> list[float]:
        """The share of each label in the training names, by their weights; [] if names have no labels."""
        corpus, labels = self.corpus, len(self.tokenizer.labels)
        if corpus.label_of is None:
            return []
        chosen = slice(None) if self.name_split is None else self.name_split == 0
        weights = None if corpus.weights is None else corpus.weights[chosen]
        sums = np.bincount(corpus.label_of[chosen], weights, labels)
        return (sums / sums.sum()).tolist()


def load_splits(
    path: Paths = None,
    alphabet: str | None = None,
    block_size: int = 3,
    split: Shares = DEFAULT_SPLIT,
    split_by: Literal["name", "line", "pair"] = "name",
    split_seed: int = 42,
    pad: bool = True,
    *,
    lowercase: bool | Language = False,
    max_length: int = LONGEST_NAME,
    column: int | str | None = None,
    encoding: str = "utf-8",
    bad_lines: Literal["refuse", "skip"] = "refuse",
    weight: int | str | None = None,
    label: int | str | None = None,
    labels: Sequence[str] | None = None,
) -> Splits:
    """Read names and split them.

    Args:
        path: a file, "makemore", a pattern such as "lists/*.txt", or a list of these; None: the bundled names.
        alphabet: the characters in the order of their ids; None: those that occur, sorted.
        block_size: T, the context length in characters, >= 1.
        split: shares of train, val and test, which sum to 1.
        split_by: "name" keeps copies of a name together, "line" splits lines, "pair" the examples.
        split_seed: seed of the split, from 0 to 2**64 - 1.
        pad: False leaves out padding, and with it each name's first T - 1 characters as targets.
        lowercase: turn names to lower case; see `read_corpus` for this and all that follows.
        max_length: length of the longest accepted name in characters, >= 1.
        column: the column with the names in a table: its number, from 1 on, or its title; 0: each whole line is a name.
        encoding: of the file, such as "cp1252".
        bad_lines: "refuse" raises an error for a line that is not accepted; "skip" leaves such lines out.
        weight: the column with the names' weights.
        label: the column with the names' labels.
        labels: the accepted labels in order; None: those that occur, sorted.

    Raises:
        OSError: the file cannot be read or downloaded.
        ValueError: bad names (see `read_corpus`), a character outside `alphabet`, a bad `split`, too few names for it.
    """
    if len(split) != 3 or not (min(split) >= 0 and abs(sum(split) - 1) <= 1e-6 and split[0] > 0):  # NaN fails, too
        raise ValueError(
            f"split is {split}; give three shares for train, val and test that sum to 1, the first above 0"
        )
    if split_by not in ("name", "line", "pair"):
        raise ValueError(f"split_by is {split_by!r}; give 'name', 'line' or 'pair'")
    if block_size < 1:
        raise ValueError(f"block_size is {block_size}; it must be at least 1 character of context")
    if not 0 <= split_seed < 2**64:
        raise ValueError(f"split_seed is {split_seed}; give a whole number of 0 or more, below 2**64")
    read = partial(
        read_corpus, alphabet=alphabet, lowercase=lowercase, max_length=max_length, column=column, encoding=encoding,
        bad_lines=bad_lines, weight=weight, label=label, labels=labels,
    )  # fmt: skip
    corpus = read_files(path, read)
    tokenizer = CharTokenizer(corpus.alphabet if alphabet is None else alphabet, corpus.labels)
    places = block_size + bool(tokenizer.labels)
    if split_by == "pair":
        attributes = _stream_attributes(corpus, tokenizer, np.ones(len(corpus), bool))
        stream = tokenizer.encode_lines(corpus.text)
        positions = None if pad else notebook_positions(stream, block_size)
        train, val, test = _split_pairs(stream, places, split, split_seed, positions, attributes)
        return Splits(corpus, tokenizer, train, val, test, name_split=None)
    name_split = (_split_names if split_by == "name" else _split_lines)(corpus, split, split_seed)
    streams = _padded_streams(corpus, tokenizer, name_split, places)
    of_parts = (_stream_attributes(corpus, tokenizer, name_split == part) for part in range(len(PARTS)))
    train, val, test = (
        Contexts.of_padded(s, places, None if pad else notebook_positions(s[places:], block_size), attributes)
        for s, attributes in zip(streams, of_parts, strict=True)
    )
    return Splits(corpus, tokenizer, train, val, test, name_split)


def split_sizes(total: int, split: Shares, what: str) -> tuple[int, int]:
    """The places among `total` at which val and test begin; every split with a share gets at least one.

    Raises:
        ValueError: `total` is too small for that.
    """
    first = int(split[0] * total + 1e-9)  # the lectures' rounding, without float dust such as 0.7 + 0.2 < 0.9
    second = int((split[0] + split[1]) * total + 1e-9)
    sizes = (first, second - first, total - second)
    if any(share > 0 and size < 1 for share, size in zip(split, sizes, strict=True)):
        raise ValueError(
            f"the split {split} of {total} {what if total != 1 else what.removesuffix('s')} gives {sizes}; add names or"
            " change `split`"
        )
    return first, second


def _split_names(corpus: Corpus, split: Shares, seed: int) -> np.ndarray:
    """Split the distinct names, in the order of their hashes, so that all copies of a name are in one split.

    The lowest 80 % of the distinct hashes are train, the next 10 % val, the highest 10 % test (or as `split` says). The
    hash depends on the name and the seed alone, not on the name's place in the file.
    """
    hashes = _name_hashes(corpus, seed)
    distinct = _sorted_distinct(hashes)
    starts = split_sizes(len(distinct), split, "distinct names")
    nothing_above = np.uint64(2**64 - 1)
    val, test = (distinct[start] if start < len(distinct) else nothing_above for start in starts)
    return (hashes >= val).view(np.uint8) + (hashes >= test)


def _sorted_distinct(hashes: np.ndarray) -> np.ndarray:
    """As `np.unique`, which is a hundred times slower for millions of different numbers."""
    ordered = np.sort(hashes)
    is_new = np.ones(len(ordered), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=is_new[1:])
    return ordered[is_new]


def _split_lines(corpus: Corpus, split: Shares, seed: int) -> np.ndarray:
    """Split the lines, as the lectures do: copies of a name may leak from train to test."""
    total = len(corpus)
    first, second = split_sizes(total, split, "names")
    order = torch.randperm(total, generator=torch.Generator().manual_seed(seed)).numpy()
    name_split = np.zeros(total, np.uint8)
    name_split[order[first:second]] = 1
    name_split[order[second:]] = 2
    return name_split


def _split_pairs(
    stream: Tensor, block_size: int, split: Shares, seed: int, positions: Tensor | None, attributes: StreamAttributes
) -> list[Contexts]:
    """Split the examples, as the course notebooks do: the same name is in train and test."""
    total = len(stream) if positions is None else len(positions)
    cuts = split_sizes(total, split, "context/target pairs")
    order = torch.randperm(total, generator=torch.Generator().manual_seed(seed))
    parts = (order if positions is None else positions[order]).tensor_split(cuts)
    return [Contexts(stream, block_size, part, attributes) for part in parts]


def _stream_attributes(corpus: Corpus, tokenizer: CharTokenizer, chosen: np.ndarray) -> StreamAttributes:
    """The weights and labels of the chosen names, bool (M,), repeated for each of their characters."""
    weights, labels = corpus.weights, corpus.label_of
    if weights is None and labels is None:
        return StreamAttributes()
    lengths = torch.from_numpy(np.concatenate([lengths for _, _, lengths in _chunks(corpus)])[chosen])
    ids = None if labels is None else torch.from_numpy(labels[chosen] + tokenizer.vocab_size).to(tokenizer.dtype)
    of_names = (None if weights is None else torch.from_numpy(weights[chosen]), ids)
    return StreamAttributes(*(None if each is None else each.repeat_interleave(lengths) for each in of_names))


def _padded_streams(corpus: Corpus, tokenizer: CharTokenizer, name_split: np.ndarray, block_size: int) -> list[Tensor]:
    """The ids of each split's names in the order of the file, after T boundaries, as `Contexts` needs them."""
    ends = np.full(len(PARTS), block_size)
    for lines, _, lengths in _chunks(corpus):
        ends += [np.dot(name_split[lines] == part, lengths) for part in range(len(PARTS))]
    streams = [torch.full((end,), BOUNDARY, dtype=tokenizer.dtype) for end in ends.tolist()]
    filled = [block_size] * len(PARTS)
    for lines, text, lengths in _chunks(corpus):
        ids = tokenizer.encode_lines(text).numpy()
        part_of = np.repeat(name_split[lines], lengths)
        for part, stream in enumerate(streams):
            chosen = ids[part_of == part]
            stream.numpy()[filled[part] : filled[part] + len(chosen)] = chosen
            filled[part] += len(chosen)
    return streams


def _chunks(corpus: Corpus) -> Iterator[tuple[slice, str, np.ndarray]]:
    """The list in chunks: which lines, their text, and int64 lengths that include the line ends."""
    first = 0
    for text in corpus.chunks():
        lengths = line_lengths(text)
        yield slice(first, first + len(lengths)), text, lengths
        first += len(lengths)


def _name_hashes(corpus: Corpus, seed: int) -> np.ndarray:
    """uint64 (M,): a hash of every name."""
    hashes = np.empty(len(corpus), np.uint64)
    for lines, text, lengths in _chunks(corpus):
        hashes[lines] = line_hashes(code_points(text), lengths, seed)
    return hashes
