from collections import Counter
from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from charlm.data import shuffle
from charlm.data.name_batches import NameLoader
from charlm.data.sequences import Sequences

ORDERS = ["sequential", "epoch", "replacement"]


def sequences(count=100, longest=12):
    """Names of 1 to `longest` characters that tell their numbers: the first two characters are its digits."""
    generator = torch.Generator().manual_seed(5)
    stream = []
    for number in range(count):
        more = int(torch.randint(longest - 1, (), generator=generator))
        stream += [1 + number // 100, 1 + number % 100, *[7] * more, 0]
    return Sequences(torch.tensor(stream, dtype=torch.int16))


def numbers(batches):
    """The names' numbers of each batch; checks how they are padded."""
    found = []
    for names, target in batches:
        assert names.shape == target.shape
        assert (target != -1).any(0).all()  # no column is padding alone
        assert torch.equal(names[:, 1:][target[:, 1:] != -1], target[:, :-1][target[:, 1:] != -1])
        found.append(((target[:, 0] - 1) * 100 + target[:, 1] - 1).tolist())
    return found


def flat(batches):
    return [number for batch in batches for number in batch]


@pytest.mark.parametrize("listed", [1 << 22, 0], ids=["listed", "computed"])
@pytest.mark.parametrize("batch_size", [1, 7, 25, 99, 100, 1000, None])
@pytest.mark.parametrize("sampling", ["sequential", "epoch"])
def test_an_epoch_shows_every_name_once(monkeypatch, sampling, batch_size, listed):
    monkeypatch.setattr(shuffle, "_MOST_LISTED", listed)
    loader = NameLoader(sequences(), batch_size, sampling=sampling, seed=3)
    for epoch in range(2):
        loader.set_epoch(epoch)
        batches = numbers(loader)
        assert sorted(flat(batches)) == list(range(100))
        size = min(batch_size or 100, 100)
        assert sorted(map(len, batches)) == sorted([size] * (100 // size) + [100 % size] * (100 % size > 0))
        assert len(batches) == len(loader)
        if sampling == "sequential":
            assert flat(batches) == list(range(100))


@pytest.mark.parametrize("sampling", ["epoch", "replacement"])
def test_the_order_is_of_the_seed_and_the_epoch_alone(sampling):
    def epochs(seed):
        loader = NameLoader(sequences(), 7, sampling=sampling, seed=seed)
        found = []
        for epoch in range(3):
            loader.set_epoch(epoch)
            found.append(numbers(loader))
        return found

    torch.manual_seed(1)
    first = epochs(0)
    torch.manual_seed(2)
    assert epochs(0) == first
    assert len({str(epoch) for epoch in first + epochs(1)}) == 6


@pytest.mark.parametrize("sampling", ORDERS)
@pytest.mark.parametrize("taken", [0, 1, 5, 14, 15])
def test_a_saved_pass_goes_on_with_the_very_next_batch(sampling, taken):
    whole = NameLoader(sequences(), 7, sampling=sampling, seed=4)
    whole.set_epoch(2)
    batches = numbers(whole)
    saved = NameLoader(sequences(), 7, sampling=sampling, seed=4)
    saved.set_epoch(2)
    assert numbers(islice(saved, taken)) == batches[:taken]
    resumed = NameLoader(sequences(), 7, sampling=sampling, seed=4)
    resumed.load_state_dict(saved.state_dict())
    resumed.set_epoch(2)
    assert numbers(resumed) == batches[taken:]
    resumed.set_epoch(3)
    whole.set_epoch(3)
    assert numbers(resumed) == numbers(whole)


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("sampling", ["epoch", "replacement"])
def test_processes_share_every_global_batch(sampling, world_size):
    alone = NameLoader(sequences(), 6 * world_size, sampling=sampling, seed=1)
    loaders = [
        NameLoader(sequences(), 6, sampling=sampling, seed=1, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    by_rank = [numbers(loader) for loader in loaders]
    assert {tuple(map(len, batches)) for batches in by_rank} == {tuple(map(len, by_rank[0]))}  # in step
    together = [sorted(flat(batches)) for batches in zip(*by_rank, strict=True)]
    if 100 % world_size == 0:
        assert together == [sorted(batch) for batch in numbers(alone)]
    elif sampling == "epoch":  # filled up with the first names, so that no rank has fewer
        assert Counter(flat(together)) - Counter(range(100)) != Counter()
        assert set(flat(together)) == set(range(100))


def test_processes_evaluate_every_name_once():
    shares = [flat(numbers(NameLoader(sequences(), 8, rank=rank, world_size=3))) for rank in range(3)]
    assert sorted(flat(shares)) == list(range(100))


def test_the_longest_names_of_a_training_batch_come_first():
    """So that those that have ended are always the last rows; and the names are drawn whatever their length."""
    spans = []
    for _, target in NameLoader(sequences(3000), 32, sampling="epoch"):
        lengths = (target != -1).sum(1).tolist()
        assert lengths == sorted(lengths, reverse=True)
        spans.append(lengths[0] - lengths[-1])
    assert sum(spans) / len(spans) > 8


@given(st.integers(1, 40), st.integers(1, 12), st.sampled_from(ORDERS), st.integers(0, 2**64 - 1))
@settings(deadline=None, max_examples=50)
def test_as_many_batches_as_it_says(count, batch_size, sampling, seed):
    loader = NameLoader(sequences(count), batch_size, sampling=sampling, seed=seed)
    assert len(list(loader)) == len(loader) == -(-count // min(batch_size, count))


def test_without_a_seed_the_order_is_that_of_the_global_generator():
    loader = NameLoader(sequences(), 9, sampling="epoch", seed=None)
    torch.manual_seed(8)
    first = numbers(loader)
    assert numbers(loader) != first
    torch.manual_seed(8)
    assert numbers(loader) == first
