"""`lr_find`: a search without a training; loaders that cannot be read twice; where the rate goes."""

import itertools

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.demos.boring_classes import BoringDataModule, BoringModel
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, IterableDataset

from charlm.callbacks import LRFinder, lr_find

SHORT = {"num_steps": 30, "trial_steps": 30}


class Model(BoringModel):
    def __init__(self, lr=0.01):
        super().__init__()
        self.save_hyperparameters()
        self.lr = lr

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)


class Stream:
    """Goes on where the last iterator ended, like gluonts.itertools.IterableSlice."""

    def __init__(self, batches, length):
        self.rest, self.length = iter(batches), length

    def __iter__(self):
        return itertools.islice(self.rest, self.length)


class Sized(Stream):
    def __len__(self):
        return self.length


class Rows(IterableDataset):
    """The same inside a DataLoader, whose batches are two rows."""

    def __init__(self, length):
        self.stream = Stream((row for batch in batches() for row in batch[:2]), 2 * length)

    def __iter__(self):
        return iter(self.stream)


def batches():
    generator = torch.Generator().manual_seed(0)
    while True:
        yield torch.randn(4, 32, generator=generator)


@pytest.mark.parametrize(
    "make", [lambda: Stream(batches(), 5), lambda: Sized(batches(), 5), lambda: DataLoader(Rows(5), batch_size=2)]
)
def test_a_loader_that_goes_on_gets_back_what_was_read_and_the_rate_stays(make, trainer):
    def fit(*callbacks):
        torch.manual_seed(0)
        seen, model = [], Model()
        model.on_train_batch_start = lambda batch, index: seen.append((index, batch.sum().item())) and None
        fits = trainer(*callbacks, max_epochs=3)
        fits.fit(model, make())
        return seen, model.layer.weight.tolist()

    without = fit()
    message = "cannot search with .*(Stream|Sized|DataLoader), because .*lr_find. Training keeps the configured"
    with pytest.warns(UserWarning, match=message):
        assert fit(LRFinder(**SHORT)) == without
    result = lr_find(trainer(max_epochs=3), Model(), make(), **SHORT)
    assert result.suggestion > 0


def test_lr_find_leaves_trainer_and_model_as_they_were(trainer, tmp_path):
    model, data, before = Model(), BoringDataModule(), torch.get_rng_state()
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    saver, logger = ModelCheckpoint(tmp_path / "saved", save_last=True), CSVLogger(tmp_path / "logs")
    fits = trainer(saver, max_epochs=2, enable_checkpointing=True, logger=logger)
    result = lr_find(fits, model, data, **SHORT)
    assert len(result.climb.trials) > 2
    assert (fits.global_step, fits.callbacks, fits.loggers, model.lr) == (0, [saver], [logger], 0.01)
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(weight, weights[name]) for name, weight in model.state_dict().items())
    assert list(tmp_path.iterdir()) == []
    fits.fit(model, BoringDataModule())
    assert fits.global_step == 128
    assert lr_find(trainer(max_epochs=2), model, BoringDataModule(), update_attr="lr", **SHORT).suggestion == model.lr
    with pytest.raises(ValueError, match="there was no search, as this training has no step"):
        lr_find(trainer(max_steps=0), model)


def test_the_rate_goes_where_update_attr_says(trainer):
    class Named(Model):
        def __init__(self):
            super().__init__()
            self.speed = 7.0

    callback, model = LRFinder(update_attr="speed", **SHORT), Named()
    trainer(callback, max_steps=1).fit(model)
    assert (model.speed, model.lr) == (callback.result.suggestion, 0.01)
    assert model.trainer.optimizers[0].param_groups[0]["lr"] == model.speed
    given = []
    callback = LRFinder(update_attr=lambda module, rate: given.append((module, rate)), **SHORT)
    trainer(callback, max_steps=1).fit(model := Named())
    assert given == [(model, callback.result.suggestion)]
    assert model.trainer.optimizers[0].param_groups[0]["lr"] == 0.01
    with pytest.warns(UserWarning, match="update_attr is 'spead', and Named has no such attribute"):
        trainer(LRFinder(update_attr="spead", **SHORT), max_steps=1).fit(Named())


def test_the_picture_of_a_search_shows_the_trials_and_the_rate_in_a_notebook_too(trainer):
    result = lr_find(trainer(max_epochs=50), Model(), mode="linear", min_lr=1e-3, max_lr=2e-1, **SHORT)
    steps = {round(after - before, 9) for before, after in itertools.pairwise(result.lrs)}
    assert steps == {round(0.199 / 29, 9)}
    sweep, trials = result.figure().axes
    finite = sorted((trial.rate, trial.loss) for trial in result.climb.trials)
    assert [*zip(*trials.lines[0].get_data(), strict=True)] == finite
    assert {"loss of each step", "smoothed"} <= {text.get_text() for text in sweep.get_legend().get_texts()}
    assert [*trials.lines[1].get_xdata()] == [result.climb.rate] * 2
    for ax in (sweep, trials):
        assert any([*line.get_xdata()] == [result.suggestion] * 2 for line in ax.lines)
    assert result._repr_png_().startswith(b"\x89PNG")
    assert [ax.get_xlabel() for ax in result.plot().axes] == [ax.get_xlabel() for ax in (sweep, trials)]


def test_a_module_that_cannot_be_told_the_rate_trains_with_it(trainer):
    class Locked(BoringModel):
        lr = property(lambda self: 0.1)  # the rate of its optimizer, without a setter

        def __init__(self):
            super().__init__()
            self.save_hyperparameters({"learning_rate": [0.1, 0.2]})

    callback, model = LRFinder(**SHORT), Locked()
    trainer(callback, max_steps=1).fit(model)
    assert model.trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(callback.result.suggestion)
    assert (model.trainer.global_step, model.lr, model.hparams["learning_rate"]) == (1, 0.1, [0.1, 0.2])
