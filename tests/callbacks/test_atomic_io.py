"""Checkpoint files are there whole or not at all: kill -9, full disks, limits."""

import errno
import os
import signal
import stat
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from enum import Enum
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.fabric.utilities.apply_func import move_data_to_device
from lightning.pytorch.demos.boring_classes import BoringModel

from charlm.callbacks.atomic_io import AtomicCheckpointIO
from charlm.callbacks.run_checkpoint import RunCheckpoint

posix = pytest.mark.skipif(os.name != "posix", reason="needs the limits, locks and users of a Unix")


@contextmanager
def small_limit(folder):
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def full_disk(folder):
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=500k", "none", folder], capture_output=True).returncode:
        pytest.skip("this user may not mount a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@posix
@pytest.mark.parametrize(
    ("state", "cause", "advice"),
    [
        (small_limit, "File too large", r"\(ulimit -f\), or save to another folder"),
        (full_disk, "No space left on device", "free some space there, or save to another folder"),
    ],
)
def test_a_save_that_fails_says_why_and_leaves_the_last_good_one(state, cause, advice, trainer, tmp_path):
    class Growing(BoringModel):
        """Its checkpoint grows by a megabyte after the third step."""

        def on_save_checkpoint(self, checkpoint):
            checkpoint["more"] = torch.ones(250_000 if self.trainer.global_step > 3 else 1)

    folder = tmp_path / "folder"
    folder.mkdir()
    message = f"{cause}: this checkpoint was not written, and the one before it is as it was; .*{advice}: .*last.ckpt"
    keep = RunCheckpoint(folder, every_n_train_steps=3)
    with state(folder):
        with pytest.raises(OSError, match=message):
            trainer(keep, max_steps=12, enable_checkpointing=True, plugins=[AtomicCheckpointIO()]).fit(Growing())
        assert [file.name for file in folder.iterdir()] == ["last.ckpt"]
        assert AtomicCheckpointIO().load_checkpoint(folder / "last.ckpt")["global_step"] == 3


def test_what_cannot_be_packed_leaves_the_old_file(tmp_path):
    file = tmp_path / "a.ckpt"
    AtomicCheckpointIO().save_checkpoint({"a": 1}, file)
    with pytest.raises(Exception, match=r"pickle|local object"):
        AtomicCheckpointIO().save_checkpoint({"a": lambda: 1}, file)
    assert AtomicCheckpointIO().load_checkpoint(file) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.ckpt"]
    (tmp_path / "other").write_text("")
    assert file.stat().st_mode == (tmp_path / "other").stat().st_mode


@posix
@pytest.mark.parametrize(("number", "fails"), [(errno.EIO, True), (errno.EINVAL, False)])
def test_a_new_name_that_cannot_be_brought_to_the_disk_is_no_success(number, fails, tmp_path, monkeypatch):
    """But some file systems have no way to bring a folder there."""
    fsync = os.fsync

    def of_files_only(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", of_files_only)
    with pytest.raises(OSError, match="Input/output error: this checkpoint") if fails else nullcontext():
        AtomicCheckpointIO().save_checkpoint({"a": 1}, tmp_path / "a.ckpt")
    assert (tmp_path / "a.ckpt").exists() or fails


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("file/a.ckpt", "a folder on the way to it is a file: save to another folder"),
        ("folder", "save to another folder"),
    ],
)
def test_a_path_that_cannot_be_is_said_with_its_cause(name, what, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=f": this checkpoint was not written; {what}: ") as caught:
        AtomicCheckpointIO().save_checkpoint({"a": 1}, tmp_path / name)
    assert caught.value.filename == str(tmp_path / name)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder"]


SAVING = """
import sys
from charlm.callbacks.shared.whole_file import replacing
from pathlib import Path
with replacing(Path(sys.argv[1])) as stream:
    stream.write(b"half")
    stream.flush()
    print("writing", flush=True)
    sys.stdin.read()
"""


@posix
def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(tmp_path):
    file = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"a": 1}, file)
    (tmp_path / ".mine.partial").write_text("not charlm's")
    command = [sys.executable, "-P", "-c", SAVING, str(file)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as dead, subprocess.Popen(command, **pipes) as alive:
        for process in (dead, alive):
            assert process.stdout.readline() == b"writing\n"
        dead.send_signal(signal.SIGKILL)
        dead.wait()
        assert AtomicCheckpointIO().load_checkpoint(file) == {"a": 1}
        AtomicCheckpointIO().save_checkpoint({"a": 2}, file)
        left = sorted(entry.name for entry in tmp_path.iterdir())
        assert left == [f".last.ckpt.{alive.pid}.partial", ".mine.partial", "last.ckpt"]
        alive.kill()
    AtomicCheckpointIO().save_checkpoint({"a": 3}, file)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".mine.partial", "last.ckpt"]


