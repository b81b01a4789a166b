"""Signals, sent to real processes that train."""

import multiprocessing
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import LambdaCallback, ModelCheckpoint
from lightning.pytorch.demos.boring_classes import BoringModel

from charlm.callbacks.graceful_stop import GracefulStop, Stopped
from charlm.callbacks.internals.workers import Outlive

PROGRAM = """
import sys, time
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.demos.boring_classes import BoringModel, RandomDataset
from torch.utils.data import DataLoader
from charlm.callbacks import ExactResume, GracefulStop, RunCheckpoint, StepsPerExecution

class Slow(Callback):
    def on_train_start(self, trainer, pl_module):
        if "sweep" in sys.argv:
            list(map(trainer.optimizers[0].step, [None] * 3))
            trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step.total.completed += 3
            print("ready", flush=True)
            time.sleep(60)
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        time.sleep(0.02)
        print("ready" if trainer.global_step > 2 else "", flush=True)
        time.sleep(5.0 if "slow" in sys.argv and trainer.global_step > 2 else 0.0)
    def on_train_end(self, trainer, pl_module):
        print("whole", flush=True)

class Model(BoringModel):
    def train_dataloader(self):
        workers = dict(num_workers=2, multiprocessing_context="fork") if "workers" in sys.argv else {}
        return DataLoader(RandomDataset(32, 1000), **workers)

keep = RunCheckpoint("kept", every_n_train_steps=10**6)
Trainer(
    accelerator="cpu", max_steps=500, limit_val_batches=0, logger=False, enable_model_summary=False,
    enable_progress_bar=False, callbacks=[GracefulStop(), ExactResume(), Slow(), StepsPerExecution(100), keep],
).fit(Model())
"""


@pytest.fixture
def run(tmp_path, popen):
    """A process that trains, has done at least two steps, and gets signals; gives its status and what it said."""

    def run(*signals, how=""):
        (tmp_path / "program.py").write_text(PROGRAM)
        command = [sys.executable, "program.py", how]
        with (tmp_path / "out").open("w+") as out, (tmp_path / "err").open("w+") as err:
            process = popen(command, cwd=tmp_path, stdout=out, stderr=err, env=os.environ)
            while "ready\n" not in (tmp_path / "out").read_text():
                assert process.poll() is None, err.read()
                time.sleep(0.01)
            for signum in signals:
                os.killpg(process.pid, signum)  # its workers, too
            process.wait(timeout=60)
            return process.returncode, out.read(), err.read()

    return run


