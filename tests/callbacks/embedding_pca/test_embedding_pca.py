import math
from functools import partial
from types import SimpleNamespace

import lightning.pytorch as pl
import pytest
import torch
from lightning.fabric.utilities.cloud_io import get_filesystem
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers import CSVLogger, Logger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from charlm.callbacks import EmbeddingPCA

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


class Labelled(Letters):
    embedding_labels = (".", *"abcdefghijklmnopqrst")  # 21 labels, 27 rows


class Spoiled(Letters):
    """Its table turns to NaN in the second step."""

    def on_train_batch_end(self, outputs, batch, batch_idx):
        if self.trainer.global_step == 2:
            self.net[0].weight.data[3, 1] = math.nan


class Recorder(Callback):
    """The axes that each epoch's picture used; listed after EmbeddingPCA."""

    def __init__(self):
        self.axes = []

    def on_train_epoch_end(self, trainer, pl_module):
        self.axes.append(next(c for c in trainer.callbacks if isinstance(c, EmbeddingPCA)).state_dict()["axes"])


class PlainLogger(Logger):
    """A logger as users write them, without pictures."""

    name, version, save_dir = "plain", 0, None

    def log_metrics(self, metrics, step=None):
        pass

    log_hyperparams = log_metrics


class ImageLogger(PlainLogger):
    """One with the method that WandbLogger has."""

    def __init__(self, problem=None):
        self.images, self.problem = [], problem

    def log_image(self, key, images, step=None):
        if self.problem:
            raise self.problem
        self.images += [(key, image.shape[-1], step) for image in images]


class FigureLogger(PlainLogger):
    """One whose experiment takes figures."""

    def __init__(self):
        self.figures, self.experiment = [], self

    def add_figure(self, tag, figure, global_step):
        self.figures.append((tag, global_step, figure))


class ServiceLogger(PlainLogger):
    """One whose experiment takes pictures and texts by the methods of MLflow's client and Comet's experiment."""

    def __init__(self, **attributes):
        self.taken, self.texts = [], []
        self.experiment = SimpleNamespace(
            log_image=lambda *args, **options: self.taken.append((args, options)),
            log_text=lambda *args, **options: self.texts.append((args, options)),
        )
        vars(self).update(attributes)


def files(tmp_path):
    return sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png"))


def figures(trainer, callback, model=None, **options):
    """(tag, step on the x-axis, figure) of each picture of a run."""
    logger = FigureLogger()
    trainer(callback, logger=logger, **options).fit(model or Letters())
    return logger.figures


def shown_at(*args, **options):
    """The steps in the titles of the pictures."""
    return [int(figure.get_suptitle().rpartition(" ")[2]) for _, _, figure in figures(*args, **options)]


@pytest.mark.parametrize(
    ("arguments", "options", "steps"),
    [
        ({"every_n_epochs": 2}, {"max_epochs": 3}, [0, 10, 15]),
        ({"every_n_epochs": None, "every_n_steps": 4}, {"max_epochs": 2}, [0, 4, 8, 10]),
        ({"every_n_steps": 2}, {"max_epochs": 2, "accumulate_grad_batches": 2}, [0, 2, 3, 4, 6]),
        ({"every_n_steps": 1}, {"max_steps": 2}, [0, 1, 2]),
    ],
)
def test_pictures_are_drawn_first_last_and_between_never_twice(trainer, arguments, options, steps):
    assert shown_at(trainer, quick(**arguments), **options) == steps


class TwoOptimizers(Letters):
    automatic_optimization = False

    def training_step(self, batch, batch_idx):
        self.manual_backward(super().training_step(batch, batch_idx))
        for optimizer in self.optimizers():
            optimizer.step()
            optimizer.zero_grad()

    def configure_optimizers(self):
        return [torch.optim.SGD(part.parameters(), lr=0.5) for part in (self.net[0], self.net[2])]


def test_steps_of_two_optimizers_pass_every_multiple(trainer):
    """Lightning's step goes 2, 4, ... 10, and the loggers' x-axis, as that of the scalars, 0 to 4."""
    found = figures(trainer, quick(every_n_steps=3), TwoOptimizers(), max_epochs=1)
    assert [figure.get_suptitle() for _, _, figure in found] == [f"net.0, step {step}" for step in (0, 4, 6, 10)]
    assert [step for _, step, _ in found] == [0, 1, 2, 4]


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks used to create the checkpoint")
def test_the_axes_of_a_resumed_run_point_as_they_did_before(trainer, tmp_path):
    save = ModelCheckpoint(tmp_path, "saved")
    trainer(quick(), save, enable_checkpointing=True, max_epochs=1).fit(Letters())
    checkpoint = torch.load(tmp_path / "saved.ckpt", weights_only=True)
    state = checkpoint["callbacks"]["EmbeddingPCA{'module': None}"]
    assert {name: value.shape for name, value in state.items()} == {"axes": (4, 2)}
    before = state["axes"].neg_()  # as if all pictures so far had been the other way round
    torch.save(checkpoint, tmp_path / "turned.ckpt")
    recorder = Recorder()
    trainer(quick(), recorder, max_epochs=3).fit(Letters(), ckpt_path=tmp_path / "turned.ckpt")
    for axes in recorder.axes:
        assert ((before * axes).sum(0) > 0).all()
        before = axes


