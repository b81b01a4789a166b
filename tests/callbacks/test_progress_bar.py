import math
import os
import re
import sys
from io import StringIO
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import GradientAccumulationScheduler, ModelCheckpoint
from lightning.pytorch.demos.boring_classes import BoringModel, RandomDataset, RandomIterableDataset
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader

from charlm.callbacks import LRFinder
from charlm.callbacks.progress_bar import StepProgressBar

pytestmark = pytest.mark.filterwarnings("ignore:`max_epochs` was not set")


class Model(BoringModel):
    """Five batches an epoch, and metrics on the bar."""

    def training_step(self, batch, batch_idx):
        self.log("loss/train", float(batch_idx), prog_bar=True)
        self.log("hidden", 1.0)
        return self.step(batch)

    def validation_step(self, batch, batch_idx):
        self.log("loss/val", 0.25, prog_bar=True)

    def train_dataloader(self):
        return DataLoader(RandomDataset(32, 5))


class Manual(Model):
    """Two optimizers, which both step at every batch."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        for optimizer in self.optimizers():
            optimizer.zero_grad()
            self.manual_backward(self.step(batch))
            optimizer.step()

    def configure_optimizers(self):
        return [torch.optim.SGD(self.parameters(), lr=0.1) for _ in range(2)]


class Endless(Model):
    """A loader without a length."""

    def train_dataloader(self):
        return DataLoader(RandomIterableDataset(32, 7))


class AtStep(Callback):
    """Does something after the batch that does optimizer step `step`."""

    def __init__(self, step, action):
        self.step, self.action = step, action

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            self.action(trainer)


class Terminal(StringIO):
    def fileno(self):
        return 2

    def isatty(self):
        return True


@pytest.fixture
def write(trainer, monkeypatch):
    """Fit with the bar; gives what was written to standard error, a terminal of 80 columns by default."""

    def write(model, bar, *callbacks, ckpt_path=None, stream=Terminal, columns=80, **options):
        monkeypatch.setattr(sys, "stderr", stream())
        monkeypatch.setattr(os, "get_terminal_size", lambda _=None: os.terminal_size((columns, 24)))
        monkeypatch.setenv("COLUMNS", str(columns + 1))  # where tqdm before 4.68 looks, less one
        monkeypatch.setenv("LINES", "25")
        trainer(bar, *callbacks, enable_progress_bar=True, **options).fit(model, ckpt_path=ckpt_path)
        return sys.stderr.getvalue()

    return write


@pytest.fixture
def fit(write):
    """Fit with the bar on a terminal; gives the states of the bar in their order."""
    return lambda *given, **options: states(write(*given, **options))


def lines(text):
    return [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]


def states(text):
    return [line for line in lines(text) if line.endswith("]")]


def counts(lines):
    """ "3/6" of every state, without repetitions."""
    return list(dict.fromkeys(re.search(r"\d+/\d+|\d+(?= steps)", line).group() for line in lines))


def rows(text):
    """The cells of each row, by heading; an empty cell has no text."""
    found, heading = [], []
    for line in (line.rpartition("\r")[2] for line in re.sub(r"\x1b\[\d*m", "", text).split("\n")):
        if line.strip().startswith("step"):
            heading = [(m.group().strip(), m.span()) for m in re.finditer(r" *\S+", line)]
        elif line.strip() and "|" not in line:
            found.append({name: line[slice(*span)].strip() for name, span in heading})
    return found


def slow():
    """A bar that is written at every step, however short the time since the last one."""
    bar = StepProgressBar(refresh_rate=1)
    started = bar.on_train_start

    def on_train_start(trainer, pl_module):
        started(trainer, pl_module)
        bar._bar.mininterval = 0

    bar.on_train_start = on_train_start
    return bar


def test_the_loss_of_a_validation_is_shown_at_once(fit):
    """However seldom the bar moves; this one after ten steps, and never twice in a tenth of a second.

    That of the sanity check is not.
    """
    lines = fit(Model(), StepProgressBar(refresh_rate=10), max_epochs=2, limit_val_batches=1, val_check_interval=2)
    assert counts(lines) == ["0/10", "2/10", "4/10", "7/10", "9/10", "10/10"]
    assert ["val" in line for line in lines] == [False] + [True] * (len(lines) - 1)


def stop(trainer):
    trainer.should_stop = True


CLOSED = StringIO()
CLOSED.close()
TEE = SimpleNamespace(write=len, flush=int)  # all that `print` needs


@pytest.mark.parametrize("stream", [None, CLOSED, TEE])
def test_a_program_without_a_console_trains_without_a_bar(trainer, monkeypatch, stream):
    """As under pythonw; what is printed goes nowhere."""
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(sys, "stdout", stream)
    prints = AtStep(2, lambda trainer: trainer.lightning_module.print("text"))
    callbacks = [StepProgressBar(refresh_rate=1), LRFinder(num_steps=30, apply=False), prints]
    fitted = trainer(*callbacks, enable_progress_bar=True, max_epochs=1, limit_val_batches=1)
    fitted.fit(Model())
    assert fitted.global_step == 5


def test_each_validation_has_a_row(write):
    """With means over the validation's own epoch, and the rate of the steps before where it has changed."""

    class Epochs(Model):
        def training_step(self, batch, batch_idx):
            self.log("train/loss", float(self.global_step), on_epoch=True, on_step=True, prog_bar=True)
            return self.step(batch)

        def validation_step(self, batch, batch_idx):
            self.log("val/loss", [0.5, 0.25, math.nan, 0.75][self.current_epoch], prog_bar=True)

        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 2)]

    best = ModelCheckpoint(monitor="val/loss")
    found = rows(write(Epochs(), StepProgressBar(), best, max_epochs=4, limit_val_batches=1, enable_checkpointing=True))
    assert "train/loss_step" not in found[0]
    assert [(row["step"], row["train/loss_epoch"], row["val/loss"], row["best"], row["lr"]) for row in found] == [
        ("5", "2.0000", "0.5000", "*", "0.1"),
        ("10", "7.0000", "0.2500", "*", ""),
        ("15", "12.0000", "nan", "", "0.01"),
        ("20", "17.0000", "0.7500", "", ""),
    ]


