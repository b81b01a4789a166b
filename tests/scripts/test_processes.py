"""Two processes that train together go on together after a stop, and learn what one process learns."""

import json
import os
import sys
import time
from pathlib import Path

import pytest

from charlm.data.corpus import read_corpus
from charlm.runs.events import read_scalars

SCRIPTS = Path(__file__).parents[2] / "scripts" / "reliability"
TWO = ["--trainer.devices=2", "--trainer.accelerator=cpu"]
NAMES = sorted(set(read_corpus().names()))[:4002]
QUIET = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")]


@pytest.fixture(scope="module")
def fit(popen):
    """`charlm fit` in a folder, with every step recorded by each process; a signal may end it after a step."""

    def fit(folder, *options, send=None, after=0):
        folder.mkdir(exist_ok=True)
        names = folder.with_name("names.txt")
        names.write_text("\n".join(NAMES))
        recorder = ["--trainer.callbacks+=kill_recorder.Recorder", "--trainer.callbacks.file=records.jsonl"]
        options = [*options, *([] if "--resume" in options else [f"--data={names}", *recorder, *QUIET])]
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(map(str, (SCRIPTS, SCRIPTS.parents[1]))),
        }
        with (folder / "said.txt").open("ab") as said:
            command = [sys.executable, "-m", "charlm", "fit", *options]
            process = popen(command, cwd=folder, env=environment, stdout=said, stderr=said)
        while send and not any(line.get("step") == after for line in records(folder)):
            assert process.poll() is None, (folder / "said.txt").read_text()
            time.sleep(0.01)
        if send:
            os.killpg(process.pid, send)
        return process.wait(timeout=200)

    return fit


def records(folder, rank=0):
    """The lines of one process that were written whole."""
    files = [file for name in ("records.jsonl", f"records.jsonl.{rank}") if (file := folder / name).exists()]
    return [json.loads(line) for file in files for line in file.read_bytes().split(b"\n")[:-1]]


def steps(folder, rank=0):
    return [line for line in records(folder, rank) if "hook" not in line]


def test_killed_and_stopped_and_resumed_they_are_what_they_would_have_been(fit, script, tmp_path):
    net = ["--config=rnn", "--model.n_embd=8", "--model.n_hidden=16", "--model.dropout=0.2"]
    length = ["--trainer.max_steps=60", "--trainer.max_epochs=-1", "--trainer.accumulate_grad_batches=3"]
    validations = ["--trainer.val_check_interval=15", "--trainer.check_val_every_n_epoch=null"]
    assert fit(tmp_path / "alone", *net, *length, *validations, *TWO) == 0
    broken = tmp_path / "broken"
    assert fit(broken, *net, *length, *validations, *TWO, send=9, after=20) == -9
    assert fit(broken, "--resume", send=15, after=40) == 143
    assert fit(broken, "--resume") == 0
    runs = [script("compare_runs").run_in(folder) for folder in (tmp_path / "alone", broken)]
    assert script("compare_runs").differences(*runs) == []
    killloop = script("killloop")
    for rank in range(2):
        expected = killloop.by_batch(records(tmp_path / "alone", rank))
        found = steps(broken, rank)
        assert len(found) > len(expected) == 12 * 13, "no batch was done twice"  # 5 steps an epoch
        assert [line for line in found if line != expected[line["epoch"], line["place"]]] == []
        assert killloop.by_batch(found).keys() == expected.keys()
        hooks = [killloop.surviving_hooks(records(folder, rank)) for folder in (tmp_path / "alone", broken)]
        assert hooks[0] == hooks[1]


RNN = ["--config=rnn", "--model.n_embd=8", "--model.n_hidden=16", "--model.dropout=0", "--trainer.max_epochs=-1"]


@pytest.mark.parametrize(("net", "most"), [([], 100), (RNN, 50)], ids=["windows", "whole names"])
def test_two_learn_what_one_learns(fit, tmp_path, net, most):
    """Of names 50 steps: the 51st batch is an epoch's last one, of one name, and two processes get one each."""
    one, two = tmp_path / "one", tmp_path / "two"
    steps_of_it = [f"--trainer.max_steps={most}", "--trainer.val_check_interval=25"]
    steps_of_it += ["--trainer.check_val_every_n_epoch=null"]
    assert fit(one, *net, *steps_of_it, "--data.batch_size=64") == 0
    assert fit(two, *net, *steps_of_it, "--data.batch_size=32", *TWO) == 0
    assert [line["weights"] for line in steps(two, 0)] == [line["weights"] for line in steps(two, 1)]
    losses = [[float.fromhex(line["loss"]) for line in steps(*of)] for of in ((one, 0), (two, 0), (two, 1))]
    assert len(losses[0]) == len(losses[1]) == most
    for alone, first, second in zip(*losses, strict=True):
        assert (first + second) / 2 == pytest.approx(alone, abs=1e-6)
    assert files(one) == files(two)
    for tag in ("loss/train", "loss_mean/train", "loss/val"):
        curves = [read_scalars(next(of.glob("lightning_logs/*")), bool).curves[tag] for of in (one, two)]
        assert curves[1][0].tolist() == curves[0][0].tolist() != []
        assert curves[1][1] == pytest.approx(curves[0][1], rel=1e-5)
    assert (two / "said.txt").read_text().count("Losses in nats per character") == 1
    assert (two / "said.txt").read_text().count("4,002 names") == 1


def files(folder):
    """The kinds of files in its run, and how many of each."""
    (run,) = folder.glob("lightning_logs/*")
    names = [file.name for file in run.rglob("*") if file.is_file()]
    return sorted("events" if name.startswith("events") else name for name in names)
