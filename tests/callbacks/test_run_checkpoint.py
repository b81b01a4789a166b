"""last.ckpt is the last state, best.ckpt the state with the best value of its own, and nothing else is touched."""

import os
import warnings
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping, EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.demos.boring_classes import BoringModel, RandomDataset
from lightning.pytorch.loggers import CSVLogger, Logger
from torch.utils.data import DataLoader

from charlm.callbacks.atomic_io import AtomicCheckpointIO
from charlm.callbacks.exact_resume.callback import ExactResume
from charlm.callbacks.run_checkpoint import RunCheckpoint
from charlm.callbacks.shared.logger_adapters import run_directory

pytestmark = [
    pytest.mark.filterwarnings("ignore:The dirpath has changed"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),  # resumed without RunCheckpoint
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended"),
]


class Model(BoringModel):
    """Five batches an epoch; its val loss is what `losses` says, validation by validation, None: not logged."""

    def __init__(self, losses=(), **logged):
        super().__init__()
        self.losses, self.logged = iter(losses), logged

    def train_dataloader(self):
        return DataLoader(RandomDataset(32, 5))

    def training_step(self, batch, batch_idx):
        output = super().training_step(batch, batch_idx)
        for name, value in self.logged.items():
            self.log(name, value(self.trainer.global_step), on_step=False, on_epoch=True)
        return output

    def on_validation_epoch_end(self):
        if (loss := next(self.losses, None)) is not None:
            self.log("loss", loss)


class Two(Model):
    """Two validation loaders, of which the second one has the `losses`."""

    on_validation_epoch_end = BoringModel.on_validation_epoch_end

    def val_dataloader(self):
        return [DataLoader(RandomDataset(32, 1)) for _ in range(2)]

    def validation_step(self, batch, batch_idx, dataloader_idx):
        self.log("loss", next(self.losses) if dataloader_idx else 1.0)


EVERY_2 = {"val_check_interval": 2, "check_val_every_n_epoch": None, "limit_val_batches": 1, "max_epochs": -1}
EVERY_EPOCH = {"limit_val_batches": 1, "max_epochs": 4, "max_steps": -1}


def steps_of(folder):
    files = sorted(folder.glob("*.ckpt"))
    return {file.name: torch.load(file, weights_only=False)["global_step"] for file in files}


def best_of(keep):
    """Its best value and that value's step, which best.ckpt has as well unless it has weights alone."""
    state = keep.state_dict()
    kept = torch.load(keep.best_model_path, weights_only=True)
    assert kept.get("callbacks", {}).get(keep.state_key, state) == state
    assert (keep.best_model_score, kept["global_step"]) == (state["value"], state["step"])
    return state["value"], state["step"]


@pytest.fixture
def fit(trainer, tmp_path):
    """Fit with a RunCheckpoint in a run of the given name; gives the callback and the step of each file it left."""

    def fit(model, *others, run="run", ckpt_path=None, trial=False, options=EVERY_2, max_steps=6, **choice):
        keep = RunCheckpoint(tmp_path / run, **{"monitor": "loss", **choice})
        options = {"max_steps": max_steps, "num_sanity_val_steps": 0, "enable_checkpointing": True, **options}
        training = trainer(ExactResume(), keep, *others, fast_dev_run=trial, plugins=[AtomicCheckpointIO()], **options)
        training.fit(model, ckpt_path=ckpt_path)
        return keep, steps_of(tmp_path / run)

    return fit


@pytest.mark.parametrize(
    ("mode", "losses", "max_steps", "best", "last"),
    [
        ("min", [3.0, 1.0], 5, 4, 5),  # last is written though no validation came after the last step
        ("min", [3.0, 2.0, 1.0], 6, 6, 6),
        ("min", [float("nan"), float("inf"), 1.0, 2.0], 8, 6, 8),
        ("min", [1.0, None, 2.0], 6, 2, 6),  # a validation without the value leaves the older one where it was measured
        ("max", [1.0, 3.0, 2.0], 6, 4, 6),
    ],
)
def test_best_is_the_state_whose_own_value_is_the_best(fit, mode, losses, max_steps, best, last):
    keep, steps = fit(Model(losses), mode=mode, max_steps=max_steps)
    assert steps == {"best.ckpt": best, "last.ckpt": last}
    assert [Path(path).name for path in (keep.best_model_path, keep.last_model_path)] == ["best.ckpt", "last.ckpt"]


