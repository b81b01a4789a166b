"""A loader of any dataset that goes on in the middle of an epoch."""

import lightning.pytorch as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.testing._internal.distributed.fake_pg import FakeStore  # processes that never speak

from charlm.data.resumable_loader import ResumableLoader


def passes(loader, epochs):
    """The batches of some epochs, as lists of numbers."""
    seen = []
    for epoch in epochs:
        loader.set_epoch(epoch)
        seen.append([batch.tolist() for batch in loader])
    return seen


@pytest.mark.parametrize("sampling", ["epoch", "replacement"])
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


def test_what_it_does_in_other_words_is_refused():
    with pytest.raises(ValueError, match=r"the order by `sampling` and `seed`, .*; leave sampler, shuffle out"):
        ResumableLoader(range(3), 1, shuffle=True, sampler=None)


def test_processes_that_begin_after_the_loader_is_made_share_its_batches():
    loader, resumed = (ResumableLoader(range(12), 2, seed=1) for _ in range(2))
    next(iter(loader))
    resumed.load_state_dict(loader.state_dict())
    assert len(loader) == 6
    torch.distributed.init_process_group("fake", rank=1, world_size=2, store=FakeStore())
    try:
        assert (len(loader), loader.rank) == (3, 1)
        assert [*map(len, loader)] == [2, 2, 2]
        with pytest.raises(ValueError, match="world_size 1, now 2"):
            next(iter(resumed))
    finally:
        torch.distributed.destroy_process_group()
    assert (loader.state_dict()["batch"], loader.state_dict()["world_size"], len(loader)) == (3, 2, 6)


class Seen(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.weight, self.batches = torch.nn.Parameter(torch.zeros(())), []

    def training_step(self, batch, _):
        self.batches.append(batch.tolist())
        return self.weight * 1

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def test_a_sequential_training_saved_at_the_end_of_an_epoch_resumes_with_the_next_epoch(trainer, tmp_path):
    """Lightning tells every loader the epoch; without it, the resumed loader had no batches left."""

    def fit(checkpoint=None, **options):
        model, loader = Seen(), ResumableLoader(range(6), 2, sampling="sequential")
        trainer(max_epochs=2, **options).fit(model, loader, ckpt_path=checkpoint, weights_only=True)
        return model.batches

    saver = ModelCheckpoint(dirpath=tmp_path, filename="{step}", every_n_train_steps=1, save_top_k=-1)
    unbroken = fit(callbacks=[saver], enable_checkpointing=True)
    assert unbroken == [[0, 1], [2, 3], [4, 5]] * 2
    for steps in (2, 3, 4):
        assert fit(tmp_path / f"step={steps}.ckpt") == unbroken[steps:]
