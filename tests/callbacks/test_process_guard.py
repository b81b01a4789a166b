"""What a guard does where there is nothing to guard; what it does with real processes is in tests/test_processes.py."""

import os
import threading

import pytest
from lightning.pytorch.demos.boring_classes import BoringModel

from charlm.callbacks.process_guard import ProcessGuard


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """What a guard leaves in it goes again."""
    monkeypatch.setenv("PROCESS_GUARD_FIRST", "0")
    monkeypatch.delenv("LOCAL_RANK", raising=False)


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan")])
def test_a_time_that_is_none_is_refused(timeout):
    with pytest.raises(ValueError, match=f"^ProcessGuard's timeout is {timeout}; give a number of seconds above 0"):
        ProcessGuard(timeout)


def test_one_process_has_no_thread_more(trainer):
    seen = []

    class Model(BoringModel):
        def on_train_batch_start(self, batch, batch_idx):
            seen.extend(thread.name for thread in threading.enumerate())

    trainer(ProcessGuard(), max_steps=1).fit(Model())
    assert seen
    assert "process-watch" not in seen


def test_an_error_of_its_own_stays_what_it_is(trainer):
    class Model(BoringModel):
        def on_train_batch_start(self, batch, batch_idx):
            raise ConnectionError("of a data base")

    with pytest.raises(ConnectionError, match=r"^of a data base"):
        trainer(ProcessGuard(), max_steps=1).fit(Model())


def test_the_processes_that_are_launched_know_the_first_one():
    ProcessGuard()
    assert os.environ["PROCESS_GUARD_FIRST"] == str(os.getpid())