@pytest.mark.parametrize(
    ("model", "monitor", "best"),
    [
        (lambda: Model([2.0, 1.0, 3.0, 4.0]), "loss", 10),
        (lambda: Two([2.0, 1.0, 3.0, 4.0]), "loss/dataloader_idx_1", 10),
        (lambda: Model([], train=lambda step: abs(step - 7.0)), "train", 10),  # mean over steps 5 to 9: 1.2
        (lambda: Model([9.0] * 4, train=lambda step: -float(step)), "train", 20),
    ],
    ids=["val", "val of two loaders", "train", "train beside val"],
)
def test_where_lightning_validates_once_an_epoch_the_true_best_is_kept(fit, model, monitor, best):
    assert fit(model(), options=EVERY_EPOCH, monitor=monitor)[1] == {"best.ckpt": best, "last.ckpt": 20}


class Reads(Callback):
    """Another callback that looks at the metrics in each of its hooks, which has Lightning refresh them."""

    def on_validation_end(self, trainer, pl_module):
        assert trainer.callback_metrics["loss"] > 0

    on_train_epoch_start = on_train_epoch_end = lambda self, trainer, pl_module: dict(trainer.callback_metrics)


def test_a_value_is_never_taken_for_a_later_state(fit):
    """The epoch ends a step after the validation: that state was not validated."""
    keep, steps = fit(Model([3.0, 2.0, 1.0]), Reads(), options=EVERY_2 | {"max_epochs": 1}, max_steps=-1)
    assert (steps, best_of(keep)) == ({"best.ckpt": 4, "last.ckpt": 5}, (2.0, 4))


def test_of_files_between_validations_none_counts_as_best(fit, tmp_path):
    seen = []

    class Looks(Callback):
        def on_train_batch_start(self, *_):
            seen.append(steps_of(tmp_path / "run"))

    fit(Model([5.0, 4.0]), Looks(), every_n_train_steps=2, options=EVERY_2 | {"val_check_interval": 3})
    assert (seen[2], seen[5]) == ({"last.ckpt": 2}, {"best.ckpt": 3, "last.ckpt": 4})


class Stops(Callback):
    """Fails after so many steps; has seen the batches until then."""

    def __init__(self, step=None):
        self.step, self.seen = step, []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.seen.append(batch_idx)
        if trainer.global_step == self.step:
            raise ZeroDivisionError


def test_without_validations_the_last_is_written_at_the_end_of_every_epoch(fit, tmp_path):
    with pytest.raises(ZeroDivisionError):
        fit(Model(), Stops(13), monitor=None, options={}, max_steps=20)
    assert steps_of(tmp_path / "run") == {"last.ckpt": 10}
    keep, steps = fit(Model(), run="whole", monitor=None, options={}, max_steps=7)
    assert (steps, Path(keep.best_model_path).name) == ({"last.ckpt": 7}, "last.ckpt")


@pytest.mark.parametrize("last", [{"max_epochs": 3}, {"max_epochs": -1, "max_steps": 15}])
@pytest.mark.parametrize("step", [4, 5, 6])
def test_lightning_alone_goes_on_with_the_next_batch_also_after_the_last_one_of_an_epoch(trainer, tmp_path, step, last):
    keep = RunCheckpoint(tmp_path, every_n_train_steps=step)
    with pytest.raises(ZeroDivisionError):
        trainer(keep, Stops(step + 2), max_epochs=3, enable_checkpointing=True).fit(Model())
    trainer(rest := Stops(), **last).fit(Model(), ckpt_path=tmp_path / "last.ckpt")
    assert rest.seen == [*range(5), *range(5), *range(5)][step:]


class OfSteps(Model):
    def training_step(self, batch, batch_idx):
        self.log("now", 1.0)  # as self.log does without further arguments
        return super().training_step(batch, batch_idx)


