import html
import random
import re
import warnings
from itertools import pairwise

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from charlm.callbacks import NameSamples, StepsPerExecution
from charlm.data.datamodule import NamesDataModule

ROWS = TensorDataset(torch.arange(36.0).view(12, 3) / 36)


class Speller(pl.LightningModule):
    """Learns something, with dropout and batch norm, and spells "a" as often as it has been asked."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))
        self.asked, self.modes = [], []

    def sample_names(self, n, seed):
        self.asked.append((n, seed))
        self.modes.append((any(part.training for part in self.modules()), torch.is_grad_enabled()))
        self.net(torch.rand(2, 3))
        random.seed(seed)
        np.random.seed(seed)
        return ["a" * len(self.asked), "bob", "bob", "cleo"] * (n // 4)

    def training_step(self, batch, batch_idx):
        loss = self.net(batch[0]).square().mean()
        self.log("loss/train", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("loss/val", self.net(batch[0]).square().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def train_dataloader(self):
        return DataLoader(ROWS, batch_size=2, shuffle=True)

    def val_dataloader(self):
        return DataLoader(ROWS, batch_size=2)


class Knowing(Speller):
    def known_names(self):
        random.random()
        return {"train": ["bob", "bob", "a"], "val": {"cleo"}}


class StopAtOnce(pl.Callback):
    def on_train_start(self, trainer, pl_module):
        trainer.should_stop = True


def board(folder):
    return TensorBoardLogger(folder, name=None, version="")


def events(folder):
    """The scalars by tag and the texts by step."""
    found = EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()
    texts = found.Tensors("samples/text_summary") if "samples/text_summary" in found.Tags()["tensors"] else []
    scalars = {tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in found.Tags()["scalars"]}
    return scalars, {event.step: event.tensor_proto.string_val[0].decode() for event in texts}


FIT = {"max_steps": 6, "max_epochs": -1, "val_check_interval": 2, "limit_val_batches": 1, "log_every_n_steps": 1}


@pytest.fixture
def fitted(trainer, tmp_path):
    """The scalars and texts of a training."""

    def fitted(model, *callbacks, **options):
        trainer(*callbacks, **(FIT | {"logger": board(tmp_path)} | options)).fit(model)
        return events(tmp_path)

    return fitted


def test_names_are_marked_and_the_scalars_are_those_of_all_names_that_were_drawn(fitted):
    """Of "a", "bob", "bob", "cleo" twice over; then of "aa", ...; all but the last kind are known."""
    scalars, texts = fitted(Knowing(), NameSamples(n=4, seed=3, scored=8), max_steps=2)
    assert scalars["samples/new"] == [(0, 0), (1, pytest.approx(1 / 4))]
    assert scalars["samples/distinct"] == [(0, pytest.approx(3 / 8)), (1, pytest.approx(3 / 8))]
    assert scalars["samples/mean_length"] == [(0, 11 / 4), (1, 12 / 4)]
    assert scalars["samples/mean_length_data"] == [(0, pytest.approx(7 / 3)), (1, pytest.approx(7 / 3))]
    assert texts[1] == (
        "Step 1: of 8 names sampled with seed 3, 25% new, 38% distinct, 3.0 characters long on average (2.3 in train)."
        " The first 4, by step:\n\n| 0 | 1 |\n| --- | --- |\n| a (in train) | aa |\n"
        "| bob (in train) | bob (in train) |\n| bob (in train) | bob (in train) |\n| cleo (in val) | cleo (in val) |"
    )


def test_the_known_names_may_be_the_data_modules(trainer, tmp_path):
    class Data(pl.LightningDataModule):
        asked = 0

        def train_dataloader(self):
            return DataLoader(ROWS, batch_size=2)

        val_dataloader = train_dataloader

        def known_names(self):
            self.asked += 1
            return {"seen": ["bob"]}

    data = Data()
    trainer(NameSamples(n=4, scored=4), **FIT, logger=board(tmp_path)).fit(Speller(), datamodule=data)
    assert data.asked == 1
    assert "| bob (in seen) |" in events(tmp_path)[1][5]


def test_a_resumed_run_goes_on_at_lightnings_steps(trainer, tmp_path):
    first = trainer(NameSamples(n=4, scored=4), **FIT)
    first.fit(Knowing())
    first.save_checkpoint(tmp_path / "last.ckpt")
    second = trainer(NameSamples(n=4, scored=4), **(FIT | {"max_steps": 10}), logger=board(tmp_path / "second"))
    second.fit(Knowing(), ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    scalars, texts = events(tmp_path / "second")
    assert sorted(texts) == [step for step, _ in scalars["loss/val"]]
    assert "\n| 0 | 1 | 3 | 5 | " in texts[max(texts)], "with the columns of the first run"
    at_its_end = trainer(NameSamples(n=4, scored=4), StopAtOnce(), **(FIT | {"max_steps": 10}))
    at_its_end.fit(model := Knowing(), ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert model.asked == [], "the names of this step were shown before"


@pytest.mark.filterwarnings("ignore:Found 1 module")
@pytest.mark.parametrize("callbacks", [[], [StepsPerExecution(2)]])
def test_training_is_what_it_is_without_it_bit_for_bit(callbacks, trainer):
    """Though sample_names uses the global generators, as it ought not to, and a batch norm is frozen."""
    results = []
    for own in ([], [NameSamples(n=4, scored=4)]):
        pl.seed_everything(3, verbose=False)
        model = Knowing()
        model.net[1].eval()
        trainer(*own, *callbacks, **FIT).fit(model)
        results.append([*model.state_dict().values(), torch.rand(1), torch.tensor([random.random(), np.random.rand()])])
    assert all(map(torch.equal, *results))
    assert set(model.modes) == {(False, False)}
    assert [part.training for part in model.net] == [True, False, True, True]


def test_a_training_without_validations_has_a_first_and_a_last_text(fitted):
    """Without known names nothing is called new, and names may come as a tuple."""

    class Tuple(Speller):
        def sample_names(self, n, seed):
            return tuple(super().sample_names(n, seed))

    model = Tuple()
    scalars, texts = fitted(model, NameSamples(n=2, seed=7, scored=4), limit_val_batches=0, val_check_interval=None)
    assert model.asked == [(4, 7)] * 2
    assert sorted(texts) == [0, 5]
    assert {tag for tag in scalars if tag.startswith("samples")} == {"samples/distinct", "samples/mean_length"}
    assert "75% distinct, 3.0 characters long on average. The first 2, by step:" in texts[5]
    assert texts[5].endswith("\n| a | aa |\n| bob | bob |")


def test_a_model_without_sample_names_is_told_so_once(trainer):
    class Mute(Speller):
        sample_names = property()

    with pytest.warns(UserWarning, match=r"NameSamples shows nothing, because Mute has no method sample_names") as said:
        trainer(NameSamples(), max_steps=2).fit(Mute())
    assert len([warning for warning in said if "NameSamples" in str(warning.message)]) == 1


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ([], "it returned no names instead of 5"),
        (["a", None], r"it must return a list of strings, not \['a', None\]"),
        ("abc", "it must return a list of strings, not 'abc'"),
    ],
)
def test_names_that_cannot_be_sampled_do_not_stop_the_training(given, reason, trainer):
    model = Knowing()
    model.sample_names = lambda n, seed: given
    message = f"NameSamples, after 0 steps: sample_names failed with ValueError: {reason}"
    with pytest.warns(UserWarning, match=message) as said:
        trainer(NameSamples(n=2, scored=5), **FIT).fit(model)
    assert model.trainer.global_step == 6
    assert len([warning for warning in said if "sample_names" in str(warning.message)]) == 1


def test_known_names_that_cannot_be_read_leave_the_rest(fitted):
    model = Speller()
    model.known_names = lambda: {"train": ["a"], "val": None}
    with pytest.warns(UserWarning, match=r": known_names failed with TypeError"):
        scalars, texts = fitted(model, NameSamples(n=4, scored=4))
    assert len(texts) == 4
    assert not {"samples/new", "samples/mean_length_data"} & set(scalars)


def test_a_second_training_begins_anew_and_an_evaluation_shows_nothing(trainer, tmp_path):
    callback, model = NameSamples(n=4, scored=4), Knowing()
    trainer(callback, **FIT | {"fast_dev_run": True}).fit(model)
    trainer(callback, **FIT, logger=board(tmp_path)).fit(model)
    assert sorted(events(tmp_path)[1]) == [0, 1, 3, 5]
    asked = len(model.asked)
    trainer(callback, **FIT).validate(model, verbose=False)
    assert len(model.asked) == asked


@given(st.lists(st.text(), min_size=1, max_size=5), st.booleans())
def test_the_page_shows_every_name_as_it_is(names, known):
    """Whatever Markdown and HTML make of it elsewhere; what is not printable is shown as Python writes it."""
    callback = NameSamples(n=5, scored=5)
    callback._keep(0, names, ["in val"] * len(names) if known else [])
    cells = rendered(callback._text(5, {"samples/distinct": 1.0, "samples/mean_length": 1.0}))
    assert len(cells) == len(names)
    for shown, name in zip(cells, names, strict=True):
        plain = name.isprintable() and " ".join(name.split()) == name != ""
        assert shown == (name if plain else repr(name)) + " (in val)" * known


def rendered(text):
    """The cells of the table on TensorBoard's page."""
    from tensorboard import plugin_util

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        page = plugin_util.markdown_to_safe_html(text)
    return [html.unescape(cell) for cell in re.findall("<td>(.*)</td>", page)]


def test_of_many_steps_the_first_and_the_last_and_some_between_have_a_column():
    callback = NameSamples(n=1)
    for step in range(0, 2000, 100):
        callback._keep(step, ["emma"], [])
    steps = [step for step, _ in callback._columns]
    assert (len(steps), steps[0], steps[-1]) == (6, 0, 1900)
    assert max(after - before for before, after in pairwise(steps)) <= 600


@pytest.mark.parametrize("split_by", ["name", "line", "pair"])
def test_the_data_module_of_charlm_knows_the_names_of_train_and_val(split_by):
    data = NamesDataModule(split_by=split_by)
    if split_by == "pair":
        assert data.known_names() == {"train": data.splits.corpus.names()}
    else:
        assert data.known_names() == {part: data.splits.names(part) for part in ("train", "val")}
    if split_by == "name":
        weighted = NamesDataModule(weight="percent").known_names()
        assert weighted == {part: set(names) for part, names in data.known_names().items()}, "no mean length"
