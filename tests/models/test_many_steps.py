"""The models with many steps per execution: the same weights, the same curves, all steps in TensorBoard."""

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import GradientAccumulationScheduler, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from charlm.callbacks import EmbeddingPCA, ExactResume, RunCheckpoint, StepDecay, StepProgressBar, StepsPerExecution
from charlm.cli.main import main
from charlm.data.datamodule import NamesDataModule
from charlm.models.windows import LitBigram, LitMLP

pytestmark = pytest.mark.filterwarnings("ignore")


def train(folder, steps, kind=LitMLP, callbacks=(), data=None, optimizer="SGD", ckpt_path=None, **options):
    """(model, trainer) after a training with so many steps an execution."""
    pl.seed_everything(3)
    model = kind(optimizer=optimizer, lr={"SGD": 0.1, "AdamW": 0.003}[optimizer])
    names = NamesDataModule(**{"batch_size": 32, "block_size": model.net.block_size, **(data or {})})
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    quiet |= {"enable_model_summary": False, "default_root_dir": folder, "max_epochs": -1, "max_steps": 130}
    quiet |= {"limit_val_batches": 1}
    model = kind(alphabet=names.alphabet, optimizer=optimizer, lr=model.hparams["lr"])
    trainer = pl.Trainer(callbacks=[*callbacks, StepsPerExecution(steps)], **(quiet | options))
    trainer.fit(model, names, ckpt_path=ckpt_path)
    return model, trainer


def assert_equal_weights(one, many):
    for name, weights in one.net.state_dict().items():
        assert torch.equal(weights, many.net.state_dict()[name]), name


@pytest.mark.parametrize("kind", [LitMLP, LitBigram])
@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
@pytest.mark.parametrize(
    "options",
    [{}, {"gradient_clip_val": 0.05}, {"accumulate_grad_batches": 2}, {"precision": "bf16-mixed"}],
    ids=["plain", "clipped", "accumulated", "bf16"],
)
def test_the_weights_are_bit_identical(options, optimizer, kind, tmp_path):
    """The gradients by hand are autograd's own operations, so nothing is rounded in another way."""
    decay = [StepDecay([50, 65], gamma=0.5)]
    one, many = (train(tmp_path, steps, kind, decay, optimizer=optimizer, **options)[0] for steps in (1, 64))
    assert_equal_weights(one, many)


def test_it_is_the_gradients_by_hand_that_are_used(tmp_path, monkeypatch):
    asked = []
    by_hand = LitMLP.gradient_function

    def gradient_function(self):
        asked.append(by_hand(self))
        return asked[-1]

    monkeypatch.setattr(LitMLP, "gradient_function", gradient_function)
    train(tmp_path, 50)
    assert len(asked) == 3
    assert all(asked)


@pytest.mark.parametrize("way", ["hook", "loss", "penalty", "training_step"])
def test_what_needs_training_step_gets_it(way, tmp_path):
    class Own(LitMLP):
        pass

    if way == "hook":
        seen = []

        def setup(self, stage):
            self.net.hidden.register_forward_hook(lambda *_: seen.append(1))

        Own.setup = setup
    elif way == "loss":
        Own.loss = lambda self, context, target: 0.5 * LitMLP.loss(self, context, target)
    elif way == "penalty":
        Own.penalty = lambda self: 0.1 * self.net.embedding.weight.square().mean()
    else:
        Own.training_step = lambda self, batch, batch_idx: 0.5 * LitMLP.training_step(self, batch, batch_idx)
    one, many = (train(tmp_path, steps, Own, max_steps=30, limit_val_batches=0)[0] for steps in (1, 30))
    assert_equal_weights(one, many)
    if way == "hook":
        assert len(seen) == 60


def test_a_run_taken_up_in_mid_execution_ends_with_the_same_weights(tmp_path):
    whole, _ = train(tmp_path, 1)
    saver = RunCheckpoint(tmp_path, every_n_train_steps=70)
    train(tmp_path, 100, callbacks=[saver], max_steps=70, enable_checkpointing=True)
    again, trainer = train(tmp_path, 100, ckpt_path=tmp_path / "last.ckpt")
    assert trainer.global_step == 130
    assert_equal_weights(whole, again)