def test_a_metric_that_is_not_logged_or_for_single_steps_alone_is_said_once(fit):
    with pytest.warns(UserWarning, match=r"no best\.ckpt, as 'los' is not logged; monitor one of: loss"):
        assert fit(Model([1.0] * 9), monitor="los")[1] == {"last.ckpt": 6}
    with pytest.warns(UserWarning, match="'now' is logged for single steps, .*; log it with on_epoch=True") as said:
        assert fit(OfSteps([1.0] * 4), run="steps", options=EVERY_EPOCH, monitor="now")[1] == {"last.ckpt": 20}
    assert sum("no best.ckpt" in str(each.message) for each in said) == 1


def test_a_run_that_goes_on_keeps_its_best(fit, tmp_path, monkeypatch):
    fit(Model([1.0]), max_steps=2)
    monkeypatch.setenv("HOME", str(tmp_path))
    keep, steps = fit(Model([3.0, 2.0]), ckpt_path="~/run/last.ckpt")  # warnings are errors
    assert (steps, best_of(keep)) == ({"best.ckpt": 2, "last.ckpt": 6}, (1.0, 2))
    best = tmp_path / "run" / "best.ckpt"
    torch.save({**torch.load(best, weights_only=True), "of the module": Path()}, best)  # not read without its code
    keep, steps = fit(Model([3.0]), ckpt_path=tmp_path / "run" / "last.ckpt", max_steps=8)
    assert (keep.best_model_score, steps) == (1.0, {"best.ckpt": 2, "last.ckpt": 8})


def test_another_run_that_goes_on_from_there_has_a_best_of_its_own(fit, tmp_path):
    fit(Model([1.0]), max_steps=2)
    last = tmp_path / "run" / "last.ckpt"
    assert fit(Model([3.0, 4.0]), run="resumed", ckpt_path=last)[1] == {"best.ckpt": 4, "last.ckpt": 6}
    keep, steps = fit(Model([1.0]), run="nothing to do", ckpt_path=last, max_steps=2)
    assert (keep.best_model_path, keep.last_model_path, steps) == ("", "", {})
    with pytest.warns(UserWarning, match=r"best.ckpt and .*last.ckpt of an earlier training will be replaced"):
        keep, steps = fit(Model([5.0, 6.0]), run="resumed", ckpt_path=last)
    assert (keep.best_model_score, steps) == (5.0, {"best.ckpt": 4, "last.ckpt": 6})


def test_a_run_that_goes_back_says_which_later_files_it_will_replace(fit, tmp_path):
    early = ModelCheckpoint(tmp_path / "run", "{step}", save_top_k=-1)
    fit(Model([3.0, 4.0, 2.0]), early)
    with pytest.warns(UserWarning, match=r"best.ckpt and .*last.ckpt of an earlier training will be replaced"):
        fit(Model([]), early, ckpt_path=tmp_path / "run" / "step=4.ckpt", max_steps=5)  # stopped before a validation
    with pytest.warns(UserWarning, match=r"best.ckpt of an earlier training will be replaced"):
        keep, _ = fit(Model([2.5]), early, ckpt_path=tmp_path / "run" / "last.ckpt")
    assert best_of(keep) == (2.5, 6)


@pytest.mark.parametrize(("first", "weights_only"), [(False, False), (True, False), (False, True)])
def test_a_run_that_goes_on_from_a_file_of_modelcheckpoint_keeps_its_best(trainer, tmp_path, first, weights_only):
    def fit(losses, max_steps, ckpt_path=None):
        keep = RunCheckpoint(tmp_path / "run", monitor="loss", save_weights_only=weights_only)
        pair = [keep, ModelCheckpoint(tmp_path / "kept", "{step}", save_top_k=-1)]
        options = {"max_steps": max_steps, "num_sanity_val_steps": 0, "enable_checkpointing": True, **EVERY_2}
        trainer(*(pair[::-1] if first else pair), **options).fit(Model(losses), ckpt_path=ckpt_path)
        return best_of(keep), steps_of(tmp_path / "run")

    fit([3.0, 2.0], 4)
    best = (2.0, 4), {"best.ckpt": 4, "last.ckpt": 6}  # where ModelCheckpoint saves first, its file has an older value
    assert fit([2.5], 6, tmp_path / "kept" / "step=4.ckpt") == best  # warnings are errors


