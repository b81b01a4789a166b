"""A watch over real processes. Two trainings that lose each other are in tests/test_processes.py."""

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from charlm.callbacks.process_watch import Watch

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")


@pytest.fixture
def launched():
    """Starts shell commands as a launcher does: it holds them in `procs`."""
    every = []

    def launched(*commands):
        procs = [subprocess.Popen(["sh", "-c", command]) for command in commands]
        every.extend(procs)
        return SimpleNamespace(procs=procs), list(procs)

    yield launched
    for process in every:
        process.kill()
        process.wait()


def lost(watch, seconds=20.0):
    watch.start()
    try:
        return watch.wait(seconds)
    finally:
        watch.leave()
        watch.join()


@pytest.mark.parametrize("status", [1, 3])
def test_one_that_ends_with_a_status_is_lost_and_others_are_left_to_end(launched, status):
    launcher, (sound, failed) = launched("sleep 60", f"exit {status}")
    found = lost(Watch(60.0, launcher=launcher))
    said = f"Process 2 of this training ({failed.pid}) has ended with exit status {status}, and so the others end too."
    assert (found.message, found.exit_status) == (said, status)
    assert launcher.procs == [], "Lightning looks after none of them"
    assert sound.poll() is None


def test_one_that_a_signal_ends_is_lost_by_its_name(launched):
    launcher, (killed,) = launched("kill -9 $$")
    found = lost(Watch(60.0, launcher=launcher))
    assert f"Process 1 of this training ({killed.pid}) was ended by SIGKILL" in found.message
    assert found.exit_status == 128 + 9


def test_one_that_stands_still_for_the_timeout_is_killed_and_not_sooner(launched):
    launcher, (stood,) = launched("kill -STOP $$; sleep 60")
    began = time.monotonic()
    found = lost(Watch(1.5, launcher=launcher))
    assert time.monotonic() - began > 1.4
    assert "stood still for 1.5 seconds, so it was killed" in found.message
    assert found.exit_status == 128 + 9
    assert stood.wait(10) == -signal.SIGKILL


def test_those_that_work_or_have_done_their_work_are_not_lost(launched):
    launcher, processes = launched("sleep 60", "exit 0")
    assert lost(Watch(0.5, launcher=launcher), 1.5) is None
    assert [process.poll() for process in processes] == [None, 0]


def test_in_the_end_the_others_have_their_time_and_then_none_stays(launched):
    launcher, (quick, slow) = launched("sleep 0.5; exit 7", "sleep 60")
    began = time.monotonic()
    Watch(60.0, launcher=launcher).end_others(2.0)
    assert 1.9 < time.monotonic() - began < 30
    assert (quick.wait(10), slow.wait(10)) == (7, -signal.SIGKILL)


def test_the_first_process_is_lost_where_it_is_not_the_parent_any_more():
    parent = os.getppid()
    assert lost(Watch(60.0, first=parent), 0.7) is None
    found = lost(Watch(60.0, first=parent + 1))
    message = f"The first process of this training ({parent + 1}) has ended, and so does this one."
    assert (found.message, found.exit_status) == (message, 1)


PROGRAM = """
import subprocess, time
from types import SimpleNamespace
from charlm.callbacks.process_watch import Watch

others = [subprocess.Popen(["sh", "-c", command]) for command in ("sleep 0.5; exit 5", "exec sleep 60")]
print(others[1].pid, flush=True)
watch = Watch(60.0, launcher=SimpleNamespace(procs=others))
watch.start()
time.sleep(60)
"""


def test_who_does_not_end_by_itself_is_ended_with_the_message_and_takes_the_others_along(python, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    done = python("program.py")
    assert done.returncode == 5
    assert done.stderr.strip().endswith("has ended with exit status 5, and so the others end too.")
    shown = subprocess.run(["ps", "-o", "stat=", "-p", done.stdout.strip()], capture_output=True, text=True)
    assert shown.stdout.strip()[:1] in ("", "Z"), "gone, or nobody has asked for its status"


@pytest.mark.parametrize("leaves", [True, False])
def test_nobody_is_ended_after_leaving(launched, leaves):
    """Else the tests would end here, after two seconds of grace."""
    launcher, _ = launched("exit 3")
    watch = Watch(60.0, launcher=launcher)
    watch.start()
    time.sleep(0.5)
    watch.leave() if leaves else watch.wait(1.0)
    watch.join(4.0)
    assert not watch.is_alive()
