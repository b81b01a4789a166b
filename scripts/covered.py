"""Which tests run which lines of charlm, and for how long: one run of the suite under coverage.

It is also the plugin of pytest that this run needs, by which the tests are drawn as those of mutants are.
"""

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import coverage
import hypothesis
import pytest

_OUTCOMES = "CHARLM_OUTCOMES"
_LONG = 0.2  # seconds
_OPTIONS = ("-q", "-p", "no:cacheprovider", "-p", "covered", "--cov=charlm", "--cov-context=test", "--cov-report=")


@dataclass(frozen=True)
class Suite:
    """What a run of the suite has told.

    Args:
        seconds: that a test took, by test; of those that passed.
        lines: places in `seconds` of those that run a line, by line, by file; those of other processes are not seen.
        sizes: how many lines of the package a test runs, by test.
    """

    seconds: dict[str, float]
    lines: dict[str, dict[str, list[int]]]
    sizes: dict[str, int]

    def write(self, file: Path) -> None:
        """Keep it."""
        file.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, file: Path) -> "Suite":
        """Of an earlier run, of the same code."""
        return cls(**json.loads(file.read_text(encoding="utf-8")))

    def tests_of(self, file: str, lines: range) -> list[str]:
        """The tests that run one of these lines, those first whose lines are most of this file.

        So a test that is about the file comes before one of a command that uses it among all else. Of a test with
        several cases that take long one comes first, the second one after all first ones, and so on.
        """
        ran: dict[int, int] = defaultdict(int)
        touched = set()
        for line, tests in self.lines.get(file, {}).items():
            for test in tests:
                ran[test] += 1
            if int(line) in lines:
                touched |= set(tests)
        names = list(self.seconds)
        about = sorted(touched, key=lambda k: (-ran[k] / self.sizes[names[k]], names[k]))
        cases: dict[str, int] = defaultdict(int)
        turns = []
        for name in (names[k] for k in about):
            function = name.partition("[")[0]
            is_long = self.seconds[name] > _LONG
            turns.append((cases[function] if is_long else 0, name))
            cases[function] += is_long
        return [name for _, name in sorted(turns, key=lambda turn: turn[0])]


def run_suite(root: Path, folder: Path, tests: tuple[str, ...], jobs: int) -> Suite:
    """Run these tests, or all, of the project in `root`; what is passed on goes to `folder`.

    Raises:
        SystemExit: pytest did not run; tests that fail are named, and left out.
    """
    outcomes, data = folder / "outcomes.json", folder / "coverage"
    path = os.pathsep.join([str(root), str(Path(__file__).parent)])
    environment = {**os.environ, "PYTHONPATH": path, "COVERAGE_FILE": str(data), _OUTCOMES: str(outcomes)}
    spread = ("--numprocesses", str(jobs), "--dist", "loadfile", "--no-loadscope-reorder") if jobs > 1 else ()
    command = [sys.executable, "-m", "pytest", *_OPTIONS, *spread, *tests]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, encoding="utf-8")
    if done.returncode not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise SystemExit(f"{done.stdout}{done.stderr}\nmutate.py: the tests do not run without a mutant")
    took, failed = json.loads(outcomes.read_text(encoding="utf-8"))
    for test in failed:
        print(f"left out, as it fails without a mutant: {test}", file=sys.stderr)
    return suite_of(root, data, {test: seconds for test, seconds in took.items() if test not in failed})


def suite_of(root: Path, data: Path, seconds: dict[str, float]) -> Suite:
    """The tests of each line, out of coverage's data."""
    kept = coverage.CoverageData(str(data))
    kept.read()
    place = {test: k for k, test in enumerate(seconds)}
    of_file = defaultdict(set)
    for test in place:
        of_file[test.partition("::")[0]].add(test)

    def tests_in(contexts: list[str]) -> Iterator[str]:
        for context in contexts:
            test, _, phase = context.rpartition("|")
            # what is set up for one test may serve all of its file
            yield from of_file[test.partition("::")[0]] if phase == "setup" else {test} & place.keys()

    lines: dict[str, dict[str, list[int]]] = {}
    sizes: dict[str, int] = defaultdict(int)
    for measured in sorted(kept.measured_files()):
        file = Path(measured).relative_to(root).as_posix()
        lines[file] = {}
        for line, contexts in kept.contexts_by_lineno(measured).items():
            tests = set(tests_in(contexts))
            lines[file][str(line)] = sorted(place[test] for test in tests)
            for test in tests:
                sizes[test] += 1
    return Suite(seconds, lines, dict(sizes))


def draw_alike() -> None:
    """Let hypothesis draw the same examples each time; a failing one need not be made smaller."""
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile("mutants", deadline=None, derandomize=True, database=None, phases=phases)
    hypothesis.settings.load_profile("mutants")


class Outcomes:
    """Keeps how long each test took, and which ones failed, in a file."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.seconds: dict[str, float] = defaultdict(float)
        self.failed: set[str] = set()
        self.skipped: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a phase of a test."""
        self.seconds[report.nodeid] += report.duration
        if not report.passed:
            (self.failed if report.failed else self.skipped).add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        """Write the file."""
        ran = {test: seconds for test, seconds in self.seconds.items() if test not in self.skipped}
        Path(self.file).write_text(json.dumps([ran, sorted(self.failed)]), encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    """As a plugin: draw alike in every process, and keep the outcomes in the first."""
    draw_alike()
    if not hasattr(config, "workerinput") and _OUTCOMES in os.environ:
        config.pluginmanager.register(Outcomes(os.environ[_OUTCOMES]))