def test_a_run_that_was_killed_between_its_two_files_has_the_best_one(fit, tmp_path):
    fit(Model([3.0]), max_steps=2)
    before = (tmp_path / "run" / "last.ckpt").read_bytes()
    fit(Model([2.0]), ckpt_path=tmp_path / "run" / "last.ckpt", max_steps=4)
    (tmp_path / "run" / "last.ckpt").write_bytes(before)
    keep, steps = fit(Model([2.5, 4.0]), ckpt_path=tmp_path / "run" / "last.ckpt")  # warnings are errors
    assert (best_of(keep), steps) == ((2.0, 4), {"best.ckpt": 4, "last.ckpt": 6})


def test_a_run_that_was_killed_after_an_epoch_keeps_the_value_of_the_epoch(trainer, tmp_path):
    """last.ckpt was written by the validation before the epoch had its value, a mean over its batches."""

    def fit(*others, ckpt_path=None):
        keep = RunCheckpoint(tmp_path, monitor="train")
        training = trainer(keep, *others, enable_checkpointing=True, **EVERY_EPOCH)
        training.fit(Model([9.0] * 4, train=lambda step: abs(step - 7.0)), ckpt_path=ckpt_path)
        return keep

    with pytest.raises(ZeroDivisionError):
        fit(Stops(12))
    assert steps_of(tmp_path) == {"best.ckpt": 10, "last.ckpt": 10}
    assert best_of(fit(ckpt_path=tmp_path / "last.ckpt")) == (pytest.approx(1.2), 10)


def test_a_value_whose_state_was_not_written_before_an_error_is_no_best(trainer, tmp_path):
    class Fails(Callback):
        def on_validation_end(self, trainer, pl_module):
            if trainer.global_step == 4:
                raise ZeroDivisionError

    keep, options = RunCheckpoint(tmp_path, monitor="loss"), {"enable_checkpointing": True, "num_sanity_val_steps": 0}
    training = trainer(keep, max_steps=4, **EVERY_2, **options)
    training.callbacks.append(Fails())  # after it
    with pytest.raises(ZeroDivisionError):
        training.fit(Model([2.0, 1.0]))
    assert best_of(keep) == (2.0, 2)


def test_a_new_trainer_starts_without_a_best_and_the_same_one_keeps_it(trainer, tmp_path):
    keep = RunCheckpoint(tmp_path, monitor="loss")
    options = {"limit_val_batches": 1, "num_sanity_val_steps": 0, "enable_checkpointing": True, "max_epochs": 1}
    trainer(keep, **options).fit(Model([1.0]))
    second = trainer(keep, **options)
    with pytest.warns(UserWarning, match="will be replaced"):
        second.fit(Model([2.0]))
    assert (keep.best_model_score, steps_of(tmp_path)["best.ckpt"]) == (2.0, 5)
    second.fit_loop.max_epochs = 2
    second.fit(Model([3.0]))  # warnings are errors
    assert (keep.best_model_score, steps_of(tmp_path)) == (2.0, {"best.ckpt": 5, "last.ckpt": 10})


def test_the_files_of_the_last_step_come_after_the_end_of_the_other_callbacks(fit, tmp_path):
    class Ends(Callback):
        def on_train_end(self, trainer, pl_module):
            self.found = steps_of(tmp_path / "run")
            raise KeyError

    ends = Ends()
    with pytest.raises(KeyError):
        fit(Model([3.0, 2.0, 1.0]), ends)
    assert ends.found == {"best.ckpt": 4, "last.ckpt": 4}
    assert steps_of(tmp_path / "run") == {"best.ckpt": 6, "last.ckpt": 6}, "an error loses nothing"


