"""Hours of a user's life with charlm in one process: train, stop, resume, sample and score, again and again.

python scripts/reliability/soak.py --minutes 20

Watched are the memory that this process uses, its open files and the files on the disk, from the third round on, when
all that is loaded once is there; and that every resumed run comes to the weights of the one that was left alone. Exit
status 1 where the memory grows by 5 % or more, or a file is left open or lying about.
"""

import contextlib
import ctypes
import os
import random
import signal
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

import torch
from jsonargparse import auto_cli

from charlm.cli.main import main as charlm
from charlm.runs.load_checkpoint import load_checkpoint

_FIT = ["fit", "--config=rnn", "--model.n_embd=8", "--model.n_hidden=16", "--trainer.max_epochs=-1"]
_FIT += ["--trainer.max_steps=60", "--trainer.enable_progress_bar=false", "--trainer.callbacks=[]"]
_WARM_UP = 3  # rounds
_LEVEL = 10  # rounds whose median is the memory at the beginning and at the end: it goes up and down


def main(minutes: float = 20.0) -> None:
    """Do rounds until the time is over and print one line of figures.

    Args:
        minutes: how long.
    """
    warnings.simplefilter("ignore")
    moments = random.Random(0)
    deadline, rounds, faults = time.monotonic() + 60 * minutes, 0, 0
    seen: list[tuple[float, int, int]] = []
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        os.chdir(folder)
        quietly([*_FIT, "--trainer.default_root_dir=alone"])
        expected = weights(Path("alone"))
        while time.monotonic() < deadline or rounds <= _WARM_UP:
            faults += one_round(rounds, moments, expected)
            rounds += 1
            seen.append((memory(), open_files(), strays()))
        os.chdir("/")
    seen = seen[_WARM_UP:]
    first, last = (statistics.median(megabytes for megabytes, _, _ in part) for part in (seen[:_LEVEL], seen[-_LEVEL:]))
    growth, opened, left = last / first - 1, seen[-1][1] - seen[0][1], seen[-1][2]
    print(
        f"{rounds} rounds in {minutes:g} minutes: memory {first:.0f} -> {last:.0f} MB ({growth:+.1%}),"
        f" {opened:+} open files, {left} stray files, {faults} runs differing"
    )
    raise SystemExit(1 if growth >= 0.05 or opened > 0 or left or faults else 0)


def one_round(number: int, moments: random.Random, expected: dict[str, torch.Tensor]) -> int:
    """A run that is stopped twice and resumed, sampled and scored; 1 if its weights are not the expected ones."""
    place = Path(f"round{number % 2}")
    for file in sorted(place.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    root = f"--trainer.default_root_dir={place}"
    for _ in range(2):
        quietly(begin_or_resume(place, root), stop_after=moments.uniform(0.1, 1.5))
    quietly(begin_or_resume(place, root))
    run = str(next(place.glob("lightning_logs/*/config.yaml")).parent)
    quietly(["sample", "--checkpoint", run, "--n", "20"])
    quietly(["score", "--checkpoint", run, "emma"])
    found = weights(place)
    return int(any(not torch.equal(weight, found[name]) for name, weight in expected.items()))


def begin_or_resume(place: Path, root: str) -> list[str]:
    """The command that goes on with the run there, if there is one yet."""
    return ["fit", "--resume", root] if list(place.glob("lightning_logs/*/config.yaml")) else [*_FIT, root]


def quietly(line: list[str], stop_after: float = 0.0) -> None:
    """A command of charlm in this process, without what it prints, stopped as by Ctrl-C after some seconds; 0: not."""
    sys.argv = ["charlm", *line]
    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    signal.setitimer(signal.ITIMER_REAL, stop_after)
    with tempfile.TemporaryFile("w+") as said, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        screen = os.dup(2)  # a signal's handler writes to it and not to sys.stderr
        os.dup2(said.fileno(), 2)
        try:
            charlm(line)
        except SystemExit as end:
            if end.code not in (None, 0, 130 if stop_after else 0):
                said.seek(0)
                raise RuntimeError(f"charlm {' '.join(line)} ended with {end.code}: {said.read()}") from end
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            os.dup2(screen, 2)
            os.close(screen)


def weights(place: Path) -> dict[str, torch.Tensor]:
    """Of the last checkpoint of the one run there."""
    (file,) = place.glob("lightning_logs/*/checkpoints/last.ckpt")
    return dict(load_checkpoint(file).net.state_dict())


def memory() -> float:
    """The resident memory of this process, MB, after its allocator has given back what is free."""
    with contextlib.suppress(AttributeError):  # where the allocator is another one than glibc's
        ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def open_files() -> int:
    """How many this process has."""
    return len(os.listdir("/proc/self/fd"))


def strays() -> int:
    """Temporary files that nobody removed, here and in the folder for them."""
    return sum(1 for file in Path().rglob("*") if "partial" in file.name or file.name.startswith("."))


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
