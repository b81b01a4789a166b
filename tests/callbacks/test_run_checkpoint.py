from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.demos.boring_classes import BoringModel, RandomDataset
from torch.utils.data import DataLoader

from charlm.callbacks.exact_resume.callback import ExactResume
from charlm.callbacks.run_checkpoint import RunCheckpoint

pytestmark = [
    pytest.mark.filterwarnings("ignore:The dirpath has changed"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended"),
]


class Model(BoringModel):
    """Five batches an epoch; its val loss is what `losses` says, validation by validation."""

    def __init__(self, losses=()):
        super().__init__()
        self.losses = iter(losses)

    def train_dataloader(self):
        return DataLoader(RandomDataset(32, 5))

    def on_validation_epoch_end(self):
        self.log("loss", next(self.losses))


@pytest.fixture
def fit(trainer, tmp_path):
    """Fit with a RunCheckpoint in a run of the given name; gives the callback and the step of each file it left."""

    def fit(losses=(), run="run", ckpt_path=None, save_last=True, **options):
        choice = {"monitor": "loss" if losses else None, "save_on_train_epoch_end": not losses}
        keep = RunCheckpoint(tmp_path / run, "best", save_last=save_last, **choice)
        validations = {"limit_val_batches": 1, "val_check_interval": 2, "check_val_every_n_epoch": None}
        options = {"max_epochs": -1, "enable_checkpointing": True, **(validations if losses else {}), **options}
        options["num_sanity_val_steps"] = 0
        trainer(ExactResume(), keep, **options).fit(Model(losses), ckpt_path=ckpt_path)
        files = sorted((tmp_path / run).glob("*.ckpt"))
        return keep, {file.name: torch.load(file, weights_only=True)["global_step"] for file in files}

    return fit


def test_last_is_written_after_every_validation_though_it_is_not_the_best(fit):
    keep, steps = fit([3.0, 1.0, 2.0], max_steps=6)
    assert steps == {"best.ckpt": 4, "last.ckpt": 6}
    assert Path(keep.kept()).name == "best.ckpt"


def test_last_is_the_last_step_though_no_validation_came_after_it(fit):
    assert fit([3.0, 1.0], max_steps=5)[1] == {"best.ckpt": 4, "last.ckpt": 5}


def test_the_best_of_the_last_step_is_kept_too(fit):
    assert fit([3.0, 2.0, 1.0], max_steps=6)[1] == {"best.ckpt": 6, "last.ckpt": 6}


def test_a_link_would_be_to_an_older_state_so_a_file_is_written(fit, tmp_path):
    assert fit([3.0, 1.0, 2.0], max_steps=6, save_last="link")[1] == {"best.ckpt": 4, "last.ckpt": 6}
    assert not (tmp_path / "run" / "last.ckpt").is_symlink()


def test_without_a_metric_the_last_is_what_is_kept(fit):
    keep, steps = fit(max_steps=7)
    assert (steps["last.ckpt"], Path(keep.kept()).name) == (7, "last.ckpt")
    keep, steps = fit(max_epochs=2, run="whole epochs")
    assert steps == {"best.ckpt": 10, "last.ckpt": 10}


def test_a_run_that_was_stopped_in_mid_epoch_goes_on_there(fit, tmp_path):
    fit(max_steps=7)
    progress = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["loops"]["fit_loop"]["epoch_progress"]
    assert progress["current"]["completed"] == 1, "the second epoch is not over"


def test_what_is_kept_is_of_this_run_not_of_the_one_it_goes_on_from(fit, tmp_path):
    fit([1.0], max_steps=2)
    last = tmp_path / "run" / "last.ckpt"
    keep, steps = fit([1.0], run="resumed", ckpt_path=last, max_steps=3, val_check_interval=4)
    assert steps == {"last.ckpt": 3}
    assert Path(keep.kept()) == tmp_path / "resumed" / "last.ckpt"
    keep, steps = fit([1.0], run="nothing to do", ckpt_path=last, max_steps=2)
    assert (keep.kept(), steps) == (None, {})


def test_what_a_killed_process_did_not_come_to_remove_goes_when_its_run_goes_on(trainer, tmp_path, monkeypatch):
    remove = RunCheckpoint._remove_checkpoint

    def killed(self, trainer, filepath):
        if not self._waits:  # for the end of the turn
            raise KeyboardInterrupt
        remove(self, trainer, filepath)

    def options():
        return {"max_epochs": -1, "limit_val_batches": 1, "val_check_interval": 2, "num_sanity_val_steps": 0} | {
            "check_val_every_n_epoch": None, "enable_checkpointing": True, "max_steps": 8,
        }  # fmt: skip

    choice = {"filename": "best-{step}", "monitor": "loss", "save_last": True}
    first = trainer(ExactResume(), RunCheckpoint(tmp_path, **choice), **options())
    monkeypatch.setattr(RunCheckpoint, "_remove_checkpoint", killed)
    with pytest.raises(SystemExit):
        first.fit(Model([2.0, 1.0, 4.0, 5.0]))
    monkeypatch.undo()
    assert sorted(file.name for file in tmp_path.glob("*.ckpt")) == [
        "best-step=2.ckpt",
        "best-step=4.ckpt",
        "last.ckpt",
    ]
    again = trainer(ExactResume(), RunCheckpoint(tmp_path, **choice), **options())
    again.fit(Model([4.0, 5.0]), ckpt_path=tmp_path / "best-step=4.ckpt")
    assert sorted(file.name for file in tmp_path.glob("*.ckpt")) == ["best-step=4.ckpt", "last.ckpt"]
    further = trainer(ExactResume(), RunCheckpoint(tmp_path, **choice), **(options() | {"max_steps": 10}))
    further.fit(Model([4.0, 5.0, 0.5]), ckpt_path=tmp_path / "best-step=4.ckpt")
    assert sorted(file.name for file in tmp_path.glob("*.ckpt")) == ["best-step=10.ckpt", "last.ckpt"]


def test_nothing_is_written_in_a_trial_or_without_save_last(fit, tmp_path):
    assert fit([1.0], fast_dev_run=True)[1] == {}
    assert fit([1.0], max_steps=3, run="no last", save_last=False)[1] == {"best.ckpt": 2}


def test_the_best_two_of_one_name_are_two_files(trainer, tmp_path):
    choice = {"filename": "best", "monitor": "loss", "save_top_k": 2, "save_on_train_epoch_end": False}
    keep = RunCheckpoint(tmp_path, **choice)
    options = {"limit_val_batches": 1, "val_check_interval": 2, "check_val_every_n_epoch": None, "max_epochs": -1}
    options |= {"max_steps": 6, "num_sanity_val_steps": 0, "enable_checkpointing": True}
    trainer(ExactResume(), keep, **options).fit(Model([3.0, 1.0, 2.0]))
    files = {file: torch.load(file, weights_only=True)["global_step"] for file in tmp_path.glob("*.ckpt")}
    assert sorted(files.values()) == [4, 6]
    assert files[Path(keep.best_model_path)] == 4


@pytest.mark.parametrize("save_last", [True, None, "link"])
def test_the_last_state_is_saved_when_it_is_asked_for(trainer, tmp_path, save_last):
    class Asks(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if trainer.global_step == 3:
                self.file = keep.save_now(trainer)
                self.saved = torch.load(self.file, weights_only=True)["global_step"]

    keep, asks = RunCheckpoint(tmp_path, "best", save_last=save_last), Asks()
    trainer(asks, keep, max_steps=4, enable_checkpointing=True, max_epochs=-1).fit(Model())
    assert (Path(asks.file).name, asks.saved) == ("last.ckpt", 3)


def test_what_lightning_saves_on_an_exception_is_saved(trainer, tmp_path):
    class Failing(Model):
        def training_step(self, batch, batch_idx):
            if self.trainer.global_step == 3:
                raise ZeroDivisionError
            return super().training_step(batch, batch_idx)

    keep = RunCheckpoint(tmp_path / "run", save_on_exception=True)
    with pytest.raises(ZeroDivisionError):
        trainer(keep, enable_checkpointing=True, max_epochs=1).fit(Failing())
    (file,) = (tmp_path / "run").glob("*.ckpt")
    assert torch.load(file, weights_only=True)["global_step"] == 3
