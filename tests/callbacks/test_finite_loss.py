"""A NaN or infinite loss ends the training at its step, and no checkpoint has such weights."""

import math

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.demos.boring_classes import BoringModel, ManualOptimBoringModel, RandomDataset
from torch.utils.data import DataLoader

from charlm.callbacks.finite_loss import FiniteLoss, NonFiniteLoss
from charlm.callbacks.run_checkpoint import RunCheckpoint
from charlm.callbacks.steps_per_execution.callback import StepsPerExecution


class Model(BoringModel):
    """The loss of the `bad` step is `value`; what it does to the weights is what such a loss does."""

    def __init__(self, bad, value=math.nan):
        super().__init__()
        self.bad, self.value = bad, value

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)["loss"]
        return loss * self.value if self.trainer.global_step == self.bad else loss

    def train_dataloader(self):
        return DataLoader(RandomDataset(32, 10))


@pytest.mark.parametrize(("value", "steps"), [(math.nan, 1), (math.inf, 1), (-math.inf, 4)])
def test_training_stops_at_that_step_and_says_where(trainer, tmp_path, value, steps):
    keep = RunCheckpoint(tmp_path, every_n_train_steps=1)
    training = trainer(
        FiniteLoss(), StepsPerExecution(steps), keep, max_steps=20, max_epochs=-1, enable_checkpointing=True
    )
    said = r"^the loss is \S+ at step 14 \(batch 3 of epoch 1\), at a learning rate of 0.01; lower it, or clip"
    with pytest.raises(NonFiniteLoss, match=said):
        training.fit(Model(13, value))
    kept = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert kept["global_step"] == 13
    for file in tmp_path.glob("*.ckpt"):
        assert all(w.isfinite().all() for w in torch.load(file, weights_only=True)["state_dict"].values())


def test_the_message_names_the_last_good_checkpoint(trainer, tmp_path):
    keep = RunCheckpoint(tmp_path, every_n_train_steps=2)
    with pytest.raises(NonFiniteLoss, match=r"clip_val\)\. The last good checkpoint is .*last\.ckpt\.$"):
        trainer(FiniteLoss(), keep, max_steps=9, enable_checkpointing=True).fit(Model(5))
    others = [ModelCheckpoint(tmp_path / "never", monitor="x"), ModelCheckpoint(tmp_path / "at", every_n_train_steps=2)]
    with pytest.raises(NonFiniteLoss, match=r"The last good checkpoint is .*at.epoch=0-step=4\.ckpt\.$"):
        trainer(FiniteLoss(), *others, max_steps=9, enable_checkpointing=True).fit(Model(5))
    with pytest.raises(NonFiniteLoss, match=r"clip_val\)\. No checkpoint was written before it\.$"):
        trainer(FiniteLoss(), max_steps=9).fit(Model(0))
    with pytest.raises(NonFiniteLoss, match=r"at step 2 \(batch 4 of epoch 0\)"):
        trainer(FiniteLoss(), max_steps=9, accumulate_grad_batches=4).fit(Model(1))


def test_weights_that_are_no_numbers_are_not_saved_though_the_loss_is_one(trainer, tmp_path):
    class Spoilt(Model):
        def __init__(self):
            super().__init__(-1)
            self.mask = torch.nn.Parameter(torch.tensor(-math.inf), requires_grad=False)  # which nothing has spoilt

        def on_before_zero_grad(self, optimizer):
            if self.trainer.global_step == 4:
                self.layer.bias.data[0] = math.inf

    keep = RunCheckpoint(tmp_path, every_n_train_steps=1)
    with pytest.raises(NonFiniteLoss, match=r"^(layer\.bias is NaN or infinite after step|the loss is)"):
        trainer(FiniteLoss(), keep, max_steps=9, enable_checkpointing=True).fit(Spoilt())
    weights = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    assert weights["layer.bias"].isfinite().all()


PROCESSES = """
import sys
from lightning.pytorch import Trainer
from lightning.pytorch.demos.boring_classes import BoringModel
from charlm.callbacks import FiniteLoss

class Model(BoringModel):
    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)["loss"]
        bad = self.trainer.global_step == 3 and self.global_rank == 1
        return loss * float("nan") if bad else loss

Trainer(
    accelerator="cpu", devices=2, strategy="ddp", max_steps=9, limit_val_batches=0, logger=False,
    enable_checkpointing=False, enable_progress_bar=False, callbacks=[FiniteLoss()],
).fit(Model())
"""


@pytest.mark.parametrize("returned", [None, torch.ones(2)])
def test_a_step_that_returns_no_loss_has_none_to_look_at(trainer, returned):
    class ByHand(ManualOptimBoringModel):
        def training_step(self, batch, batch_idx):
            super().training_step(batch, batch_idx)
            return returned

    training = trainer(FiniteLoss(), max_steps=3)
    training.fit(ByHand())
    assert training.global_step == 3


@pytest.mark.slow
def test_of_several_processes_all_stop_at_the_step_of_the_one(tmp_path, python):
    (tmp_path / "run.py").write_text(PROCESSES)
    done = python("-W", "ignore", "run.py")
    assert done.returncode != 0
    assert "the loss is nan at step 4 (batch 3 of epoch 0)" in done.stderr
    assert "the loss is NaN or infinite in another process at step 4 (batch 3 of epoch 0)" in done.stderr