@pytest.mark.parametrize(
    ("signum", "status", "how"), [(signal.SIGINT, 130, ""), (signal.SIGTERM, 143, ""), (signal.SIGTERM, 143, "workers")]
)
def test_the_step_is_finished_and_the_state_saved(run, tmp_path, signum, status, how):
    code, out, err = run(signum, how=how)
    assert (code, "whole" in out) == (status, False)
    assert f"{signum.name}: saving and stopping after this step; a second signal ends it at once" in err
    saved = torch.load(tmp_path / "kept" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == out.count("\n") + 1 or 2 < saved["global_step"] < 100, "in mid-execution"


def test_the_training_can_end_a_worker_that_hangs():
    context = multiprocessing.get_context("forkserver")  # whose workers are not children of the training
    barrier = context.Barrier(2)
    worker = context.Process(target=Outlive(barrier.wait), args=(60,))
    worker.start()
    while barrier.n_waiting == 0:
        time.sleep(0.01)
    worker.terminate()
    worker.join(20)
    assert worker.exitcode == 0


def test_a_loader_of_another_kind_is_left_alone(trainer):
    class Loader(list):
        options = "num_workers=2"

    trainer(GracefulStop(), max_steps=1).fit(BoringModel(), Loader([torch.ones(2, 32)]))


def test_a_closed_terminal_loses_nothing(popen, tmp_path):
    """Two signals come, the system's and the shell's, one of them late, and nothing can be printed any more."""
    (tmp_path / "program.py").write_text(PROGRAM)
    here, there = os.openpty()
    with open(os.ttyname(there), "w") as terminal:
        command = [sys.executable, "program.py", "slow"]
        process = popen(command, cwd=tmp_path, stdout=terminal, stderr=terminal, env=os.environ)
    while b"ready" not in os.read(here, 1000):
        pass
    os.close(there)
    os.close(here)
    process.send_signal(signal.SIGHUP)
    with suppress(ProcessLookupError):
        while process.poll() is None:  # it goes on for a while after it has saved its state
            process.send_signal(signal.SIGHUP)
            time.sleep(0.001)
    assert process.wait(timeout=60) == 129
    assert torch.load(tmp_path / "kept" / "last.ckpt", weights_only=True)["global_step"] > 2


def test_under_nohup_the_training_goes_on(trainer, tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        sent = _Sends(lambda: signal.raise_signal(signal.SIGHUP))
        (fitted := trainer(GracefulStop(), sent, max_steps=4, default_root_dir=tmp_path)).fit(BoringModel())
        assert (fitted.global_step, signal.getsignal(signal.SIGHUP)) == (4, signal.SIG_IGN)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_signal_ends_at_once(run):
    """Whichever comes second, where the system hands over both at once."""
    assert run(signal.SIGINT, signal.SIGTERM, how="slow")[0] in (-signal.SIGTERM, -signal.SIGINT)


def test_before_the_first_step_it_ends_at_once_and_saves_nothing(run, tmp_path):
    assert run(signal.SIGINT, how="sweep")[0] == 130
    assert not list(Path(tmp_path).rglob("*.ckpt"))


class _Sends(Callback):
    """Ends a training by what it does in the second step."""

    def __init__(self, does):
        self.does = does

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == 1:
            self.does()


def _fails():
    raise RuntimeError("on purpose")


@pytest.fixture
def came():
    """The signals that came to handlers of the test's own."""
    came = []
    before = [(signum, signal.signal(signum, lambda signum, frame: came.append(signum))) for signum in (2, 15)]
    yield came
    for signum, handler in before:
        signal.signal(signum, handler)


def test_after_a_training_that_failed_or_was_stopped_signals_do_what_they_did(trainer, came, tmp_path):
    """Lightning sets the handlers again that it found when the training began."""
    for ends, error in ((_fails, RuntimeError), (lambda: signal.raise_signal(signal.SIGTERM), Stopped)) * 2:
        with pytest.raises(error):
            trainer(GracefulStop(), _Sends(ends), max_steps=5, default_root_dir=tmp_path).fit(BoringModel())
    assert came == []
    for signum in (signal.SIGINT, signal.SIGTERM) * 2:
        signal.raise_signal(signum)
    assert came == [signal.SIGINT, signal.SIGTERM] * 2


class _Interrupted(Callback):
    """Ctrl-C comes when the training is over and the signals are given back."""

    def teardown(self, trainer, pl_module, stage):
        raise KeyboardInterrupt


@pytest.mark.parametrize("end", [{"max_steps": 2}, {"max_epochs": 1, "limit_train_batches": 2}])
@pytest.mark.parametrize("validations", [0, 1])
def test_a_signal_during_the_last_step_lets_training_end_normally(trainer, end, validations):
    sent = _Sends(lambda: signal.raise_signal(signal.SIGTERM))
    (fitted := trainer(GracefulStop(), sent, limit_val_batches=validations, **end)).fit(BoringModel())
    assert (fitted.global_step, fitted.state.status) == (2, "finished")


def test_ctrl_c_after_the_last_step_has_the_status_of_ctrl_c(trainer, tmp_path):
    with pytest.raises(Stopped) as stopped:
        trainer(GracefulStop(), _Interrupted(), max_steps=2, default_root_dir=tmp_path).fit(BoringModel())
    assert stopped.value.code == 130


def test_an_error_before_it_was_set_up_is_that_error(trainer, tmp_path):
    class Unprepared(BoringModel):
        def prepare_data(self):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        trainer(GracefulStop(), max_steps=2, default_root_dir=tmp_path).fit(Unprepared())


@pytest.mark.parametrize("folder", ["kept", "."], ids=["of a ModelCheckpoint", "of the trainer"])
def test_without_our_checkpoints_the_state_is_saved_all_the_same(trainer, tmp_path, folder):
    callbacks = [GracefulStop(), *[ModelCheckpoint(tmp_path / folder)] * (folder == "kept")]
    options = {"limit_train_batches": 2, "enable_checkpointing": folder == "kept", "max_steps": 4}
    stop = _Sends(lambda: signal.raise_signal(signal.SIGTERM))  # at the last batch of an epoch
    with pytest.raises(Stopped) as stopped:
        trainer(stop, *callbacks, **options).fit(BoringModel())
    assert stopped.value.file == str(tmp_path / folder / "stopped.ckpt")
    seen = []
    rest = LambdaCallback(on_train_batch_end=lambda trainer, *_: seen.append((trainer.current_epoch, _[-1])))
    trainer(rest, *callbacks, **options).fit(BoringModel(), ckpt_path=stopped.value.file)
    assert seen == [(1, 0), (1, 1)]


class _SendsAmidTheSanityCheck(Callback):
    def on_validation_batch_start(self, trainer, *_):
        if trainer.sanity_checking:
            signal.raise_signal(signal.SIGTERM)


def test_in_the_sanity_check_it_ends_at_once(trainer, tmp_path):
    """There Lightning has set its own handlers since the set-up."""
    options = {"num_sanity_val_steps": 1, "limit_val_batches": 1, "default_root_dir": tmp_path}
    with pytest.raises(Stopped) as stopped:
        trainer(GracefulStop(), _SendsAmidTheSanityCheck(), max_steps=2, **options).fit(model := BoringModel())
    assert (stopped.value.code, stopped.value.file, model.trainer.global_step) == (143, None, 0)
