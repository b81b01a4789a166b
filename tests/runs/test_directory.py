import errno
import os
from pathlib import Path

import pytest

from charlm.runs.directory import (
    LAST,
    checkpoints_of,
    find_checkpoint,
    hold,
    read_results,
    run_directory,
    write_results,
)


def touch(path, age=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    os.utime(path, (1_000_000 - age, 1_000_000 - age))
    return path


def test_a_run_gives_its_best_checkpoint_then_its_last_then_its_newest(tmp_path):
    newest = touch(tmp_path / "checkpoints" / "epoch=3.ckpt")
    touch(tmp_path / "checkpoints" / "epoch=2.ckpt", age=50)
    touch(tmp_path / "checkpoints" / ".best.ckpt", age=-9)
    assert find_checkpoint(tmp_path) == newest
    last = touch(tmp_path / "checkpoints" / "last.ckpt", age=100)
    assert find_checkpoint(tmp_path) == last
    best = touch(tmp_path / "checkpoints" / "best.ckpt", age=200)
    assert find_checkpoint(tmp_path) == find_checkpoint(str(tmp_path / "checkpoints")) == best
    assert find_checkpoint(tmp_path, prefer=LAST) == last
    assert find_checkpoint(newest) == newest
    assert checkpoints_of(tmp_path) == [last, best]
    assert run_directory(best) == tmp_path
    assert run_directory(Path("downloads/best.ckpt")) == Path("downloads")


def test_without_a_place_the_newest_run_is_meant(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(Path("lightning_logs/version_9/checkpoints/best.ckpt"), age=100)
    best = touch(Path("lightning_logs/version_10/checkpoints/best.ckpt"), age=60)
    touch(Path("lightning_logs/version_10/checkpoints/last.ckpt"), age=50)
    assert find_checkpoint() == find_checkpoint("lightning_logs") == best
    assert find_checkpoint(root="lightning_logs/version_9").parts[1] == "version_9"


def test_a_run_of_an_older_charlm_is_refused_with_what_to_do(tmp_path):
    best = touch(tmp_path / "checkpoints" / "best-step000200-val2.1234.ckpt")
    touch(tmp_path / "checkpoints" / "last.ckpt")
    with pytest.raises(ValueError, match=r"is a run of an older charlm; pass one of its files, .*val2\.1234\.ckpt"):
        find_checkpoint(tmp_path)
    assert find_checkpoint(best) == best


def test_where_there_is_none_the_message_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="no run under lightning_logs; train one with `charlm fit`, or give"):
        find_checkpoint()
    with pytest.raises(FileNotFoundError, match=r"gone.ckpt does not exist; pass a .ckpt file, or a run by its direct"):
        find_checkpoint("gone.ckpt")
    with pytest.raises(FileNotFoundError, match=r"has no checkpoint \(\*.ckpt\) in it"):
        find_checkpoint(tmp_path)


def test_a_run_that_may_not_be_read_is_not_called_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = touch(Path("lightning_logs/001-mlp/checkpoints/best.ckpt")).parent
    tmp_path.chmod(0o755)
    folder.chmod(0)
    user = os.geteuid()
    os.seteuid(user or 65534)  # root may read everything
    try:
        with pytest.raises(PermissionError, match=str(folder)):
            find_checkpoint()
    finally:
        os.seteuid(user)
        folder.chmod(0o755)


def test_results_come_back(tmp_path):
    run = tmp_path / "version_0"
    assert read_results(run) == {}
    results = {"train": 2.1, "val": 2.2, "test": None, "checkpoint": "best.ckpt", "step": 10}
    write_results(run, {"train": 9.0})
    write_results(run, results)
    assert read_results(run) == results
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_results(run, {"val": object()})
    assert read_results(run) == results, "those that cannot be written leave the old ones"
    assert [file.name for file in run.iterdir()] == ["results.json"]


@pytest.mark.parametrize("text", ["", "[1]", "3", "\xff", pytest.param("[" * 200_000, id="nested")])
def test_damaged_results_are_named(text, tmp_path):
    (tmp_path / "results.json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"results.json is not a table of results in JSON"):
        read_results(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EBADF])
def test_a_file_system_without_locks_is_said_and_the_run_trains(tmp_path, monkeypatch, caplog, number):
    """Lustre without -o flock, FUSE, some NFS."""
    fcntl = pytest.importorskip("fcntl")

    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with hold(tmp_path / "run"):
        assert (tmp_path / "run").is_dir()
    (message,) = caplog.messages
    assert "run cannot be locked" in message
    assert "nothing stops a second process from training in the same run" in message


def test_a_run_that_another_process_trains_is_refused(tmp_path):
    pytest.importorskip("fcntl")
    refused = pytest.raises(ValueError, match=r"another process is training in .*run; wait for its end, or start a new")
    with hold(tmp_path / "run"), refused, hold(tmp_path / "run"):
        pass
    with hold(tmp_path / "run"):
        pass