def test_a_training_with_an_average_that_goes_on_longer_has_its_weights(trainer, tmp_path):
    """Its average takes their place when training ends."""

    def weights(run, max_epochs, ckpt_path=None):
        torch.manual_seed(0)
        average, keep, model = EMAWeightAveraging(decay=0.5), RunCheckpoint(tmp_path / run), BoringModel()
        data, options = DataLoader(RandomDataset(32, 5)), {"max_epochs": max_epochs, "enable_checkpointing": True}
        trainer(ExactResume(), average, keep, **options).fit(model, data, ckpt_path=ckpt_path)
        saved = torch.load(tmp_path / run / "last.ckpt", weights_only=True)
        assert torch.equal(saved["state_dict"]["layer.weight"], model.layer.weight)
        return saved["current_model_state"]["layer.weight"]

    weights("longer", 1)
    assert torch.equal(weights("longer", 2, tmp_path / "longer" / "last.ckpt"), weights("at once", 2))


def test_the_last_file_knows_that_an_epochs_end_has_stopped_the_training(fit, tmp_path):
    stop = EarlyStopping("loss", patience=1)
    assert fit(Model([1.0, 2.0, 3.0]), stop, options=EVERY_EPOCH)[1] == {"best.ckpt": 5, "last.ckpt": 10}
    states = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["callbacks"]
    assert states[stop.state_key]["stopped_epoch"] == 1


def test_nothing_is_written_in_a_trial_or_without_save_last(fit):
    assert fit(Model([1.0]), trial=True)[1] == {}
    assert fit(Model([1.0]), max_steps=3, run="no last", save_last=False)[1] == {"best.ckpt": 2}


def test_the_last_state_is_saved_when_it_is_asked_for_and_best_may_be_of_weights_only(fit, tmp_path):
    class Asks(Callback):
        def on_iteration_end(self, trainer, pl_module):
            if trainer.global_step == 3:
                (keep,) = trainer.checkpoint_callbacks
                self.file = keep.save_now(trainer)
                self.saved = steps_of(tmp_path / "run")

    asks = Asks()
    fit(Model([1.0]), asks, save_last=False, save_weights_only=True, max_steps=4)
    assert (Path(asks.file).name, asks.saved) == ("last.ckpt", {"best.ckpt": 2, "last.ckpt": 3})
    best, last = (torch.load(tmp_path / "run" / f"{name}.ckpt", weights_only=True) for name in ("best", "last"))
    assert ("optimizer_states" in best, "optimizer_states" in last) == (False, True)


class OneFolder(Logger):
    """Like the loggers of W&B and MLflow, it has one folder for all runs."""

    save_dir, name, version = "all", "project", "run7"

    def log_metrics(self, *_):
        pass

    log_hyperparams = log_metrics


def test_the_folder_is_the_one_of_lightnings_own(trainer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loggers = ((CSVLogger(tmp_path, "a", 3), "a/version_3"), (False, "."), (OneFolder(), "all/project/run7"))
    for logger, folder in loggers:
        training = trainer(RunCheckpoint(), logger=logger, max_steps=1, enable_checkpointing=True)
        training.fit(Model())
        assert (tmp_path / folder / "checkpoints" / "last.ckpt").is_file()
    assert run_directory(training) == "all/project/run7"
    training = trainer(RunCheckpoint(), default_root_dir="memory://root", max_steps=1, enable_checkpointing=True)
    with pytest.raises(ValueError, match="memory://root/checkpoints is an address"):
        training.fit(Model())


@pytest.mark.parametrize("options", [{"filename": "top", "save_last": True}, {"monitor": "other"}])
def test_another_one_is_refused_where_it_would_write_the_same_file(fit, tmp_path, options):
    kind = ModelCheckpoint if "filename" in options else RunCheckpoint
    with pytest.raises(ValueError, match=rf"{kind.__name__} and RunCheckpoint write files of the same name in .*run"):
        fit(Model([1.0]), kind(tmp_path / "run", **options))


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"dirpath": "s3://bucket/a"}, "is an address"),
        ({"mode": "low"}, "mode is 'low'; give 'min' or 'max'"),
        ({"every_n_train_steps": 0}, "every_n_train_steps is 0; give steps >= 1"),
        ({"save_last": False}, "nothing to save: give a metric to `monitor`"),
    ],
)
def test_an_option_that_cannot_be_is_refused(options, what):
    with pytest.raises(ValueError, match=what):
        RunCheckpoint(**options)