def test_a_row_has_the_columns_that_are_asked_for_and_those_of_other_callbacks(write):
    speaker = Callback()
    speaker.progress_columns = {"new": "87%"}
    bar = StepProgressBar(columns={"validation": "loss/val", "missing": "not logged"})
    (row,) = rows(write(Model(), speaker, bar, max_epochs=1, limit_val_batches=1))
    assert list(row) == ["step", "validation", "missing", "new", "lr", "left"]
    assert (row["validation"], row["missing"], row["new"], row["left"]) == ("0.2500", "", "87%", "00:00")


def test_a_resumed_run_starts_at_its_own_step_and_the_best_value_before_it_counts(write, trainer, tmp_path):
    def best():
        return ModelCheckpoint(tmp_path, monitor="loss/val")

    options = {"limit_val_batches": 1, "enable_checkpointing": True}
    before = best()
    trainer(before, max_epochs=1, **options).fit(Model())
    text = write(Model(), StepProgressBar(), best(), ckpt_path=before.best_model_path, max_epochs=2, **options)
    assert (counts(states(text))[0], counts(states(text))[-1]) == ("5/10", "10/10")
    assert [(row["step"], row["best"]) for row in rows(text)] == [("10", "")]


@pytest.mark.parametrize(("columns", "speed"), [(100, True), (80, True), (60, False), (0, True)])
def test_both_losses_fit_into_the_terminal(write, columns, speed):
    text = write(Model(), StepProgressBar(), max_epochs=1, limit_val_batches=1, columns=columns)
    last = states(text)[-1]
    assert "| 5/5, train 4.000, val 0.250 [" in last
    assert len(last) <= (columns or 80)
    assert ("steps/s" in last) == speed


def test_a_log_gets_plain_lines(write, monkeypatch):
    """A row a validation, a line after ten seconds without one, and a line at the end."""
    clock = iter(range(0, 10_000, 2))
    monkeypatch.setattr("charlm.callbacks.progress_bar.time.monotonic", lambda: next(clock))
    bar, options = StepProgressBar(refresh_rate=1), {"max_epochs": 1, "limit_val_batches": 1}
    text = write(Model(), bar, val_check_interval=3, stream=StringIO, **options)
    assert not re.search(r"[\r\x1b|]", text)
    assert [line.split()[0].split("/")[0] for line in lines(text)] == ["step", "3", "5"]
    text = write(Model(), StepProgressBar(refresh_rate=1), stream=StringIO, max_epochs=2)
    assert counts(states(text)) == ["5/10", "10/10"]


