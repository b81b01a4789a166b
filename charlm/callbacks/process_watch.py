"""A thread that looks after the other processes of a training: the one that launched this one, or those it launched."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TICK = 0.2  # seconds between two looks
_GRACE = 2.0  # seconds for this process to notice by itself
_ENDING = 10.0  # seconds for the others to end by themselves
_PR_SET_PDEATHSIG = 1  # of Linux's prctl


@dataclass(frozen=True)
class Lost:
    """A process that is gone.

    Args:
        message: for the user.
        exit_status: its own, as shells have it; not 0.
    """

    message: str
    exit_status: int


class Watch(threading.Thread):
    """Look after the other processes until they are lost; then end this one, if it does not by itself.

    Args:
        timeout: seconds that a process may stand still (state T) while this one runs; then it is killed.
        first: the process that launched this one.
        launcher: Lightning's, in the first process. What it has launched is taken out of its list `procs`, by which
            Lightning looks after them itself, and kills this process before it has said or saved anything.
    """

    def __init__(self, timeout: float, first: int | None = None, launcher: Any = None) -> None:
        super().__init__(daemon=True, name="process-watch")
        self.timeout, self.first = timeout, first
        self._launcher = launcher
        self._looks, self._acts = True, True
        self._others: list[subprocess.Popen[bytes]] = []  # the first one has local rank 1
        self._stood: dict[int, float] = {}  # seconds, by process
        self._lost: Lost | None = None
        self._found = threading.Event()

    def start(self) -> None:
        if self.first is not None:
            _wake_at_its_end()
        super().start()

    def run(self) -> None:
        before = time.monotonic()
        while self._looks:
            time.sleep(_TICK)
            now = time.monotonic()
            passed, before = min(now - before, 5 * _TICK), now  # without the time that this process stood still
            self._lost = self._look(passed) if self._looks else None
            if self._lost is not None:
                break
        self._found.set()
        deadline = time.monotonic() + _GRACE
        while self._lost is not None and self._acts:
            time.sleep(_TICK)
            if time.monotonic() > deadline and self._acts:
                self.end_others(0.0)
                os.write(2, f"\n{self._lost.message}\n".encode())
                os._exit(self._lost.exit_status)

    def leave(self) -> None:
        """Look no more, and let this process end as it will."""
        self._looks = self._acts = False

    def wait(self, seconds: float) -> Lost | None:
        """Let this process end as it will, and give the lost one, as soon as it is known which."""
        self._acts = False
        self._found.wait(seconds)
        self._looks = False
        return self._lost

    def end_others(self, grace: float = _ENDING) -> None:
        """Let none of those that were launched stay, and let them `grace` seconds to end by themselves."""
        self._adopt()
        deadline = time.monotonic() + grace
        for other in self._others:
            try:
                other.wait(max(deadline - time.monotonic(), 0.0))
            except subprocess.TimeoutExpired:
                other.kill()

    def _look(self, passed: float) -> Lost | None:
        if self.first is not None:
            if os.getppid() != self.first:
                return Lost(f"The first process of this training ({self.first}) has ended, and so does this one.", 1)
            if self._stands_still(self.first, passed) and os.getppid() == self.first:
                os.kill(self.first, signal.SIGKILL)
                return Lost(self._stood_still("The first process", self.first), 128 + signal.SIGKILL)
            return None
        self._adopt()
        for rank, other in enumerate(self._others, start=1):
            if status := other.poll():
                how = f"was ended by {_name(-status)}" if status < 0 else f"has ended with exit status {status}"
                message = f"Process {rank} of this training ({other.pid}) {how}, and so the others end too."
                return Lost(message, status if status > 0 else 128 - status)
            if status is None and self._stands_still(other.pid, passed):
                other.kill()
                return Lost(self._stood_still(f"Process {rank}", other.pid), 128 + signal.SIGKILL)
        return None

    def _adopt(self) -> None:
        launched = self._launcher.procs if self._launcher is not None else []
        while launched and isinstance(launched[0], subprocess.Popen):
            self._others.append(launched.pop(0))

    def _stands_still(self, process: int, passed: float) -> bool:
        self._stood[process] = self._stood.get(process, 0.0) + passed if _state(process) == "T" else 0.0
        return self._stood[process] >= self.timeout

    def _stood_still(self, which: str, process: int) -> str:
        return (
            f"{which} of this training ({process}) was stopped from outside and stood still for {self.timeout:g}"
            " seconds, so it was killed, and the others end too."
        )


def _state(process: int) -> str:
    """Its state as `ps` has it, T where it stands still; "" where it is gone or cannot be seen."""
    with suppress(OSError):
        if Path("/proc/self/stat").exists():
            return Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
        asked = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True)
        return asked.stdout.strip()[:1]
    return ""


def _wake_at_its_end() -> None:
    """On Linux: let SIGCONT come when the process that launched this one ends, as this one may stand still then."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGCONT)


def _name(signum: int) -> str:
    try:
        return signal.Signals(signum).name
    except ValueError:
        return f"signal {signum}"