def test_everything_at_once_is_at_its_own_step(tmp_path):
    callbacks = [
        StepProgressBar(),
        StepDecay([70], gamma=0.1),
        EmbeddingPCA(every_n_steps=60, every_n_epochs=None),
        ModelCheckpoint(tmp_path / "kept", "{step}", monitor=None, every_n_train_steps=90, save_top_k=-1),
    ]
    options = {"enable_checkpointing": True, "enable_progress_bar": True, "logger": TensorBoardLogger(tmp_path)}
    _, trainer = train(
        tmp_path, 100, callbacks=callbacks, val_check_interval=110, check_val_every_n_epoch=None, max_steps=230,
        log_every_n_steps=35, **options,
    )  # fmt: skip
    assert trainer.global_step == 230
    (file,) = tmp_path.rglob("events*")
    events = EventAccumulator(str(file), size_guidance={"scalars": 0, "images": 0}).Reload()
    steps = {tag: [event.step for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert steps["loss/train"] == [34, 69, 104, 139, 174, 209]
    assert steps["loss/val"] == [109, 219]
    assert steps["perplexity/train"] == [34, 69, 104, 139, 174, 209]
    assert steps["lr"] == [0, 34, 69, 70, 104, 139, 174, 209]
    assert [event.value for event in events.Scalars("lr")] == pytest.approx([0.1] * 3 + [0.01] * 5)
    assert [event.step for event in events.Images("embedding_pca")] == [0, 59, 119, 179, 229]
    assert {file.name for file in (tmp_path / "kept").iterdir()} == {"step=90.ckpt", "step=180.ckpt"}


def test_accumulation_that_changes_by_epoch(tmp_path):
    data = {"batch_size": 1000}
    scheduler = {1: 3, 2: 2}
    models = [
        train(tmp_path, steps, data=data, callbacks=[GradientAccumulationScheduler(scheduler)], max_steps=60)[0]
        for steps in (1, 7)
    ]
    assert_equal_weights(*models)


def test_one_step_an_execution_from_the_command_line(alone, tmp_path, monkeypatch):
    """Given again, it takes the place of the shipped config's."""
    alone(monkeypatch, tmp_path)
    common = ["fit", "--trainer.max_steps", "40", "--trainer.val_check_interval", "20"]
    weights = []
    for more in ([], ["--trainer.callbacks+=StepsPerExecution", "--trainer.callbacks.steps", "1"]):
        main([*common, *more])
    for run in ("version_0", "version_1"):
        (best,) = (tmp_path / "lightning_logs" / run / "checkpoints").glob("best*")
        weights.append(torch.load(best, weights_only=True)["state_dict"])
        config = (tmp_path / "lightning_logs" / run / "config.yaml").read_text()
        assert config.count("StepsPerExecution") == 1 + run.endswith("1")
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())


DDP = """
import sys

import lightning.pytorch as pl
import torch

from charlm.callbacks import StepsPerExecution
from charlm.data.datamodule import NamesDataModule
from charlm.models.windows import LitMLP

class End(pl.Callback):
    def on_train_end(self, trainer, module):
        torch.save(module.net.state_dict(), f"{trainer.logger.save_dir}/rank{trainer.global_rank}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for steps in sys.argv[1:]:
        pl.seed_everything(3)
        data = NamesDataModule(batch_size=16)
        trainer = pl.Trainer(
            accelerator="cpu", devices=2, strategy="ddp_fork", max_steps=45, max_epochs=-1, limit_val_batches=0,
            callbacks=[StepsPerExecution(int(steps)), End()], logger=pl.loggers.TensorBoardLogger(steps),
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        )
        trainer.fit(LitMLP(alphabet=data.alphabet), data)
"""


@pytest.mark.slow
def test_two_processes_have_the_same_weights_as_with_one_step_an_execution(tmp_path, python):
    (tmp_path / "ddp.py").write_text(DDP)
    for steps in ("1", "20"):
        (tmp_path / steps).mkdir()
    ran = python("ddp.py", "1", "20")
    assert ran.returncode == 0, ran.stderr
    files = [tmp_path / steps / f"rank{rank}.pt" for steps in ("1", "20") for rank in (0, 1)]
    weights = [torch.load(file, weights_only=True) for file in files]
    for other in weights[1:]:
        assert all(torch.equal(tensor, other[name]) for name, tensor in weights[0].items())
    (file,) = (tmp_path / "20").rglob("events*")
    events = EventAccumulator(str(file), size_guidance={"scalars": 0}).Reload()
    assert [event.step for event in events.Scalars("loss/train")] == [49]


@pytest.mark.parametrize("way", ["moved", "frozen", "masked"])
def test_weights_that_are_moved_frozen_or_masked_get_what_training_step_gives(way, tmp_path):
    class Meddler(pl.Callback):
        def on_train_start(self, trainer, module):
            if way == "masked":
                module.net.embedding.weight.register_hook(lambda gradient: gradient * 0)

        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            if trainer.global_step == 5 and way == "moved":
                module.net.hidden.weight.data = module.net.hidden.weight.data * 0.5
            if trainer.global_step == 5 and way == "frozen":
                module.net.embedding.weight.requires_grad_(False)

    one, many = (train(tmp_path, steps, callbacks=[Meddler()], max_steps=30)[0] for steps in (1, 30))
    assert_equal_weights(one, many)


def points(folder):
    (file,) = folder.rglob("events*")
    events = EventAccumulator(str(file), size_guidance={"scalars": 0}).Reload()
    return [(event.step, event.value) for event in events.Scalars("loss/train")]


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("steps", [1, 20])
def test_the_train_loss_is_the_mean_since_the_last_point_also_in_a_resumed_run(steps, accumulate, tmp_path):
    """Stopped at step 17 of 40, between two points, with the points at 9, 19, 29 and 39."""
    given = {"accumulate_grad_batches": accumulate, "limit_val_batches": 0}
    runs = {
        "each": {"max_steps": 40, "log_every_n_steps": 1},
        "whole": {"max_steps": 40, "log_every_n_steps": 10},
        "cut": {"max_steps": 17, "log_every_n_steps": 10},
        "rest": {"max_steps": 40, "log_every_n_steps": 10, "ckpt_path": tmp_path / "cut.ckpt"},
    }
    found = {}
    for name, options in runs.items():
        logger = TensorBoardLogger(tmp_path / name)
        _, trainer = train(tmp_path, steps, callbacks=[ExactResume()], logger=logger, **given, **options)
        trainer.save_checkpoint(tmp_path / f"{name}.ckpt")
        found[name] = points(tmp_path / name)
    assert [step for step, _ in found["whole"]] == [9, 19, 29, 39]
    losses = [value for _, value in found["each"]]
    means = [sum(losses[first : first + 10]) / 10 for first in range(0, 40, 10)]
    assert [value for _, value in found["whole"]] == pytest.approx(means, rel=1e-5)
    assert found["cut"] + found["rest"] == found["whole"]
