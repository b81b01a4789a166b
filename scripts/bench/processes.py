"""Runs what bench.py measures: each time in a new process, in an empty folder."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charlm.runs.directory import read_results

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")  # not passed on, so that torch or charlm chooses
_TIMEOUT = 3600  # seconds


@dataclass(frozen=True)
class Done:
    """A process that ended with status 0.

    Args:
        seconds: wall time from start to end.
        cpu_seconds: of all its threads.
        output: its standard output.
        results: results.json of its run; empty if it made none.
    """

    seconds: float
    cpu_seconds: float
    output: str
    results: dict[str, Any]


def run(command: Sequence[str | Path]) -> Done:
    """Run a command to its end.

    Raises:
        RuntimeError: the command failed; the message ends with the last line of its standard error.
        subprocess.TimeoutExpired: the command took more than an hour.
    """
    environment = {key: value for key, value in os.environ.items() if key not in _THREADS}
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryFile() as output,
        tempfile.TemporaryFile() as errors,
    ):
        started, used = time.perf_counter(), _cpu_seconds()
        status = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            timeout=_TIMEOUT,
        ).returncode
        seconds = time.perf_counter() - started
        if status:
            errors.seek(0)
            lines = errors.read().decode(errors="replace").strip().splitlines()
            raise RuntimeError(f"exit status {status}: {lines[-1] if lines else 'no message'}")
        output.seek(0)
        run = next(Path(folder, "lightning_logs").glob("001-*"), Path(folder))  # not every command trains
        return Done(seconds, _cpu_seconds() - used, output.read().decode(), read_results(run))


def _cpu_seconds() -> float:
    """What the processes that have ended used so far."""
    times = os.times()
    return times.children_user + times.children_system


def python(*args: str) -> float:
    """Seconds of a whole Python process."""
    return run([sys.executable, *args]).seconds


def charlm(*args: str) -> Done:
    """Run the real command."""
    return run([sys.executable, "-m", "charlm", *args])


def worker(file: str, function: str, *keys: str, **options: object) -> list[float]:
    """Named numbers that a function of <file>.py measures."""
    script = Path(__file__).with_name(f"{file}.py")
    output = run([sys.executable, script, function, json.dumps(options)]).output
    numbers = json.loads(output.splitlines()[-1])
    return [numbers[key] for key in keys]
