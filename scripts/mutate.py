"""How many small faults, put into the code one by one, the tests find: the mutation score.

python scripts/mutate.py                                                       150 mutants, an hour and a half
python scripts/mutate.py --files [charlm/data/batches.py] --mutants 40 --seed 3 --suite suite.json

A mutant is the code with one thing changed, see mutants.py. First the whole suite runs once, to see which tests run
which lines, see covered.py. Then a sample of all mutants is drawn, each is put into a copy of the project, and the
tests that run the changed line are run until one fails, those first that are about its file, for four minutes at most,
and then others of its file, whose processes may run it.

A mutant is killed where a test fails that passes without it, or where they take four times as long as on the unchanged
code. Printed are those that no test noticed; some of them change nothing that can be seen, such as the size of a block.
Tests are run by processes that are forked from one that has imported the libraries, so this needs Linux or macOS.
"""

import random
import shutil
import sys
import tempfile
import time
from collections import deque
from pathlib import Path

from covered import Suite, run_suite
from jsonargparse import auto_cli
from jsonargparse.typing import NonNegativeInt, PositiveInt
from mutant_runs import Run
from mutants import Mutant, mutants_of

ROOT = Path(__file__).resolve().parents[1]
AREAS = ("charlm/data/*.py", "charlm/tokenizer.py", "charlm/callbacks/*.py", "charlm/checkpoints.py")
_NEEDED = ("charlm", "tests", "scripts", ".ci", "pyproject.toml", "README.md", "constraints.txt", "LICENSE")
_BY_PROCESSES = dict.fromkeys(  # tests of what only processes run that they start, in a file of another name
    ("charlm/callbacks/process_guard.py", "charlm/callbacks/process_watch.py"), "tests/test_processes.py"
)
_MOST_SECONDS = 240  # of the tests that run a mutant's line


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
    waiting, free, running, survivors, unfit = deque(drawn), list(copies), list[Trial](), [], set[str]()
    try:
        while waiting or running:
            while waiting and free:
                running.append(Trial(waiting.popleft(), free.pop(), suite, unfit))
            for trial in [trial for trial in running if trial.is_over()]:
                running.remove(trial)
                free.append(trial.copy)
                if not trial.noticed:
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
    """A mutant in a copy of the project, before the tests that run its line.

    A test that fails has to pass without the mutant, by itself; one that does not is left out from there on.
    """

    def __init__(self, mutant: Mutant, copy: Path, suite: Suite, unfit: set[str]) -> None:
        self.mutant, self.copy, self.suite, self.unfit = mutant, copy, suite, unfit
        self.path = copy / mutant.file
        self.source = self.path.read_bytes()
        self.noticed: bool | None = None  # not known yet
        self.doubted: str | None = None  # the test that has failed and is run once more
        self.run: Run | None = None  # nothing where no test runs its line
        self._put()

    def is_over(self) -> bool:
        """Whether it is known that a test notices it, or that none does."""
        if self.run is not None and self.noticed is None and (status := self.run.status()) is not None:
            self.end()
            failed = self.run.failed()
            if self.doubted is None and failed:
                self.doubted = failed
                self.run = Run(self.copy, [failed], self.suite)
            elif self.doubted is not None and status != 0:
                print(f"left out, as it fails without a mutant here: {self.doubted}", file=sys.stderr)
                self.unfit.add(self.doubted)
                self.doubted = None
                self._put()
            else:
                self.noticed = self.doubted is not None or status != 0
        return self.noticed is not None

    def end(self) -> None:
        """Leave no process behind; the file is as before then."""
        if self.run is not None:
            self.run.end()
        self.path.write_bytes(self.source)

    def _put(self) -> None:
        chosen = [test for test in tests_of(self.mutant, self.suite) if test not in self.unfit]
        if not chosen:
            self.noticed = False
            return
        changed = self.source[: self.mutant.start] + self.mutant.new.encode() + self.source[self.mutant.stop :]
        self.path.write_bytes(changed)
        self.run = Run(self.copy, chosen, self.suite)


def tests_of(mutant: Mutant, suite: Suite) -> list[str]:
    """The tests that run its line, for four minutes at most; then others of its file, whose processes may run it."""
    chosen: list[str] = []
    seconds = 0.0
    there = suite.tests_of(mutant.file, mutant.lines)
    for test in there:
        if not chosen or seconds + suite.seconds[test] < _MOST_SECONDS:
            chosen.append(test)
            seconds += suite.seconds[test]
    path = Path(mutant.file)
    namesake = str(Path("tests") / path.relative_to("charlm").parent / f"test_{path.name}")
    own = [test for test in suite.seconds if test.partition("::")[0] in (namesake, _BY_PROCESSES.get(mutant.file))]
    files = list(dict.fromkeys(test.partition("::")[0] for test in chosen))
    # file by file, so that what a file makes for all its tests is made once
    chosen.sort(key=lambda test: files.index(test.partition("::")[0]))
    return chosen + [test for test in own if test not in there]


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
