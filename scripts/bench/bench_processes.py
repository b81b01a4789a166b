"""How bench.py runs what it measures: every time in a new process, in an empty folder, with nothing beside it."""

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

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")  # so that torch, or charlm, chooses
_LONGEST = 3600  # seconds; what takes longer hangs


@dataclass(frozen=True)
class Done:
    """A process that has ended well.

    Args:
        seconds: wall time from start to end.
        output: what it wrote to standard output.
        results: results.json of the run that it made; empty where there is none.
    """

    seconds: float
    output: str
    results: dict[str, Any]


def run(command: Sequence[str | Path], **environment: str) -> Done:
    """Run a command to its end.

    Raises:
        RuntimeError: it failed; the message ends with the last line that it wrote to standard error.
        subprocess.TimeoutExpired: it hung.
    """
    inherited = {key: value for key, value in os.environ.items() if key not in _THREADS}
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryFile() as output,
        tempfile.TemporaryFile() as errors,
    ):
        started = time.perf_counter()
        status = subprocess.run(
            command,
            cwd=folder,
            env=inherited | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            timeout=_LONGEST,
        ).returncode
        seconds = time.perf_counter() - started
        if status:
            errors.seek(0)
            lines = errors.read().decode(errors="replace").strip().splitlines()
            raise RuntimeError(f"exit status {status}: {lines[-1] if lines else 'no message'}")
        output.seek(0)
        return Done(seconds, output.read().decode(), read_results(Path(folder, "lightning_logs", "version_0")))


def python(*args: str) -> float:
    """Seconds of a whole Python process."""
    return run([sys.executable, *args]).seconds


def charlm(*args: str, **environment: str) -> Done:
    """The real command."""
    return run([sys.executable, "-m", "charlm", *args], **environment)


def worker(file: str, function: str, *keys: str, **options: object) -> list[float]:
    """Numbers of a function of bench_<file>.py, by their names."""
    script = Path(__file__).with_name(f"bench_{file}.py")
    output = run([sys.executable, script, function, json.dumps(options)]).output
    numbers = json.loads(output.splitlines()[-1])
    return [numbers[key] for key in keys]
