"""What EmbeddingPCA leaves when a training ends, in real trainings of a model that is not of this package."""

import math
import random
import re
import warnings

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import LambdaCallback
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from charlm.callbacks import EmbeddingPCA


class Films(pl.LightningModule):
    """Ratings of films; 10 steps an epoch."""

    embedding_labels = tuple(f"film {row}" for row in range(12))
    embedding_kinds = ("comedy", "drama") * 6

    def __init__(self, rows=12, columns=5):
        super().__init__()
        self.films = nn.Embedding(rows, columns)
        self.head = nn.Linear(columns, 1)

    def training_step(self, batch, batch_idx):
        return nn.functional.mse_loss(self.head(nn.functional.dropout(self.films(batch[0]))).squeeze(1), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def train_dataloader(self):
        return DataLoader(TensorDataset(torch.arange(20) % 10, torch.linspace(0, 1, 20)), batch_size=2, shuffle=True)


@pytest.fixture
def fitted(trainer, tmp_path):
    """Trains with a TensorBoardLogger in tmp_path / "run"; returns the events."""

    def fitted(model, *callbacks, **options):
        logger = TensorBoardLogger(tmp_path, name="", version="run")
        trainer(*callbacks, logger=logger, **options).fit(model)
        return EventAccumulator(str(tmp_path / "run"), size_guidance={"images": 0}).Reload()

    return fitted


def files(tmp_path):
    """The files of the run but its events."""
    found = (path for path in (tmp_path / "run").rglob("*.*") if "tfevents" not in path.name)
    return sorted(str(path.relative_to(tmp_path / "run")) for path in found)


def frames_of(gif):
    with Image.open(gif) as image:
        return image.n_frames


def frames_in(folder):
    with np.load(folder / "embedding_pca.npz", allow_pickle=False) as file:
        return dict(file)


def test_a_training_leaves_a_film_frames_neighbours_and_the_table(fitted, tmp_path):
    model = Films()
    start = model.films.weight.detach().clone()
    found = fitted(model, EmbeddingPCA(frames=4), max_epochs=3)
    assert files(tmp_path) == [
        "00029/films/metadata.tsv", "00029/films/tensors.tsv", "embedding_pca.gif", "embedding_pca.npz",
        "embedding_pca.png", "embedding_pca_frames.png", "hparams.yaml", "projector_config.pbtxt",
    ]  # fmt: skip
    frames = frames_in(tmp_path / "run")
    assert frames["steps"].tolist() == [*range(7), 8, 10, 13, 16, 20, 25, 30]
    assert np.array_equal(frames["tables"][0], start.numpy())
    assert np.array_equal(frames["tables"][-1], model.films.weight.detach().numpy())
    assert frames["kinds"].tolist() == ["comedy", "drama"] * 6
    shown = {tag: found.Images(tag) for tag in found.Tags()["images"]}
    # before training, after each epoch and at the end; on the x-axis of the scalars the tenth step is 9
    assert {tag: [image.step for image in images] for tag, images in shown.items()} == {
        "embedding_pca": [0, 9, 19, 29], "embedding_pca_film": [29], "embedding_pca_frames": [29],
    }  # fmt: skip
    gif = tmp_path / "run" / "embedding_pca.gif"
    assert shown["embedding_pca_film"][0].encoded_image_string == gif.read_bytes()
    assert 2 <= frames_of(gif) <= 4
    (text,) = found.Tensors("embedding_neighbours/text_summary")
    assert text.step == 29
    assert text.tensor_proto.string_val[0].decode().count("| **film ") == 12


def test_several_tables_leave_files_and_tags_of_their_own(fitted, tmp_path):
    """Also where two of them are of the same table."""
    callbacks = [EmbeddingPCA(name, frames=2, labels=[], every_n_epochs=None) for name in (None, "films", "seen")]
    model = Films()
    model.register_buffer("seen", torch.rand(6, 2))
    tags = fitted(model, *callbacks, max_steps=2).Tags()
    names = ("films-1", "films-2", "seen")
    found = set(files(tmp_path))
    assert {f"embedding_pca-{name}{end}" for name in names for end in (".png", ".gif", ".npz")} <= found
    kinds = ("embedding_pca", "embedding_pca_film", "embedding_pca_frames")
    assert set(tags["images"]) == {f"{kind}/{name}" for kind in kinds for name in names}
    assert {f"embedding_neighbours/{name}/text_summary" for name in names} <= set(tags["tensors"])
    config = (tmp_path / "run" / "projector_config.pbtxt").read_text()
    assert sorted(re.findall(r'tensor_name: "(.*):00001"', config)) == sorted(names)


def test_a_run_without_a_film_gives_the_projector_its_first_rows_with_a_note(fitted, tmp_path):
    found = fitted(Films(), EmbeddingPCA(frames=0, projector_rows=7, every_n_epochs=None), max_steps=3)
    assert not [name for name in files(tmp_path) if name.endswith((".gif", ".npz", "frames.png"))]
    metadata = (tmp_path / "run" / "00002" / "films" / "metadata.tsv").read_text()
    assert metadata.splitlines() == ["label\tkind", *(f"film {r}\t{('comedy', 'drama')[r % 2]}" for r in range(7))]
    (text,) = found.Tensors("embedding_neighbours/text_summary")
    assert "The projector has the first 7 of 12 rows." in text.tensor_proto.string_val[0].decode()


@pytest.mark.parametrize("error", [ZeroDivisionError(), KeyboardInterrupt()], ids=["failed", "interrupted"])
def test_a_training_that_is_broken_off_leaves_its_frames(trainer, tmp_path, error):
    def stop(trainer, *_):
        if trainer.global_step == 6:
            raise error

    with pytest.raises((ZeroDivisionError, SystemExit, KeyboardInterrupt)):
        trainer(EmbeddingPCA(every_n_epochs=None), LambdaCallback(on_train_batch_start=stop), max_epochs=1).fit(Films())
    assert frames_in(tmp_path)["steps"].tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert not (tmp_path / "embedding_pca.gif").exists()


class Compiled(Films):
    def __init__(self):
        super().__init__()
        self.films = torch.compile(self.films, backend="eager")


class Noise(nn.Module):
    """Another table at each reading, in training."""

    def forward(self, weight):
        return weight + torch.randn_like(weight) if self.training else weight


class Computed(Films):
    """Its table is computed at each reading, and what it is computed from changes with that."""

    def __init__(self):
        super().__init__()
        self.films = nn.utils.parametrizations.spectral_norm(self.films)
        nn.utils.parametrize.register_parametrization(self.films, "weight", Noise())


def random_states():
    return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()


@pytest.mark.parametrize("model", [Films, Compiled, Computed])
def test_training_is_the_same_with_and_without_all_of_it(trainer, tmp_path, model):
    """Bit for bit, and the last frame is the trained table."""
    outcomes = []
    for callbacks in ([], [EmbeddingPCA(frames=2, every_n_steps=3, every_n_epochs=None, max_rows=9)]):
        pl.seed_everything(7, verbose=False)
        trained = model()
        trainer(*callbacks, max_steps=4).fit(trained)
        outcomes.append(([p.tolist() for p in trained.state_dict().values()], random_states()))
    assert outcomes[0] == outcomes[1]
    frames, table = frames_in(tmp_path), trained.eval().films.weight.detach()
    assert torch.equal(torch.from_numpy(frames["tables"][-1]), table[frames["rows"]])


class Changing(Films):
    """Something happens to its table in step 5."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def on_train_batch_end(self, outputs, batch, batch_idx):
        if self.trainer.global_step == 5:
            self.change(self)

    def training_step(self, batch, batch_idx):
        rows = self.films(batch[0]) if hasattr(self, "films") else torch.zeros(2, 5)
        return self.head(rows).square().mean()


@pytest.fixture
def warned(fitted):
    """What EmbeddingPCA warns of in 10 steps of a model, which go on to the end."""

    def warned(model, callback):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            fitted(model, callback, max_epochs=1)
        assert model.trainer.global_step == 10
        return [str(warning.message) for warning in said if "EmbeddingPCA" in str(warning.message)]

    return warned


def test_of_a_table_that_was_spoiled_the_frames_before_are_shown(warned, tmp_path):
    said = warned(Changing(lambda model: model.films.weight.data[3, 1].fill_(math.nan)), EmbeddingPCA())
    assert re.match(r"EmbeddingPCA of films, at step 10: drawing a picture .*NaN", said[0])
    assert frames_of(tmp_path / "run" / "embedding_pca.gif") == 6  # steps 0 to 5
    assert frames_in(tmp_path / "run")["steps"].tolist() == [*range(7), 8, 10]
    assert "projector_config.pbtxt" not in files(tmp_path)


@pytest.mark.parametrize("shape", [(1, 4), (12, 1), (4100, 3)])
def test_tables_of_any_shape_come_to_an_end(warned, tmp_path, shape):
    """Those that cannot be drawn with one warning."""
    model = Films(*shape)
    model.embedding_labels = model.embedding_kinds = ()
    model.training_step = lambda batch, batch_idx: model.films.weight.square().sum()
    said = warned(model, EmbeddingPCA(frames=2))
    assert [message.split(":")[0] for message in said] == ["EmbeddingPCA of films, at step 0"] * (min(shape) == 1)
    assert ("embedding_pca.gif" in files(tmp_path)) == (min(shape) > 1)
    assert ("projector_config.pbtxt" in files(tmp_path)) == (shape[0] > 1), "one row has no neighbours"
    assert frames_in(tmp_path / "run")["tables"].shape == (9, min(shape[0], 2000), shape[1])


def test_what_fails_after_the_training_does_not_write_into_its_directory(trainer, tmp_path):
    callback, model = EmbeddingPCA(frames=2, every_n_epochs=None), Films()
    trainer(callback, max_steps=3).fit(model)
    (tmp_path / "embedding_pca.npz").unlink()
    model.validation_step = lambda batch, batch_idx: 1 / 0
    with pytest.raises(ZeroDivisionError):
        trainer(callback, limit_val_batches=1).validate(model, DataLoader(range(2)), verbose=False)
    assert list(tmp_path.rglob("*.npz")) == []