STATES = [  # of a checkpoint from an untrusted source: each names a victim in each way that a path can be spelled
    lambda victim: {"last_model_path": victim, "best_model_path": "", "best_model_score": None},
    lambda victim: {
        "best_k_models": {victim: torch.tensor(9.9)},
        "kth_best_model_path": victim,
        "kth_value": torch.tensor(9.9),
        "best_model_score": torch.tensor(9.9),
        "best_model_path": victim,
    },
    lambda victim: {"left": [victim], "value": victim, "step": victim, "best_model_path": victim, "dirpath": victim},
]


@pytest.mark.parametrize(
    ("state", "spelled"),
    [*[(state, "absolute") for state in STATES], *[(STATES[1], way) for way in ("dots", "link", "folder", "text")]],
)
def test_a_checkpoint_deletes_and_writes_nothing_outside(trainer, tmp_path, state, spelled):
    run, outside = tmp_path / "run", tmp_path / "outside"
    (outside / "folder.ckpt").mkdir(parents=True)
    run.mkdir()
    for name in ("thesis.txt", "a.ckpt", "folder.ckpt/b.txt"):
        (outside / name).write_text("precious")
    os.symlink(outside, run / "link")
    victim = {
        "absolute": str(outside / "a.ckpt"),
        "dots": f"{run}/../outside/a.ckpt",
        "link": str(run / "link" / "a.ckpt"),
        "folder": str(run / "link" / "folder.ckpt"),
        "text": str(outside / "thesis.txt"),
    }[spelled]

    def training(max_steps, *more):
        keepers = [RunCheckpoint(run, monitor="loss"), ModelCheckpoint(run, "top", monitor="loss", save_top_k=1)]
        options = {"max_steps": max_steps, "enable_checkpointing": True, "num_sanity_val_steps": 0, **EVERY_2}
        return trainer(*keepers, *more, plugins=[AtomicCheckpointIO()], **options)

    training(2).fit(Model([2.0]))
    evil = torch.load(run / "last.ckpt", weights_only=True)
    evil["callbacks"] = {name: {"dirpath": str(run), **state(victim)} for name in evil["callbacks"]}
    torch.save(evil, tmp_path / "evil.ckpt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        training(8).fit(Model([1.5, 1.0, 0.5]), ckpt_path=tmp_path / "evil.ckpt")
    found = {file.relative_to(outside).as_posix(): file.read_text() for file in outside.rglob("*") if file.is_file()}
    assert found == dict.fromkeys(("thesis.txt", "a.ckpt", "folder.ckpt/b.txt"), "precious")


def test_a_state_that_is_left_out_is_said(tmp_path):
    file = tmp_path / "a.ckpt"
    own, foreign = str(tmp_path / "top.ckpt"), f"{tmp_path}/../b.ckpt"
    states = {"own": {"last_model_path": own, "best_k_models": {own: torch.tensor(1.0)}}, "other": {"a": [1]}}
    torch.save({"callbacks": {**states, "foreign": {"best_model_path": foreign}}}, file)
    with pytest.warns(UserWarning, match=r"a\.ckpt: the state of 'foreign' has paths of other files and is left out"):
        assert AtomicCheckpointIO().load_checkpoint(file)["callbacks"] == states


def test_files_of_an_earlier_training_are_replaced_with_a_warning_and_those_it_goes_on_from_without(fit, tmp_path):
    fit(Model([1.0, 2.0, 3.0]))
    fit(Model([1.0]), ckpt_path=tmp_path / "run" / "last.ckpt", max_steps=8)  # warnings are errors
    with pytest.warns(UserWarning, match=r"run/best.ckpt of an earlier training will be replaced"):
        fit(Model([1.0]), mode="max", ckpt_path=tmp_path / "run" / "last.ckpt", max_steps=10)
    with pytest.warns(UserWarning, match="best.ckpt and .*last.ckpt of an earlier training will be replaced"):
        fit(Model([1.0, 2.0, 3.0]))
