"""A loader of any dataset that goes on in the middle of an epoch."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from charlm.data.resumable_loader import ResumableLoader


def passes(loader, epochs):
    """The batches of some epochs, as lists of numbers."""
    seen = []
    for epoch in epochs:
        loader.set_epoch(epoch)
        seen.append([batch.tolist() for batch in loader])
    return seen


@pytest.mark.parametrize("sampling", ["epoch", "replacement"])
@settings(deadline=None)
@given(total=st.integers(1, 30), size=st.integers(1, 9), seed=st.integers(0, 5), cut=st.integers(0, 30))
def test_it_goes_on_with_the_very_next_batch(total, size, seed, cut, sampling):
    expected = passes(ResumableLoader(range(total), size, sampling=sampling, seed=seed), [0, 1, 2])
    first = ResumableLoader(range(total), size, sampling=sampling, seed=seed)
    first.set_epoch(1)
    batches = iter(first)
    seen = [next(batches).tolist() for _ in range(min(cut, len(first)))]
    second = ResumableLoader(range(total), size, sampling=sampling, seed=seed)
    second.load_state_dict(first.state_dict())
    second.set_epoch(1)
    assert seen + [batch.tolist() for batch in second] == expected[1]
    assert passes(second, [2]) == expected[2:]
    for epoch in expected:
        seen = [number for batch in epoch for number in batch]
        assert {*seen} <= {*range(total)}
        if sampling == "epoch":
            assert sorted(seen) == list(range(total))


def test_epochs_and_seeds_have_orders_of_their_own_and_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    orders = [
        list(itertools.chain(*epoch))
        for seed in (0, 1)
        for epoch in passes(ResumableLoader(range(50), 7, seed=seed), [0, 1])
    ]
    assert len({tuple(order) for order in orders}) == 4
    assert torch.equal(torch.get_rng_state(), before)


def test_an_example_that_was_seen_is_not_loaded_again():
    class Counted:
        loaded = ()

        def __len__(self):
            return 6

        def __getitem__(self, number):
            self.loaded += (number,)
            return number

    data = Counted()
    loader = ResumableLoader(data, 2, sampling="sequential")
    loader.load_state_dict({**loader.state_dict(), "batch": 2})
    assert [batch.tolist() for batch in loader] == [[4, 5]]
    assert data.loaded == (4, 5)


@pytest.mark.parametrize("workers", [0, 2])
def test_options_of_the_dataloader_are_taken(workers):
    data = [torch.full((n + 1,), float(n)) for n in range(6)]
    loader = ResumableLoader(
        data, 4, seed=3, num_workers=workers, collate_fn=lambda examples: [len(e) for e in examples]
    )
    first, last = loader
    assert (len(first), len(last)) == (4, 2)
    assert sorted(first + last) == [1, 2, 3, 4, 5, 6]
    assert loader.state_dict()["batch"] == 2


def test_processes_share_every_global_batch():
    ranks = [ResumableLoader(range(12), 2, seed=1, rank=rank, world_size=3) for rank in range(3)]
    pieces = [passes(loader, [4])[0] for loader in ranks]
    assert [len(piece) for piece in pieces] == [2, 2, 2]
    assert sorted(number for piece in pieces for batch in piece for number in batch) == list(range(12))


def test_what_it_does_in_other_words_is_refused():
    with pytest.raises(ValueError, match=r"^ResumableLoader orders the examples by itself; leave sampler, shuffle out"):
        ResumableLoader(range(3), 1, shuffle=True, sampler=None)


def test_another_order_is_not_resumed():
    state = ResumableLoader(range(8), 2, seed=1).state_dict()
    with pytest.raises(ValueError, match=r"^the checkpoint was made with other batches \(seed 1, now 2\)"):
        ResumableLoader(range(8), 2, seed=2).load_state_dict(state)
