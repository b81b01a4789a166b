from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from charlm.data import shuffle as shuffle_file
from charlm.data.shuffle import Shuffle, permute

KEYS = st.lists(st.integers(0, 2**63), min_size=1, max_size=8)
LARGE = (1 << 18) + 12_345


@pytest.fixture
def computed(monkeypatch):
    """No order is kept as a list, however short."""
    monkeypatch.setattr(shuffle_file, "_MOST_LISTED", 0)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def order(total, seed):
    return Shuffle(total, seeded(seed)).piece(0, total)


def image(number, total, keys):
    """The same in whole numbers of Python."""
    bits = (total - 1).bit_length()
    low_bits = bits // 2
    parts = [number >> low_bits, number & (1 << low_bits) - 1]
    masks = [(1 << bits - low_bits) - 1, (1 << low_bits) - 1]
    for step, key in enumerate(keys):
        word = (parts[1 - step % 2] + (key + 1) * 0x9E3779B97F4A7C15) % 2**64
        word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        word = (word ^ word >> 27) * 0x94D049BB133111EB % 2**64
        parts[step % 2] ^= (word ^ word >> 31) & masks[step % 2]
    found = parts[0] << low_bits | parts[1]
    return found if found < total else image(found, total, keys)


@given(st.integers(1, 2**40), st.data(), KEYS)
def test_an_image_is_that_of_the_formula(total, data, keys):
    numbers = data.draw(st.lists(st.integers(0, total - 1), min_size=1, max_size=5))
    images = permute(np.array(numbers, np.uint64), total, keys)
    assert images.tolist() == [image(number, total, keys) for number in numbers]


@pytest.mark.parametrize("listed", [0, 1 << 22])
@given(total=st.integers(1, 500), seed=st.integers(0, 2**63), cuts=st.lists(st.integers(0, 600), max_size=5))
def test_any_piece_of_an_order_can_be_had(listed, total, seed, cuts):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shuffle_file, "_MOST_LISTED", listed)
        shuffle, whole = Shuffle(total, seeded(seed)), order(total, seed)
    assert (whole.dtype, sorted(whole.tolist())) == (torch.int64, list(range(total)))
    assert not listed or torch.equal(whole, torch.randperm(total, generator=seeded(seed)))
    edges = sorted([0, *cuts, 600])
    pieces = [shuffle.piece(*edge) for edge in pairwise(edges)]
    assert torch.equal(torch.cat(pieces), whole)
    assert torch.equal(shuffle.piece(edges[0], edges[1]), pieces[0])


def test_without_a_generator_a_computed_order_is_drawn_from_torchs(computed):
    torch.manual_seed(4)
    first, second = (Shuffle(100, None).piece(0, 100) for _ in range(2))
    torch.manual_seed(4)
    assert torch.equal(Shuffle(100, None).piece(0, 100), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("lag", [1, 64])
def test_the_steps_of_a_computed_order_are_as_those_of_a_random_one(computed, lag):
    """The difference modulo N of two numbers `lag` places apart is uniform: chi-squared of 63 degrees of freedom."""
    numbers = order(LARGE, 0)
    counts = torch.bincount((numbers[lag:] - numbers[:-lag]) % LARGE * 64 // LARGE, minlength=64).double()
    expected = (LARGE - lag) / 64
    assert ((counts - expected) ** 2 / expected).sum() < 63 + 4 * (2 * 63) ** 0.5
