"""A training resumed from any of its checkpoints, by any kind of ModelCheckpoint, is the one that was never stopped."""

import copy
import itertools
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, seed_everything
from lightning.pytorch.callbacks import (
    BaseFinetuning,
    EarlyStopping,
    EMAWeightAveraging,
    GradientAccumulationScheduler,
    ModelCheckpoint,
    StochasticWeightAveraging,
)
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MeanMetric, SumMetric

from charlm.callbacks.exact_resume.callback import ExactResume
from charlm.callbacks.run_checkpoint import RunCheckpoint
from charlm.callbacks.steps_per_execution.callback import StepsPerExecution
from charlm.data.resumable_loader import ResumableLoader

BATCHES = 7


class Model(LightningModule):
    """All that a checkpoint may forget: batch norm, dropout, AdamW, a plateau, means of an epoch, a metric's state."""

    def __init__(self, plateau=False, manual=False):
        super().__init__()
        self.automatic_optimization = not manual
        self.net = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 1))
        self.mean, self.of_steps, self.val_mean, self.seen = MeanMetric(), MeanMetric(), MeanMetric(), SumMetric()
        self.plateau, self.validated = plateau, 0

    def training_step(self, batch, batch_idx):
        loss = self.net(batch[0]).square().mean() + random.random() + float(np.random.rand())
        self.log("loss", loss, on_step=True, on_epoch=True)
        self.log("largest", loss, on_step=False, on_epoch=True, reduce_fx="max")
        self.log("smallest", loss, on_step=False, on_epoch=True, reduce_fx=min)  # Python's own
        self.mean(loss.detach())
        self.log("metric", self.mean, on_step=False, on_epoch=True)
        self.of_steps(loss.detach())
        if batch_idx == 0:
            self.log("of_steps", self.of_steps)  # Lightning resets it at the epoch's end as well
        self.seen.update(len(batch[0]))  # of the whole training
        if not self.automatic_optimization:  # accumulates by hand, over the ends of epochs too
            self.manual_backward(loss)
            if self.trainer.fit_loop.total_batch_idx % 3 == 2:
                self.optimizers().step()
                self.optimizers().zero_grad()
                self.lr_schedulers().step()
        return loss

    def on_save_checkpoint(self, checkpoint):
        checkpoint["validated"] = self.validated

    def on_load_checkpoint(self, checkpoint):
        self.validated = checkpoint["validated"]

    def validation_step(self, batch, batch_idx):
        self.validated += 1  # in the sanity check, too
        self.log("val", self.net(batch[0]).square().mean())
        self.val_mean.update(self.net[0](batch[0]).square())
        self.log("val_metric", self.val_mean)
        self.log("seen", self.seen.sum_value)

    def configure_optimizers(self):
        assert self.trainer.estimated_stepping_batches > 0  # makes the loaders before the checkpoint is restored
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.1)
        if self.plateau:
            falling = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, factor=0.5, threshold=0.5)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": falling, "monitor": "val"}}
        falling = torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.8)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": falling, "interval": "step"}}


