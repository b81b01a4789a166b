"""Which names train, which validate and which test. Dimension key: M names (lines), N examples, S stream length."""

import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from charlm.data.contexts import Contexts, notebook_positions
from charlm.data.corpus import Corpus, read_corpus
from charlm.tokenizer import BOUNDARY, CharTokenizer

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")

_BLOCK = 1 << 18  # names hashed at a time: bounds the memory of the 64-bit intermediates


@dataclass(frozen=True)
class Splits:
    """One list of names, cut into three.

    Args:
        corpus: the clean names.
        tokenizer: the characters and their ids.
        train: the examples to train on.
        val: the examples to choose by.
        test: the examples to report on.
        name_split: uint8 (M,), 0, 1 or 2 for every line; None where examples and not names were split.
    """

    corpus: Corpus
    tokenizer: CharTokenizer
    train: Contexts
    val: Contexts
    test: Contexts
    name_split: np.ndarray | None

    def names(self, part: Part) -> list[str]:
        """The lines of one split in the order of the file; all lines where examples were split (`split_by="pair"`)."""
        names = self.corpus.names()
        if self.name_split is None:
            return names
        return list(itertools.compress(names, self.name_split == PARTS.index(part)))


def load_splits(
    path: str | None = None,
    alphabet: str | None = None,
    block_size: int = 3,
    split: tuple[float, float, float] = (0.8, 0.1, 0.1),
    split_by: Literal["name", "line", "pair"] = "name",
    split_seed: int = 42,
    lowercase: bool = False,
    pad: bool = True,
    max_length: int = 64,
) -> Splits:
    """Read names and split them; the arguments are those of NamesDataModule.

    Raises:
        OSError: the file cannot be read or downloaded.
        ValueError: bad names (see `read_corpus`), a character outside `alphabet`, a bad `split`, too few names for it.
    """
    if len(split) != 3 or not (min(split) >= 0 and abs(sum(split) - 1) <= 1e-6 and split[0] > 0):  # nan is refused too
        raise ValueError(
            f"split is {split}; give three shares for train, val and test that sum to 1, the first above 0"
        )
    if split_by not in ("name", "line", "pair"):
        raise ValueError(f"split_by is {split_by!r}; give 'name', 'line' or 'pair'")
    if not 0 <= split_seed < 2**64:
        raise ValueError(f"split_seed is {split_seed}; give a whole number from 0 on, below 2**64")
    corpus = read_corpus(path, lowercase=lowercase, max_length=max_length, alphabet=alphabet)
    tokenizer = CharTokenizer.from_text(corpus.text) if alphabet is None else CharTokenizer(alphabet)
    stream = tokenizer.encode_lines(corpus.text)
    if split_by == "pair":
        train, val, test = _split_pairs(stream, block_size, split, split_seed, pad)
        return Splits(corpus, tokenizer, train, val, test, name_split=None)
    if split_by == "name":
        name_split = _split_names(stream.numpy(), tokenizer.alphabet, split, split_seed)
    else:
        name_split = _split_lines(len(corpus), split, split_seed)
    lengths = np.diff(np.flatnonzero(stream.numpy() == BOUNDARY), prepend=-1)
    part_of = np.repeat(name_split, lengths)
    # numpy's mask costs one byte a character, torch's would become indices of eight
    streams = [torch.from_numpy(stream.numpy()[part_of == part]) for part in range(3)]
    train, val, test = (Contexts(s, block_size, None if pad else notebook_positions(s, block_size)) for s in streams)
    return Splits(corpus, tokenizer, train, val, test, name_split)


def split_sizes(total: int, split: tuple[float, float, float], what: str) -> tuple[int, int]:
    """Where train and val end among `total`; every split with a share gets at least one.

    Raises:
        ValueError: fewer than that.
    """
    first = int(split[0] * total + 1e-9)  # the lectures' rounding, without float dust such as 0.7 + 0.2 < 0.9
    second = int((split[0] + split[1]) * total + 1e-9)
    sizes = (first, second - first, total - second)
    if any(share > 0 and size < 1 for share, size in zip(split, sizes, strict=True)):
        raise ValueError(
            f"{total} {what} are too few for the split {split}, which gives {sizes}; add names or change data.split"
        )
    return first, second


def _split_names(stream: np.ndarray, alphabet: str, split: tuple[float, float, float], seed: int) -> np.ndarray:
    """All copies of a name fall together: each name's 64-bit hash, keyed by the seed, is its place in the shuffle."""
    keys = _name_keys(stream, alphabet, seed)
    distinct = np.unique(keys)
    cuts = split_sizes(len(distinct), split, "distinct names")
    last = np.uint64(0xFFFFFFFFFFFFFFFF)
    bounds = np.array([distinct[cut] if cut < len(distinct) else last for cut in cuts], np.uint64)
    return np.searchsorted(bounds, keys, side="right").astype(np.uint8)


def _split_lines(total: int, split: tuple[float, float, float], seed: int) -> np.ndarray:
    """Every line for itself, as in the lectures: repeated names leak from train to test."""
    first, second = split_sizes(total, split, "names")
    order = torch.randperm(total, generator=torch.Generator().manual_seed(seed)).numpy()
    name_split = np.zeros(total, np.uint8)
    name_split[order[first:second]] = 1
    name_split[order[second:]] = 2
    return name_split


def _split_pairs(
    stream: Tensor, block_size: int, split: tuple[float, float, float], seed: int, pad: bool
) -> list[Contexts]:
    """Every example for itself, as in the course notebooks: the same name trains and tests."""
    positions = torch.arange(len(stream)) if pad else notebook_positions(stream, block_size)
    cuts = split_sizes(len(positions), split, "context/target pairs")
    order = torch.randperm(len(positions), generator=torch.Generator().manual_seed(seed))
    return [Contexts(stream, block_size, positions[part]) for part in order.tensor_split(cuts)]


def _name_keys(stream: np.ndarray, alphabet: str, seed: int) -> np.ndarray:
    """uint64 (M,): a hash of every name, the sum of one mixed word for each character at its place.

    It is of characters and not of ids, so that another alphabet does not move a name to another split.
    """
    codes = np.array([0, *map(ord, alphabet)], np.uint64)
    ends = np.flatnonzero(stream == BOUNDARY) + 1
    keys = np.empty(len(ends), np.uint64)
    for a in range(0, len(ends), _BLOCK):
        stops = ends[a : a + _BLOCK]
        begin = int(ends[a - 1]) if a else 0
        starts = np.concatenate(([begin], stops[:-1]))
        place = np.arange(begin, stops[-1]) - np.repeat(starts, stops - starts)
        words = codes[stream[begin : stops[-1]]] << np.uint64(32) | place.astype(np.uint64)
        keys[a : a + _BLOCK] = np.add.reduceat(_mix(words, seed), starts - begin)
    return _mix(keys, seed)


def _mix(words: np.ndarray, seed: int) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele et al. 2014, OOPSLA), keyed by `seed`."""
    words = words + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
