"""The models with many steps per execution: the same weights and the same curves as with one."""

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from charlm.callbacks import ExactResume, StepDecay, StepsPerExecution
from charlm.data.datamodule import NamesDataModule
from charlm.models.windows import LitBigram, LitMLP

pytestmark = pytest.mark.filterwarnings("ignore")
RATES = {"SGD": 0.1, "AdamW": 0.003}


def train(folder, steps, kind=LitMLP, callbacks=(), optimizer="SGD", ckpt_path=None, batch_size=32, **options):
    """(net, trainer) after a training with `steps` steps per execution."""
    pl.seed_everything(3)
    names = NamesDataModule(batch_size=batch_size, block_size=1 if kind is LitBigram else 3)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    quiet |= {"enable_model_summary": False, "default_root_dir": folder, "max_epochs": -1, "max_steps": 130}
    quiet |= {"limit_val_batches": 1}
    model = kind(alphabet=names.alphabet, optimizer=optimizer, lr=RATES[optimizer])
    trainer = pl.Trainer(callbacks=[*callbacks, StepsPerExecution(steps)], **(quiet | options))
    trainer.fit(model, names, ckpt_path=ckpt_path)
    return model.net, trainer


def assert_equal_weights(one, many):
    for name, weights in one.state_dict().items():
        assert torch.equal(weights, many.state_dict()[name]), name


def curve(folder, tag="loss/train"):
    """The steps and the values of a scalar in the one event file below `folder`."""
    (file,) = folder.rglob("events*")
    events = EventAccumulator(str(file), size_guidance={"scalars": 0}).Reload()
    return [event.step for event in events.Scalars(tag)], [event.value for event in events.Scalars(tag)]


@pytest.mark.parametrize("kind", [LitMLP, LitBigram])
@pytest.mark.parametrize("optimizer", RATES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"gradient_clip_val": 0.05},
        {"accumulate_grad_batches": 2},
        {"precision": "bf16-mixed", "gradient_clip_val": 0.05},
        {"batch_size": 1000, "max_steps": 20},  # products that torch does, not numpy
    ],
    ids=["plain", "clipped", "accumulated", "bf16, clipped", "large"],
)
def test_the_weights_are_bit_identical(options, optimizer, kind, tmp_path):
    decay = [StepDecay([50, 65], gamma=0.5)]
    assert_equal_weights(*(train(tmp_path, steps, kind, decay, optimizer, **options)[0] for steps in (1, 64)))


@pytest.mark.parametrize("change", ["loss", "penalty", "training_step", "moved", "frozen", "masked"])
def test_a_changed_model_gets_the_gradients_of_training_step(change, tmp_path):
    class Own(LitMLP):
        def on_train_start(self):
            super().on_train_start()
            if change == "masked":
                self.net.embedding.weight.register_hook(lambda gradient: gradient * 0)

        def on_train_batch_start(self, batch, batch_idx):
            if self.trainer.global_step == 5 and change == "moved":
                self.net.hidden.weight.data = self.net.hidden.weight.data * 0.5
            if self.trainer.global_step == 5 and change == "frozen":
                self.net.embedding.weight.requires_grad_(False)

    if change == "loss":
        Own.loss = lambda self, context, target: 0.5 * LitMLP.loss(self, context, target)
    elif change == "penalty":
        Own.penalty = lambda self: 0.1 * self.net.embedding.weight.square().mean()
    elif change == "training_step":
        Own.training_step = lambda self, batch, batch_idx: 0.5 * LitMLP.training_step(self, batch, batch_idx)
    options = {"max_steps": 30, "limit_val_batches": 0}
    assert_equal_weights(*(train(tmp_path, steps, Own, **options)[0] for steps in (1, 30)))


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("steps", [1, 20])
def test_the_train_loss_is_the_mean_since_the_last_point_also_in_a_resumed_run(steps, accumulate, tmp_path):
    """Stopped at step 17 of 40, within an execution and between the points at 9, 19, 29 and 39."""
    given = {"callbacks": [ExactResume()], "accumulate_grad_batches": accumulate, "limit_val_batches": 0}
    runs = {
        "each": {"max_steps": 40, "log_every_n_steps": 1},
        "whole": {"max_steps": 40, "log_every_n_steps": 10},
        "cut": {"max_steps": 17, "log_every_n_steps": 10},
        "rest": {"max_steps": 40, "log_every_n_steps": 10, "ckpt_path": tmp_path / "cut.ckpt"},
    }
    nets = {}
    for name, options in runs.items():
        nets[name], trainer = train(tmp_path, steps, logger=TensorBoardLogger(tmp_path / name), **given, **options)
        trainer.save_checkpoint(tmp_path / f"{name}.ckpt")
    losses = {name: curve(tmp_path / name)[1] for name in runs}
    assert curve(tmp_path / "whole")[0] == [9, 19, 29, 39]
    means = [sum(losses["each"][first : first + 10]) / 10 for first in range(0, 40, 10)]
    assert losses["whole"] == pytest.approx(means, rel=1e-5)
    assert losses["cut"] + losses["rest"] == losses["whole"]
    assert_equal_weights(nets["whole"], nets["rest"])
