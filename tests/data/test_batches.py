from itertools import islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from charlm.data import batches as batches_file
from charlm.data import shuffle as shuffle_file
from charlm.data.batches import BatchLoader
from charlm.data.contexts import Contexts, StreamAttributes

ORDERS = ["sequential", "epoch", "replacement"]
WEIGHTED = [(order, [0.002 * (i % 7 + 1) for i in range(60)]) for order in ORDERS[1:]]


def examples(n, weights=None):
    """n examples, each with another context and its number as the target (from 1)."""
    attributes = StreamAttributes(None if weights is None else torch.tensor(weights, dtype=torch.float64))
    return Contexts(torch.arange(1, n + 1, dtype=torch.int32), 2, attributes=attributes)


def numbers(batches):
    """The example numbers of each batch; checks that the contexts are theirs."""
    batches = list(batches)
    for context, target, *_ in batches:
        assert (context.dtype, target.dtype, context.shape) == (torch.int64, torch.int64, (len(target), 2))
        assert torch.equal(context[:, 1], target - 1)
        assert context.is_contiguous()
        assert target.is_contiguous()
    return [(target - 1).tolist() for _, target, *_ in batches]


def flat(batches):
    return [number for batch in batches for number in batch]


@pytest.fixture(params=[1 << 22, 0], ids=["listed", "computed"])
def either_order(request, monkeypatch):
    """The order of a short list and that of a very long one."""
    monkeypatch.setattr(shuffle_file, "_MOST_LISTED", request.param)


@pytest.mark.usefixtures("either_order")
@pytest.mark.parametrize("gathered", [50, 1 << 14])
@pytest.mark.parametrize("batch_size", [1, 7, 25, 1000, None])
@pytest.mark.parametrize("sampling", ["sequential", "epoch"])
def test_an_epoch_shows_every_example_once(monkeypatch, sampling, batch_size, gathered):
    monkeypatch.setattr(batches_file, "_GATHERED", gathered)
    loader = BatchLoader(examples(100), batch_size, sampling=sampling, seed=3)
    for epoch in range(2):
        loader.set_epoch(epoch)
        batches = numbers(loader)
        assert sorted(flat(batches)) == list(range(100))
        size = min(batch_size or 100, 100)
        assert [len(batch) for batch in batches] == [size] * (100 // size) + [100 % size] * (100 % size > 0)
        assert len(batches) == len(loader)
        if sampling == "sequential":
            assert flat(batches) == list(range(100))


@pytest.mark.parametrize("batch_size", [4, None])
def test_batches_come_on_the_device_that_is_given(batch_size):
    batches = list(BatchLoader(examples(10), batch_size, sampling="epoch", device=torch.device("meta")))
    assert [len(target) for _, target in batches] == ([10] if batch_size is None else [4, 4, 2])
    assert all(part.is_meta for batch in batches for part in batch)


@pytest.mark.usefixtures("either_order")
@pytest.mark.parametrize("sampling", ["epoch", "replacement"])
def test_the_order_is_a_function_of_seed_and_epoch_alone(sampling):
    """The global generator is neither read nor moved, and a pass without set_epoch is repeated."""

    def order(seed, epoch):
        loader = BatchLoader(examples(100), 8, sampling=sampling, seed=seed)
        loader.set_epoch(epoch)
        first = numbers(loader)
        torch.rand(1)
        assert numbers(loader) == first
        return first

    different = [order(seed, epoch) for seed in (0, 1, 2) for epoch in (0, 1, 2)]
    assert all(different.count(batches) == 1 for batches in different)
    before = torch.get_rng_state()
    numbers(BatchLoader(examples(20), 8, sampling=sampling, seed=0))
    assert torch.equal(torch.get_rng_state(), before)


def test_replacement_without_a_seed_is_the_courses_randint_once_a_batch():
    torch.manual_seed(42)
    drawn = []
    for batch in BatchLoader(examples(70), 32, sampling="replacement", seed=None):
        drawn.append((batch[1] - 1).tolist())
        torch.rand(1)  # what a training step draws in between
    torch.manual_seed(42)
    expected = []
    for _ in range(3):
        expected.append(torch.randint(0, 70, (32,)).tolist())
        torch.rand(1)
    assert drawn == expected


@pytest.mark.usefixtures("either_order")
@pytest.mark.parametrize("weights", [None, *(weights for sampling, weights in WEIGHTED if sampling == "epoch")])
def test_an_epoch_without_a_seed_goes_on_with_the_next_batch(weights):
    def loader():
        return BatchLoader(examples(60, weights), 8, sampling="epoch", seed=None)

    torch.manual_seed(3)
    unbroken = numbers(loader())
    torch.manual_seed(3)
    first, second = loader(), loader()
    numbers(islice(first, 3))
    torch.rand(1)
    second.load_state_dict(first.state_dict())
    assert numbers(second) == unbroken[3:]
    assert numbers(second) != unbroken


@pytest.mark.usefixtures("either_order")
@pytest.mark.parametrize("gathered", [20, 1 << 14])
@pytest.mark.parametrize(("batch_size", "ranks"), [(8, 1), (4, 2), (None, 1)])
@pytest.mark.parametrize(("sampling", "weights"), [*((order, None) for order in ORDERS), *WEIGHTED])
def test_a_run_saved_after_any_batch_goes_on_with_the_next(monkeypatch, sampling, weights, batch_size, ranks, gathered):
    monkeypatch.setattr(batches_file, "_GATHERED", gathered)

    def loader_from(state=None, epoch=2):
        given = {"sampling": sampling, "seed": 5, "rank": ranks - 1, "world_size": ranks}
        loader = BatchLoader(examples(60, weights), batch_size, **given)
        if state:
            loader.load_state_dict(state)
            assert loader.state_dict() == state
        loader.set_epoch(epoch)
        return loader

    unbroken, next_epoch = numbers(loader_from()), numbers(loader_from(epoch=3))
    for seen in range(len(unbroken) + 1):
        first = loader_from()
        assert numbers(islice(first, seen)) == unbroken[:seen]
        state = first.state_dict()
        assert (state["epoch"], state["batch"]) == (2, seen)
        second = loader_from(state)
        assert numbers(islice(second, 2)) == unbroken[seen : seen + 2]
        assert numbers(loader_from(second.state_dict())) == unbroken[seen + 2 :]  # saved once more
        assert numbers(loader_from(state, epoch=3)) == next_epoch  # the position counts for its own epoch only


@pytest.mark.usefixtures("either_order")
def test_examples_are_drawn_in_proportion_to_their_weights():
    """In an epoch as often as the weight says, rounded up or down; with equal weights once. In order, weights come."""
    weights, epochs = [5_000_000.0, 1.5, 2.5, *[1.0] * 5, 1e6, 999_993.0], 400
    for sampling in ORDERS[1:]:
        loader, counts = BatchLoader(examples(10, weights), 4, sampling=sampling, seed=1), torch.zeros(10)
        for epoch in range(epochs):
            loader.set_epoch(epoch)
            batches = list(loader)
            assert [len(batch) for batch in batches] == [2] * len(batches)
            found = torch.bincount(torch.tensor(flat(numbers(batches))), minlength=10)
            expected = torch.tensor(weights, dtype=torch.float64) / sum(weights) * found.sum()
            assert sampling == "replacement" or torch.all((found - expected).abs() < 1)
            counts += found
        assert (counts / counts.sum()).tolist() == pytest.approx([w / sum(weights) for w in weights], abs=0.02)
    even = BatchLoader(examples(100, [0.3] * 100), 7, sampling="epoch", seed=3)
    assert sorted(flat(numbers(even))) == list(range(100))
    assert flat(weight.tolist() for *_, weight in BatchLoader(examples(3, [1, 2, 0.5]), 2)) == [1, 2, 0.5]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"n": 61}, "examples 61, now 60"),
        ({"sampling": "replacement"}, "sampling 'replacement', now 'epoch'"),
        ({"seed": 1}, "seed 1, now 0"),
        ({"seed": None, "batch_size": 4}, "batch_size 4, now 8; seed None, now 0"),
        ({"world_size": 2}, "world_size 2, now 1"),
    ],
)
def test_a_state_of_other_batches_is_refused(other, message):
    settings = {"n": 60, "batch_size": 8, "sampling": "epoch", "seed": 0} | other
    state = BatchLoader(examples(settings.pop("n")), **settings).state_dict()
    loader = BatchLoader(examples(60), 8, sampling="epoch", seed=0)
    with pytest.raises(ValueError, match=rf"other batches \({message}\); resume with the data settings and as many"):
        loader.load_state_dict(state)
    assert numbers(loader) == numbers(BatchLoader(examples(60), 8, sampling="epoch", seed=0))


