"""How many small faults, put into the code one by one, the tests find: the mutation score.

python scripts/mutate.py                                                       150 mutants of all areas, an hour
python scripts/mutate.py --files [charlm/data/batches.py] --mutants 40 --seed 3

A mutant is the code with one thing changed, see mutants.py. A sample of all that can be made is drawn, put one at a
time into a copy of the project, and the tests of the changed file are run until one fails.

A mutant is killed where a test fails or takes four times as long as on the unchanged code. Printed are those that no
test noticed; some of them change nothing that can be seen, such as the size of a block. Tests are run by processes that
are forked from one that has imported the libraries, so this needs Linux or macOS.
"""

import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import hypothesis
import lightning.pytorch  # noqa: F401  # imported once, for all that are forked
import matplotlib.figure  # noqa: F401
import pytest
from jsonargparse import auto_cli
from jsonargparse.typing import NonNegativeInt, PositiveInt
from mutants import Mutant, mutants_of
from tensorboard.backend.event_processing import event_accumulator  # noqa: F401

ROOT = Path(__file__).resolve().parents[1]
AREAS = ("charlm/data/*.py", "charlm/tokenizer.py", "charlm/callbacks/*.py", "charlm/checkpoints.py")
_NEEDED = ("charlm", "tests", "scripts", "pyproject.toml", "README.md", "constraints.txt", "LICENSE")
_CHECKPOINTS = ("tests/callbacks/test_atomic_io.py", "tests/test_checkpoints.py", "tests/test_hostile_checkpoints.py")
_STEPS = ("tests/callbacks/test_steps_per_execution.py",)
_FINDER = tuple(f"tests/callbacks/test_lr_{name}.py" for name in ("rules", "finder", "trial", "transparency"))
_DASHBOARD = ("tests/callbacks/test_dashboard.py",)
_DECAY = ("tests/callbacks/test_step_decay.py",)
_RESUME = ("tests/callbacks/test_exact_resume.py",)
_TURNS = ("tests/callbacks/test_run_checkpoint.py", "tests/callbacks/test_finite_loss.py")
_MORE_TESTS = {  # of files whose tests do not have their name, or not all of it
    "charlm/tokenizer": ("tests/data/test_corpus.py",),
    "data/corpus": ("tests/data/test_bad_names.py",),
    "data/text_blocks": ("tests/data/test_corpus.py", "tests/data/test_bad_names.py"),
    "data/resumable_loader": _RESUME,
    **dict.fromkeys(("callbacks/archive", "callbacks/pickle_walk"), _CHECKPOINTS),
    **dict.fromkeys(("callbacks/epoch_sums", "callbacks/loop_place", "callbacks/rng_state"), _RESUME),
    **dict.fromkeys(("callbacks/execution", "callbacks/step_log", "callbacks/log_taken"), _STEPS),
    **dict.fromkeys(("callbacks/lean_step", "callbacks/one_step"), (*_STEPS, *_FINDER)),
    **dict.fromkeys(("callbacks/lr_*", "callbacks/silence", "callbacks/sweep_batches"), _FINDER),
    **dict.fromkeys(("callbacks/activations", "callbacks/layout", "callbacks/outlets"), _DASHBOARD),
    **dict.fromkeys(("callbacks/pictures", "callbacks/pixels", "callbacks/watching"), _DASHBOARD),
    **dict.fromkeys(("callbacks/decay_table", "callbacks/milestones", "callbacks/progress"), _DECAY),
    "callbacks/rate_log": _DECAY,
    "callbacks/rates": (*_DECAY, *_FINDER),
    "callbacks/embedding_*": ("tests/callbacks/test_embedding_pca.py", "tests/callbacks/test_embedding_end.py"),
    "callbacks/kept": ("tests/callbacks/test_snapshot.py",),
    "callbacks/process_guard": ("tests/callbacks/test_process_watch.py", "tests/test_processes.py"),
    "callbacks/turn_end": _TURNS,
}
_FEWEST_SECONDS = 30
_OUTPUT = "output.txt"
# the plugins are imported already, and pytest says so
_PYTEST = ("-x", "-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")