def test_a_second_fit_starts_afresh(trainer):
    used, new = quick(every_n_epochs=None), quick(every_n_epochs=None)
    used.load_state_dict({"axes": -torch.eye(4, 2)})  # nothing of this may reach the next run
    for callback in (used, new):
        pl.seed_everything(1, verbose=False)
        assert shown_at(trainer, callback, max_steps=2) == [0, 2]
    assert torch.equal(used.state_dict()["axes"], new.state_dict()["axes"])


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks used to create the checkpoint")
def test_a_resumed_run_goes_on_with_its_multiples_of_steps(trainer, tmp_path):
    """From step 5, which is drawn at the end of the first run and at the beginning of the second."""
    callback = quick(every_n_steps=4, every_n_epochs=None)
    first = trainer(callback, max_epochs=1)
    first.fit(Letters())
    first.save_checkpoint(tmp_path / "saved.ckpt")
    logger = FigureLogger()
    trainer(callback, logger=logger, max_epochs=2).fit(Letters(), ckpt_path=tmp_path / "saved.ckpt")
    assert [step for _, step, _ in logger.figures] == [4, 7, 9]  # on the x-axis, where the eighth step is 7


class LateLayers(Letters):
    """Makes its layers where Lightning wants large models to make them."""

    def __init__(self):
        super().__init__()
        del self.net

    def configure_model(self):
        self.net = Letters().net


def test_layers_made_in_configure_model_are_drawn_in_bfloat16_to_a_cloud(trainer):
    options = {"precision": "bf16-true", "default_root_dir": "memory://runs"}
    trainer(quick("net.0", dims=3, every_n_epochs=None), max_steps=1, **options).fit(LateLayers())
    assert get_filesystem("memory://runs").exists("memory://runs/embedding_pca.png")


NUMBERS = [str(row) for row in range(27)]


@pytest.mark.parametrize(
    ("model", "arguments", "labels"),
    [
        (Letters, {}, NUMBERS),
        (Letters, {"labels": ".abcdefghijklmnopqrstuvwxyz"}, list(".abcdefghijklmnopqrstuvwxyz")),
        (Labelled, {}, list(".abcdefghijklmnopqrst")),  # the six rows beyond are left out
        (Labelled, {"labels": []}, NUMBERS),
        (Labelled, {"labels": "ABCDEFGHIJKLMNOPQRSTUVWXYZ."}, list("ABCDEFGHIJKLMNOPQRSTUVWXYZ.")),
    ],
)
def test_labels_come_from_the_argument_the_model_or_the_row_numbers(trainer, model, arguments, labels):
    figure = figures(trainer, quick(every_n_epochs=None, **arguments), model(), max_steps=1)[0][2]
    for axes in figure.axes:
        assert sorted(note.get_text() for note in axes.texts) == sorted(labels)
        assert sum(len(group.get_offsets()) for group in axes.collections) == len(labels)


@pytest.mark.parametrize(
    ("arguments", "model", "message"),
    [
        ({"module": "net.embedding"}, Letters(), r"Letters has no table 'net.embedding'; candidates: net.0 \(27, 4\)"),
        ({"labels": "abc"}, Letters(), "EmbeddingPCA has 3 labels for the 27 rows of net.0"),
        ({"kinds": ["a"]}, Labelled(), "EmbeddingPCA has 1 kinds for the 21 labelled rows of net.0"),
        ({}, Labelled(rows=20), r"Labelled.embedding_labels has 21 labels for the 20 rows of net.0; pass labels"),
    ],
)
def test_a_table_or_labels_that_do_not_fit_stop_before_training(trainer, arguments, model, message):
    with pytest.raises(ValueError, match=message):
        trainer(quick(**arguments), max_epochs=1).fit(model)
    assert model.trainer.global_step == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every_n_steps": 0}, "every_n_steps must be at least 1, or None for never, not 0"),
        ({"every_n_epochs": -1}, "every_n_epochs must be at least 1, or None for never, not -1"),
        ({"dims": 4}, "dims must be 2 or 3, not 4"),
        ({"max_rows": 1}, "max_rows must be at least 2, not 1"),
        ({"frames": 1}, "frames must be at least 2, or 0 for no film, not 1"),
        ({"frames": -1}, "frames must be at least 2, or 0 for no film, not -1"),
        ({"projector_rows": -1}, "projector_rows must be at least 0, not -1"),
    ],
)
def test_a_bad_argument_is_refused_with_what_is_allowed(arguments, message):
    with pytest.raises(ValueError, match=message):
        EmbeddingPCA(**arguments)


