"""Chosen tests in a process that is forked from one that has imported the libraries, as scripts/mutate.py runs them."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import lightning.pytorch  # noqa: F401  # imported once, for all that are forked
import matplotlib.figure  # noqa: F401
import pytest
from covered import Suite, draw_alike
from tensorboard.backend.event_processing import event_accumulator  # noqa: F401

_FEWEST_SECONDS = 120
_OUTPUT, _FAILED = "output.txt", "failed.txt"  # of the tests, in each copy
# the plugins are imported already, and pytest says so
_PYTEST = ("-x", "-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")


class Run:
    """Some tests in a process that is forked from this one."""

    def __init__(self, copy: Path, chosen: Sequence[str], suite: Suite) -> None:
        self.report = copy / _FAILED
        self.report.unlink(missing_ok=True)
        self.deadline = time.monotonic() + max(_FEWEST_SECONDS, 4 * sum(suite.seconds[test] for test in chosen))
        self.child = os.fork()
        if self.child == 0:
            as_child(copy, chosen)
        self.ended: int | None = None

    def status(self) -> int | None:
        """Of pytest, -1 where it takes too long; None as long as it runs."""
        done, status = os.waitpid(self.child, os.WNOHANG)
        if done:
            self.ended = os.waitstatus_to_exitcode(status)
            return 0 if self.ended == pytest.ExitCode.NO_TESTS_COLLECTED else self.ended
        return -1 if time.monotonic() > self.deadline else None

    def failed(self) -> str | None:
        """The test that has failed; None where it was not a test."""
        return self.report.read_text(encoding="utf-8") if self.report.exists() else None

    def end(self) -> None:
        """Leave no process behind, none that a test has started either."""
        with suppress(ProcessLookupError):
            os.killpg(self.child, signal.SIGKILL)
        if self.ended is None:
            self.ended = os.waitpid(self.child, 0)[1]


def as_child(copy: Path, chosen: Sequence[str]) -> NoReturn:
    """Run these tests in this process, whose own the group is, and end it with pytest's exit status."""
    status = 3
    try:
        os.setsid()
        silence = os.open(copy / _OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for stream in (1, 2):
            os.dup2(silence, stream)
        os.chdir(copy)
        sys.path[:0] = [str(copy)]
        # processes that tests start find the copy too; what was compiled is not kept: it could be of another mutant
        os.environ.update(PYTHONPATH=str(copy), PYTHONDONTWRITEBYTECODE="1", OMP_NUM_THREADS="1")
        sys.dont_write_bytecode = True
        draw_alike()
        files = list(dict.fromkeys(test.partition("::")[0] for test in chosen))
        status = int(pytest.main([*_PYTEST, *files], plugins=[Chosen(chosen, copy / _FAILED)]))
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


class Chosen:
    """As a plugin of pytest: only these tests, in this order; the one that fails is written down."""

    def __init__(self, tests: Sequence[str], report: Path) -> None:
        self.place = {test: place for place, test in enumerate(tests)}
        self.report = report

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave the others out."""
        items[:] = sorted((item for item in items if item.nodeid in self.place), key=lambda i: self.place[i.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write down which one fails."""
        if report.failed:
            self.report.write_text(report.nodeid, encoding="utf-8")
