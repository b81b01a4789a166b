from functools import partial
from types import SimpleNamespace

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.fabric.utilities.cloud_io import get_filesystem
from lightning.pytorch.callbacks import LambdaCallback
from lightning.pytorch.loggers import CSVLogger, Logger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from charlm.callbacks import EmbeddingPCA, StepsPerExecution

quick = partial(EmbeddingPCA, frames=0, projector_rows=0)  # most tests do not ask about the end


class Letters(pl.LightningModule):
    """Learns the next of 27 letters, with an embedding of 4 columns; 5 batches an epoch."""

    def __init__(self, rows=27, columns=4):
        super().__init__()
        self.net = nn.Sequential(nn.Embedding(rows, columns), nn.Dropout(0.2), nn.Linear(columns, 27))

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self.net(batch[0]), (batch[0] + 1) % 27)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.5)

    def train_dataloader(self):
        letters = torch.arange(20) % self.net[0].num_embeddings
        return DataLoader(TensorDataset(letters), batch_size=4, shuffle=True)


class PlainLogger(Logger):
    """A logger as users write them, without pictures."""

    name, version, save_dir = "plain", 0, None

    def log_metrics(self, metrics, step=None):
        pass

    log_hyperparams = log_metrics


class ImageLogger(PlainLogger):
    """One with the method that WandbLogger has."""

    def __init__(self):
        self.images = []

    def log_image(self, key, images, step=None):
        self.images += [(key, image.shape[-1], step) for image in images]


class FigureLogger(PlainLogger):
    """One whose experiment takes figures."""

    def __init__(self):
        self.figures, self.experiment = [], self

    def add_figure(self, tag, figure, global_step):
        self.figures.append((tag, global_step, figure))


def figures(trainer, callback, *others, model=None, **options):
    """(step in the title, step on the x-axis) of each picture of a run."""
    logger = FigureLogger()
    trainer(callback, *others, logger=logger, **options).fit(model or Letters())
    return [
        (int(figure.get_suptitle().rpartition(" ")[2].replace(",", "")), step) for _, step, figure in logger.figures
    ]


@pytest.mark.parametrize("many", [[], [StepsPerExecution(3)]])
@pytest.mark.parametrize(
    ("arguments", "options", "steps"),
    [
        ({"every_n_epochs": 2}, {"max_epochs": 3}, [0, 10, 15]),
        ({"every_n_epochs": None, "every_n_steps": 4}, {"max_epochs": 2}, [0, 4, 8, 10]),
        ({"every_n_steps": 2}, {"max_epochs": 2, "accumulate_grad_batches": 2}, [0, 2, 3, 4, 6]),
        ({"every_n_steps": 1}, {"max_steps": 2}, [0, 1, 2]),
    ],
)
def test_pictures_are_drawn_first_last_and_between_never_twice(trainer, arguments, options, steps, many):
    assert [step for step, _ in figures(trainer, quick(**arguments), *many, **options)] == steps


def test_a_resumed_run_goes_on_with_its_axes_its_frames_and_its_multiples_of_steps(trainer, tmp_path):
    callback = EmbeddingPCA(every_n_steps=4)
    first = trainer(callback, max_epochs=1)
    first.fit(Letters())
    first.save_checkpoint(tmp_path / "saved.ckpt")
    checkpoint = torch.load(tmp_path / "saved.ckpt", weights_only=True)
    before = checkpoint["callbacks"]["EmbeddingPCA{'module': None}"]["axes"].neg_()  # as if drawn the other way round
    torch.save(checkpoint, tmp_path / "turned.ckpt")
    axes, logger = [], FigureLogger()
    record = LambdaCallback(on_train_epoch_end=lambda *_: axes.append(callback.state_dict()["axes"]))
    trainer(callback, record, logger=logger, max_epochs=3).fit(Letters(), ckpt_path=tmp_path / "turned.ckpt")
    pictures = [step for tag, step, _ in logger.figures if tag == "embedding_pca"]
    assert pictures == [7, 9, 11, 14]  # on the x-axis the eighth step is 7
    assert len(axes) == 2
    for after in axes:
        assert ((before * after).sum(0) > 0).all()
        before = after
    with np.load(tmp_path / "plain" / "version_0" / "embedding_pca.npz") as frames:
        assert frames["steps"].tolist() == [*range(7), 8, 10, 13, 15]
        assert np.array_equal(frames["tables"][:6], checkpoint["callbacks"][callback.state_key]["frames"]["tables"])


def test_a_second_fit_starts_afresh(trainer):
    used, new = quick(every_n_epochs=None), quick(every_n_epochs=None)
    used.load_state_dict({"axes": -torch.eye(4, 2)})  # nothing of this may reach the next run
    for callback in (used, new):
        pl.seed_everything(1, verbose=False)
        assert figures(trainer, callback, max_steps=2) == [(0, 0), (2, 1)]
    assert torch.equal(used.state_dict()["axes"], new.state_dict()["axes"])


class LateLayers(Letters):
    """Makes its layers where Lightning wants large models to make them."""

    def __init__(self):
        super().__init__()
        del self.net

    def configure_model(self):
        self.net = Letters().net


def test_layers_made_in_configure_model_are_drawn_in_bfloat16_to_a_cloud(trainer):
    options = {"precision": "bf16-true", "default_root_dir": "memory://runs"}
    callback = quick("net.0", first_columns=True, every_n_epochs=None)
    trainer(callback, max_steps=1, **options).fit(LateLayers())
    assert torch.equal(callback.state_dict()["axes"], torch.eye(4, 2))
    assert get_filesystem("memory://runs").exists("memory://runs/embedding_pca.png")


class ServiceLogger(PlainLogger):
    """One whose experiment takes pictures and texts by the methods of MLflow's client and Comet's experiment."""

    def __init__(self, **attributes):
        self.images, self.texts = [], []
        self.experiment = SimpleNamespace(
            log_image=lambda *args, **options: self.images.append((args, options)),
            log_text=lambda *args, **options: self.texts.append((args, options)),
        )
        vars(self).update(attributes)


def test_every_logger_gets_it_by_the_method_it_has(trainer, tmp_path):
    images, drawn, mlflow, comet = ImageLogger(), FigureLogger(), ServiceLogger(run_id="run 1"), ServiceLogger()
    loggers = [CSVLogger(tmp_path, name="", version="run"), PlainLogger(), images, drawn, mlflow, comet]
    trainer(EmbeddingPCA(frames=0), logger=loggers, max_epochs=1).fit(Letters())
    assert images.images == [("embedding_pca", 3, 0), ("embedding_pca", 3, 4)]
    assert [(tag, step) for tag, step, _ in drawn.figures] == [("embedding_pca", 0), ("embedding_pca", 4)]
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png")] == ["run/embedding_pca.png"]
    sent = [(args[0], options["key"], options["step"]) for args, options in mlflow.images]
    assert sent == [("run 1", "embedding_pca", 0), ("run 1", "embedding_pca", 4)]
    assert [(options["name"], options["step"]) for _, options in comet.images] == [sent[0][1:], sent[1][1:]]
    (((run, text, file), _),) = mlflow.texts
    assert (run, file) == ("run 1", "embedding_neighbours/step000004.md")
    assert text.startswith("The rows of `net.0` with the largest cosine similarity")
    assert comet.texts == [((text,), {"step": 4, "metadata": {"tag": "embedding_neighbours"}})]