class Kind(Enum):
    A = 1


@pytest.mark.parametrize(
    ("value", "name", "classes"),
    [
        (Path("data"), r"pathlib\.\S*Path", [type(Path())]),
        (Kind.A, r"\S*test_atomic_io\.Kind", [Kind]),
        (np.float64(0.5), r"\S*multiarray\.scalar", None),
        (partial(torch.optim.Adam, lr=0.1), r"functools\.partial", None),
    ],
    ids=["path", "enum", "numpy", "partial"],
)
def test_hparams_that_are_no_plain_values_are_named_when_saved_and_read_where_allowed(
    value, name, classes, trainer, tmp_path
):
    class WithHparams(BoringModel):
        def __init__(self, x):
            super().__init__()
            self.save_hyperparameters()

    file = tmp_path / "a.ckpt"

    def fit(steps, ckpt_path=None, **options):
        training = trainer(plugins=[AtomicCheckpointIO()], max_steps=steps, limit_train_batches=1)
        training.fit(WithHparams(value), ckpt_path=ckpt_path, **options)
        return training

    training = fit(1)
    with pytest.warns(UserWarning, match=rf"not be read as it is: the hyperparameter 'x' holds {name}.*add_safe_glob"):
        training.save_checkpoint(file)
    training.save_checkpoint(file)  # warns no second time: warnings are errors here
    with pytest.raises(ValueError, match=rf"plain values; none of it ran \({name}\); .*add_safe_globals, or .*False"):
        fit(2, file)
    assert fit(2, file, weights_only=False).global_step == 2
    if classes:
        with torch.serialization.safe_globals(classes):
            assert fit(2, file).global_step == 2
            AtomicCheckpointIO().save_checkpoint({"x": value}, file)


def test_a_tilde_is_the_home_as_with_lightnings_own(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for io in (AtomicCheckpointIO(), TorchCheckpointIO()):
        io.save_checkpoint({"a": 1}, "~/a.ckpt")
        assert (tmp_path / "a.ckpt").is_file()
        assert AtomicCheckpointIO().load_checkpoint("~/a.ckpt") == {"a": 1}
        AtomicCheckpointIO().remove_checkpoint("~/a.ckpt")
        assert not (tmp_path / "a.ckpt").exists()


def test_a_folder_of_a_checkpoints_name_is_not_removed(tmp_path):
    for name in ("a.ckpt", "b.ckpt"):
        AtomicCheckpointIO().remove_checkpoint(tmp_path / name)
    (tmp_path / "a.ckpt").write_text("")
    (tmp_path / "b.ckpt" / "deeper").mkdir(parents=True)
    for name in ("a.ckpt", "b.ckpt"):
        AtomicCheckpointIO().remove_checkpoint(tmp_path / name)
    assert [entry.name for entry in tmp_path.rglob("*")] == ["b.ckpt", "deeper"]


@pytest.mark.parametrize("address", ["http://example.org/a.ckpt", "s3://bucket/a", "file:///a", Path("hf:/a/b")])
def test_an_address_is_refused_with_the_way_to_do_it(address):
    with pytest.raises(ValueError, match=r" is an address; .* download it first and pass its path"):
        AtomicCheckpointIO().load_checkpoint(address)
    with pytest.raises(ValueError, match=r" is an address"):
        AtomicCheckpointIO().save_checkpoint({}, address)


def test_a_file_of_something_else_says_what_it_lacks(trainer, tmp_path):
    torch.save({"weights": torch.ones(1)}, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match=r"a\.ckpt has no '.*', so no Trainer wrote it; pass a checkpoint of a"):
        trainer(plugins=[AtomicCheckpointIO()], max_steps=1).fit(BoringModel(), ckpt_path=tmp_path / "a.ckpt")
    moved = move_data_to_device(AtomicCheckpointIO().load_checkpoint(tmp_path / "a.ckpt"), "cpu")
    with pytest.raises(ValueError, match=r"^this has no 'loops', so no Trainer wrote it"):
        moved["loops"]  # Lightning has made another one of the same class, from its items alone
    torch.save([1], tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match="it holds a list"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "a.ckpt")