def main(
    files: tuple[str, ...] = AREAS,
    mutants: PositiveInt = 150,
    seed: NonNegativeInt = 0,
    tests: tuple[str, ...] = (),
) -> None:
    """Draw mutants, run the tests on each, and print the survivors as they are found and the score.

    Args:
        files: what to change, as paths or patterns in the project.
        mutants: how many to draw; all where there are fewer.
        seed: of the draw.
        tests: what to run, instead of the tests that belong to each file.
    """
    chosen = sorted({path for pattern in files for path in ROOT.glob(pattern) if path.name != "__init__.py"})
    every = [mutant for path in chosen for mutant in mutants_of(str(path.relative_to(ROOT)), path.read_bytes())]
    drawn = random.Random(seed).sample(every, min(mutants, len(every)))
    drawn.sort(key=lambda mutant: (mutant.file, mutant.start))
    survivors = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = copied(Path(folder))
        seconds: dict[tuple[str, ...], float] = {}
        for number, mutant in enumerate(drawn, start=1):
            suite = tests or tests_of(mutant.file)
            if suite not in seconds:
                started = time.monotonic()
                if run_tests(copy, suite, 3600) != 0:
                    said = (copy / _OUTPUT).read_text(encoding="utf-8", errors="replace")
                    raise SystemExit(f"{said}\nmutate.py: {' '.join(suite)} fail without a mutant; correct that first")
                seconds[suite] = time.monotonic() - started
            if not is_killed(mutant, copy, suite, max(_FEWEST_SECONDS, 4 * seconds[suite])):
                survivors.append(mutant)
                print(mutant, flush=True)
            print(f"{number} of {len(drawn)}: {len(survivors)} survive", end="\r", file=sys.stderr, flush=True)
    for file in sorted({mutant.file for mutant in drawn}):
        of_file = [mutant for mutant in drawn if mutant.file == file]
        lost = sum(mutant.file == file for mutant in survivors)
        print(f"{file}: {len(of_file) - lost} of {len(of_file)} killed")
    print(f"of {len(every)} mutants {len(drawn)} drawn, {len(drawn) - len(survivors)} killed,", end=" ")
    print(f"{len(survivors)} survived: score {1 - len(survivors) / len(drawn):.1%}")


def copied(folder: Path) -> Path:
    """A copy of the project in which nothing is left from an earlier one, where this process then stands."""
    for name in _NEEDED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    os.chdir(folder)
    sys.path[:0] = [str(folder)]
    # the processes that tests start find the copy too; what was compiled is not kept, as it could be of another mutant
    os.environ.update(PYTHONPATH=str(folder), PYTHONDONTWRITEBYTECODE="1", OMP_NUM_THREADS="1")
    sys.dont_write_bytecode = True
    return folder


def tests_of(file: str) -> tuple[str, ...]:
    """The test files of a source file, its namesake first; all of its folder where it has none."""
    path = Path(file)
    folder = Path("tests") / path.relative_to("charlm").parent
    more = [test for pattern, tests in _MORE_TESTS.items() if path.match(f"{pattern}.py") for test in tests]
    named = [str(folder / f"test_{path.name}")] if (ROOT / folder / f"test_{path.name}").is_file() else []
    return tuple(dict.fromkeys([*named, *more])) or (str(folder),)


def is_killed(mutant: Mutant, copy: Path, suite: Sequence[str], seconds: float) -> bool:
    """Whether the tests notice it; the file is as before then."""
    path = copy / mutant.file
    source = path.read_bytes()
    path.write_bytes(source[: mutant.start] + mutant.new.encode() + source[mutant.stop :])
    try:
        return run_tests(copy, suite, seconds) != 0
    finally:
        path.write_bytes(source)


def run_tests(copy: Path, suite: Sequence[str], seconds: float) -> int:
    """The exit status of pytest on these files in a process of its own; -1 where it takes longer."""
    child = os.fork()
    if child == 0:
        status = 3
        try:
            status = as_child(copy, suite)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -1


def as_child(copy: Path, suite: Sequence[str]) -> int:
    """Run pytest in this process, whose own the group is; its exit status."""
    os.setsid()
    silence = os.open(copy / _OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for stream in (1, 2):
        os.dup2(silence, stream)
    found = (hypothesis.Phase.explicit, hypothesis.Phase.generate)  # a failing example need not be made smaller
    hypothesis.settings.register_profile("mutants", deadline=None, derandomize=True, database=None, phases=found)
    hypothesis.settings.load_profile("mutants")
    try:
        return int(pytest.main([*_PYTEST, *suite]))
    finally:
        sys.stdout.flush()


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