class Watch(Callback):
    """Record what happens, in order, and the state of everything after each step."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        weights = torch.cat([p.detach().flatten().double() for p in pl_module.state_dict().values()])
        draws = (torch.get_rng_state().sum().item(), random.getstate()[1][:3], np.random.get_state()[1][:3].tolist())
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        x_axis = trainer.fit_loop.epoch_loop._batches_that_stepped
        position = (trainer.current_epoch, batch_idx, trainer.global_step, x_axis)
        self.seen.append(("step", *position, batch[0].tolist(), outputs["loss"].item(), rate, weights.tolist(), draws))

    def on_train_epoch_start(self, trainer, pl_module):
        self.seen.append(("epoch start", trainer.current_epoch, trainer.global_step))

    def on_train_epoch_end(self, trainer, pl_module):
        self.seen.append(("epoch end", trainer.current_epoch, trainer.global_step, pl_module.of_steps.compute().item()))

    def on_validation_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            means = [trainer.callback_metrics[name].item() for name in ("val", "val_metric", "seen")]
            self.seen.append(("validation", trainer.global_step, pl_module.validated, *means))

    def on_train_end(self, trainer, pl_module):
        means = {key: value.item() for key, value in trainer.callback_metrics.items()}
        self.seen.append(("end", trainer.global_step, sorted(means.items())))


class Thaw(BaseFinetuning):
    """Keep the first layer as it is for one epoch."""

    def freeze_before_training(self, pl_module):
        self.freeze(pl_module.net[:2], train_bn=False)

    def finetune_function(self, pl_module, epoch, optimizer):
        if epoch == 1:
            self.make_trainable(pl_module.net[:2])


NUMBERS = TensorDataset(torch.arange(3.0 * 2 * BATCHES).view(-1, 3))


def loader():
    return ResumableLoader(NUMBERS, 2, seed=0)


def plain_loader():
    return DataLoader(NUMBERS, 2, shuffle=True)


@pytest.fixture
def fit(trainer, tmp_path):
    """Train, from a checkpoint if there is one; gives what happened and the checkpoints, with their places in it."""
    number = itertools.count()

    def fit(saver, steps=1, ckpt_path=None, loader=loader, plateau=False, manual=False, more=(), workers=0, **options):
        seed_everything(0 if ckpt_path is None else 99, verbose=False)
        watch, folder = Watch(), tmp_path / str(next(number))
        keep, files = saver(folder), []
        more = copy.deepcopy(more)
        callbacks = [watch, ExactResume(), *([StepsPerExecution(steps)] if steps > 1 else []), *more, keep]
        options = {"max_epochs": 3, "num_sanity_val_steps": 1, "limit_val_batches": 1.0, **options}
        ones = TensorDataset(torch.ones(4, 3))
        validation = DataLoader(ones, 2, num_workers=workers, persistent_workers=workers > 0)
        training = trainer(*callbacks, enable_checkpointing=True, **options)
        save = training.save_checkpoint

        def save_and_copy(filepath, *further, **named):
            save(filepath, *further, **named)
            if Path(filepath).name != "best.ckpt":  # last.ckpt is the same state
                copied = shutil.copy(filepath, f"{folder}-{len(files)}-step={training.global_step}.ckpt")
                files.append((copied, len(watch.seen)))

        training.save_checkpoint = save_and_copy
        training.fit(Model(plateau, manual), loader(), validation, ckpt_path=ckpt_path)
        return watch.seen, files

    return fit


def first_difference(seen, expected):
    """Where two courses of events part: the place, and what is at it without the long parts."""
    for place, (one, other) in enumerate(itertools.zip_longest(seen, expected)):
        if one != other:
            parts = [k for k, (a, b) in enumerate(zip(one or (), other or (), strict=False)) if a != b]
            return place, (one or ("nothing",))[:5], (other or ("nothing",))[:5], parts
    return None


class OfEveryEpoch(RunCheckpoint):
    """Saves at the end of every epoch alone."""

    def on_validation_end(self, trainer, pl_module):
        pass

    def on_train_epoch_end(self, trainer, pl_module):
        self._last_is_due = True


def of_every_iteration(folder):
    return RunCheckpoint(folder, every_n_train_steps=1)


def of_every_validation(folder):
    return RunCheckpoint(folder, monitor="val")


def lightnings_own(folder):
    return ModelCheckpoint(folder, "{epoch}-{step}", save_top_k=-1, every_n_train_steps=1)


def lightnings_own_of_validations(folder):
    return ModelCheckpoint(folder, "{epoch}-{step}", monitor="val", save_top_k=-1, save_on_train_epoch_end=False)


def lightnings_own_of_epochs(folder):
    return ModelCheckpoint(folder, "{epoch}-{step}", save_top_k=-1)


SAVERS = [of_every_iteration, of_every_validation, OfEveryEpoch, lightnings_own, lightnings_own_of_validations]


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("saver", SAVERS)
def test_a_training_continues_from_each_of_its_checkpoints_as_it_did(fit, saver, accumulate, steps):
    options = {"accumulate_grad_batches": accumulate, "val_check_interval": 2, "steps": steps}
    options["max_epochs"] = 3 if saver is OfEveryEpoch else 2
    expected, files = fit(saver, **options)
    checked = 0
    for file, place in files:
        if expected[place:][0:1] not in ([], expected[-1:]):  # else training was over
            seen, _ = fit(saver, ckpt_path=file, **options)
            assert first_difference(seen, expected[place:]) is None, f"{Path(file).name}, {expected[place - 1][:4]}"
            checked += 1
    assert checked > 1
    assert "exact_resume" in torch.load(files[0][0], weights_only=True)


@pytest.mark.parametrize("steps", [1, 3])
def test_a_training_can_be_resumed_many_times(fit, steps):
    expected, _ = fit(of_every_iteration, steps=steps)
    file, place, lives = None, 0, 0
    while True:
        seen, files = fit(of_every_iteration, steps=steps, ckpt_path=file)
        assert first_difference(seen, expected[place:]) is None
        if len(files) < 3:
            break
        (file, further), lives = files[1], lives + 1
        place += further
    assert lives > 3


@pytest.mark.parametrize(
    ("saver", "options"),
    [
        pytest.param(of_every_validation, {"plateau": True}, id="a rate that waits for a validation"),
        pytest.param(OfEveryEpoch, {"loader": plain_loader}, id="a plain DataLoader from the end of an epoch"),
        pytest.param(of_every_validation, {"manual": True, "val_check_interval": 2}, id="an accumulation by hand"),
        pytest.param(OfEveryEpoch, {"manual": True}, id="an accumulation by hand over the end of an epoch"),
        pytest.param(
            of_every_iteration, {"more": [GradientAccumulationScheduler({0: 1, 1: 3})]}, id="a schedule of accumulation"
        ),
        pytest.param(of_every_iteration, {"more": [Thaw()]}, id="a layer that trains from the second epoch on"),
        pytest.param(
            of_every_iteration,
            {"plateau": True, "more": [StochasticWeightAveraging(0.05, 2, annealing_epochs=2)], "max_epochs": 4},
            id="an average of weights, and an epoch for batch norm",
        ),
        pytest.param(of_every_validation, {"precision": "64-true"}, id="all digits of float64 weights"),
        pytest.param(lightnings_own_of_epochs, {"plateau": True, "max_epochs": 5}, id="a plateau at an epoch's end"),
        pytest.param(of_every_iteration, {"workers": 1, "check_val_every_n_epoch": 2}, id="workers that are kept"),
        pytest.param(
            of_every_iteration, {"precision": "64-true", "more": [EMAWeightAveraging()]}, id="float64 with an average"
        ),
    ],
)
def test_other_schedules_and_loaders_continue_as_they_did(fit, saver, options):
    expected, files = fit(saver, **options)
    assert len({event[7] for event in expected if event[0] == "step"}) > 1, "the rate falls"
    for file, place in files[:-1]:
        assert first_difference(fit(saver, ckpt_path=file, **options)[0], expected[place:]) is None


def steps_of(seen):
    return [event for event in seen if event[0] == "step"]


class OwnRule(EarlyStopping):
    def _evaluate_stopping_criteria(self, current):
        self.wait_count += 1
        return self.wait_count == 2, "enough"


@pytest.mark.parametrize(
    ("saver", "kind"),
    [
        (of_every_iteration, EarlyStopping),
        (of_every_validation, OwnRule),
        (lightnings_own_of_validations, EarlyStopping),
    ],
)
def test_a_training_that_was_stopped_early_does_not_continue(fit, saver, kind):
    options = {"more": [kind("val", patience=1, min_delta=9.0)], "val_check_interval": 3}
    expected, files = fit(saver, **options)
    assert expected[-1][1] < 3 * BATCHES
    for file, place in files:
        seen, _ = fit(saver, ckpt_path=file, **options)
        assert steps_of(seen) == steps_of(expected[place:])


class StopAtStep10(Callback):
    def on_train_batch_end(self, trainer, *_):
        trainer.should_stop = trainer.global_step == 10


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
@pytest.mark.parametrize("stop", [lambda: EarlyStopping("val", patience=1, min_delta=9.0), StopAtStep10])
def test_a_training_that_a_callback_has_stopped_continues_without_it(fit, stop):
    stopped, files = fit(of_every_iteration, more=[stop()], val_check_interval=3)
    seen, _ = fit(of_every_iteration, ckpt_path=files[-1][0], val_check_interval=3)
    assert [event[3] for event in steps_of(stopped) + steps_of(seen)] == list(range(1, 3 * BATCHES + 1))


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_a_norm_in_torchscript_is_left_as_it_is(trainer, tmp_path):
    for steps, last in ((1, None), (2, tmp_path / "last.ckpt")):
        (model := Model()).net[1] = torch.jit.script(nn.BatchNorm1d(8))
        training = trainer(ExactResume(), RunCheckpoint(tmp_path), max_steps=steps, enable_checkpointing=True)
        training.fit(model, loader(), loader(), ckpt_path=last)
    assert training.global_step == 2


def test_a_training_that_max_steps_has_cut_continues_in_its_epoch(fit):
    expected, _ = fit(OfEveryEpoch, max_epochs=-1, max_steps=12)
    cut, files = fit(RunCheckpoint, max_epochs=-1, max_steps=10)
    assert steps_of(cut) == steps_of(expected)[:10]
    seen, _ = fit(OfEveryEpoch, max_epochs=-1, max_steps=12, ckpt_path=files[-1][0])
    assert steps_of(seen) == steps_of(expected)[10:]