@given(
    batch_size=st.integers(1, 20),
    world=st.integers(1, 4),
    more=st.integers(1, 60),
    sampling=st.sampled_from(ORDERS[1:]),
)
def test_the_ranks_together_train_on_one_loaders_global_batches(batch_size, world, more, sampling):
    together = batch_size * world
    n = together + max(more, world)
    one = BatchLoader(examples(n), together, sampling=sampling, seed=1)
    ranks = [
        BatchLoader(examples(n), batch_size, sampling=sampling, seed=1, rank=r, world_size=world) for r in range(world)
    ]
    for loader in (one, *ranks):
        loader.set_epoch(3)
    pieces = [numbers(loader) for loader in ranks]
    assert {len(batches) for batches in pieces} == {len(one)} == {len(loader) for loader in ranks}
    for whole, *parts in zip(numbers(one), *pieces, strict=True):
        assert len({len(part) for part in parts}) == 1  # every rank's mean weighs the same
        joined = flat(parts)
        assert joined[: len(whole)] == whole
        assert len(joined) - len(whole) < world


@given(n=st.integers(8, 60), batch_size=st.integers(1, 20), world=st.integers(2, 4))
def test_the_ranks_together_evaluate_every_example_once(n, batch_size, world):
    ranks = [BatchLoader(examples(n), batch_size, rank=r, world_size=world) for r in range(world)]
    pieces = [numbers(loader) for loader in ranks]
    assert sorted(flat(map(flat, pieces))) == list(range(n))
    assert {len(batches) for batches in pieces} == {len(loader) for loader in ranks}
    assert all(batch for batches in pieces for batch in batches)


@pytest.mark.parametrize(
    ("n", "options", "message"),
    [
        (0, {}, r"this split has no examples; give it a share in `split`, or choose a smaller `block_size`"),
        (5, {"batch_size": 0}, "batch_size is 0; give at least 1, or null for the whole split in one batch"),
        (5, {"world_size": 3}, "5 examples are too few for 3 processes; use fewer devices"),
        (5, {"sampling": "sequentail"}, "sampling is 'sequentail'; give 'sequential', 'epoch' or 'replacement'"),
        (5, {"rank": 2, "world_size": 2}, "rank is 2; with 2 processes it is at least 0 and below 2"),
    ],
)
def test_an_argument_outside_its_range_is_refused(n, options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        BatchLoader(examples(n), **{"batch_size": 4, **options})
