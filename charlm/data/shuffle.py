"""Pseudo-random hashes and orders, the same on every machine. Dimension key: N numbers, B some of them."""

import numpy as np
import torch
from torch import Tensor

_MOST_LISTED = 1 << 22  # length of the longest order that is stored as a list, 8 bytes per number
_ROUNDS = 6


def mix(words: np.ndarray, key: int) -> np.ndarray:
    """A keyed hash of 64-bit words, the finaliser of SplitMix64; works in place.

    Args:
        words: uint64 (B,); overwritten.
        key: >= 0; every key gives another hash.

    Returns:
        `words`.

    Source: Steele et al. 2014, OOPSLA, "Fast splittable pseudorandom number generators".
    """
    words += np.uint64((key + 1) * 0x9E3779B97F4A7C15 % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        words ^= words >> np.uint64(shift)
        words *= np.uint64(factor)
    words ^= words >> np.uint64(31)
    return words


def line_hashes(codes: np.ndarray, lengths: np.ndarray, seed: int) -> np.ndarray:
    """A hash of each line of a text: the sum of one mixed word for each character and its position, mixed again.

    Characters are hashed rather than ids, so that another alphabet does not move a name to another split.

    Args:
        codes: integers (N,), the code points of the text; the last one of each line is its end.
        lengths: int64 (M,), the length of each line with its end.
        seed: >= 0; every seed gives another hash.

    Returns:
        uint64 (M,).
    """
    ends = np.cumsum(lengths)
    words = codes.astype(np.uint64)
    words[ends - 1] = 0
    words <<= np.uint64(32)
    words |= (np.arange(len(codes)) - np.repeat(ends - lengths, lengths)).view(np.uint64)
    return mix(np.diff(np.cumsum(mix(words, seed))[ends - 1], prepend=np.uint64(0)), seed)


class Shuffle:
    """A random order of 0..N-1 with access to any piece of it.

    Up to four million numbers the order is `torch.randperm`; a longer one is computed piece by piece, without memory.

    Args:
        total: N, >= 1.
        generator: decides the order; None: torch's global generator.
    """

    def __init__(self, total: int, generator: torch.Generator | None) -> None:
        self.total = total
        self.listed: Tensor | None = None
        self.keys: list[int] = []
        if total <= _MOST_LISTED:
            self.listed = torch.randperm(total, generator=generator)
        else:
            self.keys = torch.randint(2**63 - 1, (_ROUNDS,), generator=generator).tolist()

    def piece(self, first: int, last: int) -> Tensor:
        """int64 (B,): the numbers at places `first` to `last` - 1 of the order; fewer at its end."""
        if self.listed is not None:
            return self.listed[first:last]
        places = np.arange(first, min(last, self.total), dtype=np.uint64)
        return torch.from_numpy(permute(places, self.total, self.keys).view(np.int64))


def permute(numbers: np.ndarray, total: int, keys: list[int]) -> np.ndarray:
    """The images of numbers under a keyed permutation of 0..N-1.

    A Feistel network with one round per key permutes 0..2**n-1, where 2**n is the first power of two not below N.
    Images of N or more are permuted again until they are below N (cycle walking). With a random function and five or
    more rounds, the result cannot be told from a random permutation.

    Args:
        numbers: uint64 (B,), each below `total`.
        total: N, >= 1.
        keys: one for each round, each >= 0.

    Returns:
        uint64 (B,).

    Source: Luby and Rackoff 1988, SIAM J. Comput. 17:373-386; Patarin 2004, CRYPTO, for the rounds; Black and Rogaway
        2002, CT-RSA, for any N; Mitchell et al. 2022, ACM TOPC 9, for shuffles.
    """
    bits = (total - 1).bit_length()
    images = _feistel(numbers, bits, keys)
    while (outside := images >= total).any():
        images[outside] = _feistel(images[outside], bits, keys)
    return images


def _feistel(numbers: np.ndarray, bits: int, keys: list[int]) -> np.ndarray:
    """Each round changes one half by a hash of the other half; that can be undone, so no two numbers get one image."""
    low_bits = np.uint64(bits // 2)
    low_mask, high_mask = ((np.uint64(1) << np.uint64(n)) - np.uint64(1) for n in (bits // 2, bits - bits // 2))
    changed, other = numbers >> low_bits, numbers & low_mask
    masks = (high_mask, low_mask)
    for number, key in enumerate(keys):
        changed ^= mix(other.copy(), key) & masks[number % 2]
        changed, other = other, changed
    high, low = (changed, other) if len(keys) % 2 == 0 else (other, changed)
    return high << low_bits | low