@pytest.mark.parametrize(
    ("variable", "value", "codes"), [("A", "", True), ("NO_COLOR", "1", False), ("TERM", "dumb", False)]
)
def test_colors_are_for_terminals_that_want_them(variable, value, codes, write, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv(variable, value)
    text = write(Model(), StepProgressBar(), max_epochs=1, limit_val_batches=1)
    assert ("\x1b[2m" in text) == codes
    assert ("\r" in text) == (variable != "TERM")


FEWER = GradientAccumulationScheduler({0: 1, 1: 3})


@pytest.mark.parametrize(
    ("model", "callbacks", "options", "expected"),
    [
        # 4 + 1 batches an epoch
        (Model, [], {"max_epochs": 3, "accumulate_grad_batches": 4}, [f"{step}/6" for step in range(7)]),
        (Model, [], {"max_steps": 3, "max_epochs": -1}, ["0/3", "1/3", "2/3", "3/3"]),
        (Model, [], {"max_steps": 100, "max_epochs": 1}, [f"{step}/5" for step in range(6)]),
        # 5 + 2 steps, not 10
        (Model, [FEWER], {"max_epochs": 2}, [f"{step}/7" for step in range(8)]),
        (Model, [AtStep(2, stop)], {"max_epochs": 4}, ["0/20", "1/20", "2/20", "2/2"]),
        (Endless, [AtStep(5, stop)], {"max_epochs": -1}, [str(step) for step in range(6)]),
        (Endless, [], {"max_epochs": 1}, [str(step) for step in range(8)]),
        # how many steps a batch takes is not known before
        (Manual, [], {"max_epochs": 1}, ["0", "2", "4", "6", "8", "10"]),
        (Manual, [], {"max_steps": 4, "max_epochs": -1}, ["0/4", "2/4", "4/4"]),
        (Manual, [], {"max_steps": 5, "max_epochs": -1}, ["0/5", "2/5", "4/5", "6/6"]),
    ],
)
def test_it_counts_optimizer_steps_and_ends_full(model, callbacks, options, expected, fit):
    lines = fit(model(), slow(), *callbacks, **options)
    assert counts(lines) == expected
    assert lines[-1].startswith("100%|") or "/" not in expected[-1]


def test_what_is_logged_for_the_bar_and_a_users_own_metrics_are_shown(fit, tmp_path):
    class Own(StepProgressBar):
        def get_metrics(self, trainer, pl_module):
            return {**super().get_metrics(trainer, pl_module), "model": type(pl_module).__name__}

    lines = fit(Model(), Own(), max_epochs=1, limit_val_batches=1, logger=CSVLogger(tmp_path))
    assert "5/5, loss/train 4.000, loss/val 0.250, model Model [" in lines[-1]


@pytest.mark.parametrize("enabled", [True, False])
def test_a_line_is_printed_as_print_does_it(capsys, enabled):
    """Nothing in the processes whose bar Lightning disables."""
    bar = StepProgressBar()
    if not enabled:
        bar.disable()
    bar.print("a", 1, flush=True)
    bar.print("b", 2, sep=None, end=None)
    bar.print("c", end="!", file=sys.stderr, flush=True)
    assert tuple(capsys.readouterr()) == (("a 1\nb 2\n", "c!") if enabled else ("", ""))


def test_it_can_be_disabled_and_serves_several_trainings(fit):
    """Lightning disables it in every process but the first."""
    bar = StepProgressBar()
    bar.disable()
    assert fit(Model(), bar, max_epochs=1, limit_val_batches=1) == []
    bar.enable()
    assert counts(fit(Model(), bar, max_epochs=1)) == ["0/5", "5/5"]
    assert counts(fit(Model(), bar, max_steps=3, max_epochs=-1)) == ["0/3", "3/3"]


def test_an_exception_leaves_the_line_and_closes_the_bar(write):
    def fail(trainer):
        raise RuntimeError("of the test")

    bar = StepProgressBar(refresh_rate=1)
    with pytest.raises(RuntimeError, match="of the test"):
        write(Model(), bar, AtStep(3, fail), max_epochs=1)
    assert sys.stderr.getvalue().endswith("\n")
    assert bar._bar is None


def test_it_leaves_the_training_alone(trainer):
    """The same weights and the same random numbers with and without it."""

    def train(*callbacks):
        torch.manual_seed(3)
        model = Model()
        trainer(*callbacks, enable_progress_bar=bool(callbacks), max_epochs=2, limit_val_batches=1).fit(model)
        return model.layer.weight, torch.rand(3)

    for with_bar, without in zip(train(slow()), train(), strict=True):
        assert torch.equal(with_bar, without)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(2.5741, "2.574"), (0.0, "0.000"), (1e-4, "0.0001"), (-0.04567, "-0.0457"), (1e12, "1e+12"), (math.nan, "nan")],
)
def test_a_value_is_never_hidden_by_its_rounding(fit, value, shown):
    class Small(Model):
        def training_step(self, batch, batch_idx):
            self.log("value", torch.tensor(value, dtype=torch.float64), prog_bar=True)
            return self.step(batch)

    assert f"5/5, value {shown} [" in fit(Small(), StepProgressBar(), max_epochs=1)[-1]