@pytest.mark.parametrize(
    ("model", "arguments", "reason"),
    [
        (Spoiled(), {}, "the table has NaN or infinite values"),
        (Letters(rows=1), {}, "2 principal components need at least 2 rows and 2 columns, not 1 and 4"),
        (Letters(columns=1), {}, "need at least 2 rows and 2 columns, not 27 and 1"),
        (Letters(columns=2), {"dims": 3}, "need at least 2 rows and 3 columns, not 27 and 2"),
    ],
)
def test_a_table_that_cannot_be_drawn_is_warned_of_once_and_training_goes_on(trainer, model, arguments, reason):
    with pytest.warns(UserWarning, match=f"^EmbeddingPCA of net.0, at step .: drawing a .*{reason}") as caught:
        trainer(quick(**arguments), max_epochs=2).fit(model)
    assert model.trainer.global_step == 10
    assert sum("drawing" in str(warning.message) for warning in caught) == 1


def test_every_logger_gets_it_by_the_method_it_has(trainer, tmp_path):
    """TensorBoard is tested above."""
    images, drawn, mlflow, comet = ImageLogger(), FigureLogger(), ServiceLogger(run_id="run 1"), ServiceLogger()
    loggers = [CSVLogger(tmp_path, name="", version="run"), PlainLogger(), images, drawn, mlflow, comet]
    trainer(EmbeddingPCA(frames=0), logger=loggers, max_epochs=1).fit(Letters())
    assert images.images == [("embedding_pca", 3, 0), ("embedding_pca", 3, 4)]
    assert [(tag, step) for tag, step, _ in drawn.figures] == [("embedding_pca", 0), ("embedding_pca", 4)]
    assert files(tmp_path) == ["run/embedding_pca.png"]
    for logger, args, name in ((mlflow, ("run 1",), "key"), (comet, (), "name")):
        for (*before, pixels), options in logger.taken:
            assert (tuple(before), pixels.shape[-1], options[name]) == (args, 3, "embedding_pca")
        assert [options["step"] for _, options in logger.taken] == [0, 4]
    (((run, text, file), _),) = mlflow.texts
    assert (run, file) == ("run 1", "embedding_neighbours/step000004.md")
    assert text.startswith("The rows of `net.0` with the largest cosine similarity")
    assert comet.texts == [((text,), {"step": 4, "metadata": {"tag": "embedding_neighbours"}})]


def test_a_logger_that_fails_is_warned_of_once_and_the_others_get_theirs(trainer, tmp_path):
    run = trainer(quick(), logger=[ImageLogger(ConnectionError("no network")), logger := FigureLogger()], max_epochs=1)
    with pytest.warns(UserWarning, match="ImageLogger failed with ConnectionError: no network") as caught:
        run.fit(Letters())
    assert sum("ImageLogger" in str(warning.message) for warning in caught) == 1
    assert [step for _, step, _ in logger.figures] == [0, 4]


def test_a_file_that_cannot_be_written_is_warned_of_once(trainer, tmp_path):
    (tmp_path / "taken").write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="net.0, at step 0: writing to .*taken failed with FileExistsError") as caught:
        trainer(quick(), max_epochs=1, default_root_dir=tmp_path / "taken").fit(Letters())
    assert sum("writing to" in str(warning.message) for warning in caught) == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Lightning's own use of jsonargparse
def test_the_command_line_takes_it(tmp_path, monkeypatch):
    arguments = [
        "fit",
        "--seed_everything=false",
        "--trainer.callbacks+=EmbeddingPCA",
        "--trainer.callbacks.labels=.ab",
    ]
    arguments += ["--trainer.callbacks.every_n_epochs=null", "--trainer.accelerator=cpu", "--trainer.logger=false"]
    monkeypatch.setattr("sys.argv", [*arguments, f"--trainer.default_root_dir={tmp_path}"])
    cli = LightningCLI(Letters, run=False)
    callback = next(callback for callback in cli.trainer.callbacks if isinstance(callback, EmbeddingPCA))
    assert (callback.labels, callback.every_n_epochs, callback.module) == ([".", "a", "b"], None, None)
