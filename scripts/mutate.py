"""How many small faults, put into the code one by one, the tests find: the mutation score.

python scripts/mutate.py                                                       150 mutants of all areas, an hour
python scripts/mutate.py --files [charlm/data/batches.py] --mutants 40 --seed 3 --suite suite.json

A mutant is the code with one thing changed, see mutants.py. First the whole suite runs once, to see which tests run
which lines, see covered.py. Then a sample of all mutants is drawn, each is put into a copy of the project, and the
tests that run the changed line are run until one fails, those first that are about its file.

A mutant is killed where a test fails or they take four times as long as on the unchanged code. Printed are those that
no test noticed; some of them change nothing that can be seen, such as the size of a block. Tests are run by processes
that are forked from one that has imported the libraries, so this needs Linux or macOS.
"""

import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import lightning.pytorch  # noqa: F401  # imported once, for all that are forked
import matplotlib.figure  # noqa: F401
import pytest
from covered import Suite, draw_alike, run_suite
from jsonargparse import auto_cli
from jsonargparse.typing import NonNegativeInt, PositiveInt
from mutants import Mutant, mutants_of
from tensorboard.backend.event_processing import event_accumulator  # noqa: F401

ROOT = Path(__file__).resolve().parents[1]
AREAS = ("charlm/data/*.py", "charlm/tokenizer.py", "charlm/callbacks/*.py", "charlm/checkpoints.py")
_NEEDED = ("charlm", "tests", "scripts", ".ci", "pyproject.toml", "README.md", "constraints.txt", "LICENSE")
_BY_PROCESSES = dict.fromkeys(  # tests of what only processes run that they start, in a file of another name
    ("charlm/callbacks/process_guard.py", "charlm/callbacks/process_watch.py"), "tests/test_processes.py"
)
_MOST_SECONDS = 180  # of the tests that run a mutant's line
_FEWEST_SECONDS = 30
_OUTPUT = "output.txt"
# the plugins are imported already, and pytest says so
_PYTEST = ("-x", "-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")


def main(
    files: tuple[str, ...] = AREAS,
    mutants: PositiveInt = 150,
    seed: NonNegativeInt = 0,
    jobs: PositiveInt = 2,
    tests: tuple[str, ...] = (),
    suite: Path | None = None,
) -> None:
    """Draw mutants, run the tests on each, and print the survivors as they are found and the score.

    Args:
        files: what to change, as paths or patterns in the project.
        mutants: how many to draw; all where there are fewer.
        seed: of the draw.
        jobs: mutants at a time.
        tests: files of tests to take, instead of the whole suite.
        suite: where to keep which tests run which lines; if the file is there, the suite is not run for it again.
    """
    chosen = sorted({path for pattern in files for path in ROOT.glob(pattern) if path.name != "__init__.py"})
    every = [mutant for path in chosen for mutant in mutants_of(str(path.relative_to(ROOT)), path.read_bytes())]
    drawn = random.Random(seed).sample(every, min(mutants, len(every)))
    drawn.sort(key=lambda mutant: (mutant.file, mutant.start))
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies = [copied(Path(folder).resolve() / f"copy{job}") for job in range(jobs)]
        known = Suite.read(suite) if suite and suite.is_file() else run_suite(copies[0], Path(folder), tests, jobs)
        if suite:
            known.write(suite)
        survivors = survivors_of(drawn, copies, known)
    for file in sorted({mutant.file for mutant in drawn}):
        of_file = [mutant for mutant in drawn if mutant.file == file]
        lost = sum(mutant.file == file for mutant in survivors)
        print(f"{file}: {len(of_file) - lost} of {len(of_file)} killed")
    print(f"of {len(every)} mutants {len(drawn)} drawn, {len(drawn) - len(survivors)} killed,", end=" ")
    print(f"{len(survivors)} survived: score {1 - len(survivors) / len(drawn):.1%}")


def survivors_of(drawn: list[Mutant], copies: list[Path], suite: Suite) -> list[Mutant]:
    """Those that no test notices, which are printed too; one at a time in each copy of the project."""
    waiting, free, running, survivors = deque(drawn), list(copies), list[Trial](), []
    try:
        while waiting or running:
            while waiting and free:
                running.append(Trial(waiting.popleft(), free.pop(), suite))
            for trial in [trial for trial in running if trial.is_over()]:
                trial.end()
                running.remove(trial)
                free.append(trial.copy)
                if trial.status == 0:
                    survivors.append(trial.mutant)
                    print(trial.mutant, flush=True)
                done = len(drawn) - len(waiting) - len(running)
                print(f"{done} of {len(drawn)}: {len(survivors)} survive", end="\r", file=sys.stderr, flush=True)
            time.sleep(0.02)
    finally:
        for trial in running:
            trial.end()
    return survivors


def copied(folder: Path) -> Path:
    """A copy of the project in which nothing is left from an earlier one."""
    folder.mkdir()
    for name in _NEEDED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


class Trial:
    """The tests on a mutant, in a process that is forked from this one."""

    def __init__(self, mutant: Mutant, copy: Path, suite: Suite) -> None:
        self.mutant, self.copy = mutant, copy
        self.path = copy / mutant.file
        self.source = self.path.read_bytes()
        chosen = tests_of(mutant, suite)
        self.status: int | None = None if chosen else 0  # without a test nothing is noticed
        self.child = 0
        if chosen:
            self.path.write_bytes(self.source[: mutant.start] + mutant.new.encode() + self.source[mutant.stop :])
            limit = 4 * sum(suite.seconds[test] for test in chosen)
            self.deadline = time.monotonic() + max(_FEWEST_SECONDS, limit)
            self.child = os.fork()
            if self.child == 0:
                as_child(copy, chosen)

    def is_over(self) -> bool:
        """Whether there is a status: of pytest, or -1 where it takes too long."""
        if self.status is None:
            done, status = os.waitpid(self.child, os.WNOHANG)
            if done:
                status = os.waitstatus_to_exitcode(status)
                self.status = 0 if status == pytest.ExitCode.NO_TESTS_COLLECTED else status
            elif time.monotonic() > self.deadline:
                self.status = -1
        return self.status is not None

    def end(self) -> None:
        """Leave no process behind; the file is as before then."""
        if self.child and self.status in (None, -1):
            os.killpg(self.child, signal.SIGKILL)
            os.waitpid(self.child, 0)
        self.path.write_bytes(self.source)


def tests_of(mutant: Mutant, suite: Suite) -> list[str]:
    """The tests that run its line, for three minutes at most; then those of its file that start processes."""
    chosen: list[str] = []
    seconds = 0.0
    for test in suite.tests_of(mutant.file, mutant.lines):
        if not chosen or seconds + suite.seconds[test] < _MOST_SECONDS:
            chosen.append(test)
            seconds += suite.seconds[test]
    path = Path(mutant.file)
    namesake = str(Path("tests") / path.relative_to("charlm").parent / f"test_{path.name}")
    own = [test for test in suite.seconds if test.partition("::")[0] in (namesake, _BY_PROCESSES.get(mutant.file))]
    here = set(suite.tests_of(mutant.file, range(sys.maxsize)))
    return chosen + [test for test in own if test not in here]


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
        status = int(pytest.main([*_PYTEST, *files], plugins=[Chosen(chosen)]))
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


class Chosen:
    """As a plugin of pytest: only these tests, in this order."""

    def __init__(self, tests: Sequence[str]) -> None:
        self.place = {test: place for place, test in enumerate(tests)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave the others out."""
        items[:] = sorted((item for item in items if item.nodeid in self.place), key=lambda i: self.place[i.nodeid])


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
