"""Send KILL, STOP, TERM and INT to one of two processes that train together, or to both, and see how it ends.

python scripts/reliability/ddp_faults.py                          12 cases at each of 3 moments: about 20 minutes
python scripts/reliability/ddp_faults.py --timeout 5 --moments [training]

Each case is a `charlm fit` with DDP of two processes (gloo, CPU). The table says the exit status of the first process
as a shell has it, the seconds from the signal to the end of the last process, how many were left, and the last line
that was said. STOP to both is a pause: they have to be there after it, however long, and to go on with CONT; then they
get TERM.

The exit status is 1 where a case took longer than the timeout and 5 seconds, ended with 0, or left a process; or where
TERM or INT in training has not saved the step that is said.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from jsonargparse import auto_cli

from charlm.cli.table import Cell, Table, render
from charlm.runs.checkpoint import load_checkpoint

SIGNALS = ("KILL", "STOP", "TERM", "INT")
RECEIVERS = ("rank 0", "rank 1", "group")
_SCRIPTS = Path(__file__).resolve().parent
_SLACK = 5.0  # seconds after the timeout
_SMALL = (
    "--model.n_hidden=5",
    "--trainer.max_steps=100000",
    "--trainer.val_check_interval=40",
    "--trainer.check_val_every_n_epoch=null",
    "--dashboard=null",
    "--name_samples=null",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
)


@dataclass(frozen=True)
class Ended:
    """How a case ended.

    Args:
        status: of the first process, as a shell has it.
        seconds: from the signal to the end of the last process.
        left: processes that were still there when the time was up; they have been killed.
        said: what the processes wrote.
        saved: steps in last.ckpt; -1: there is none.
    """

    status: int
    seconds: float
    left: int
    said: str
    saved: int


def main(timeout: float = 60.0, moments: tuple[str, ...] = ("training", "start", "validation")) -> None:
    """Run every case and print the table.

    Args:
        timeout: ProcessGuard's, seconds.
        moments: training, start (before the processes have found each other), validation.
    """
    rows: list[Sequence[Cell]] = []
    bad = 0
    for moment in moments:
        for name in SIGNALS:
            for receiver in RECEIVERS:
                with tempfile.TemporaryDirectory(prefix="ddp-faults-") as folder:
                    ended = fault(Path(folder), moment, name, receiver, timeout)
                bad += not is_good(ended, moment, name, timeout)
                last = ended.said.strip().splitlines()[-1:] or [""]
                rows.append((moment, name, receiver, ended.status, f"{ended.seconds:.1f}", ended.left, last[0]))
                print(*rows[-1], sep="  ", flush=True)
    header = ("moment", "signal", "to", "status", "seconds", "left", "last line said")
    print(f"\n{render(Table(header, rows))}\n\n{len(rows)} cases, {bad} bad")
    raise SystemExit(1 if bad else 0)


def is_good(ended: Ended, moment: str, name: str, timeout: float) -> bool:
    """Whether a case ended as it is promised to."""
    over = ended.left == 0 and ended.seconds <= timeout + _SLACK and ended.status != 0
    if moment == "start" or name not in ("TERM", "INT"):
        return over
    told = re.search(r"Stopped after ([\d,]+) steps", ended.said)
    return over and ended.status == 128 + number(name) and told is not None and told[1] == f"{ended.saved:,}"


def fault(folder: Path, moment: str, name: str, receiver: str, timeout: float) -> Ended:
    """One case.

    Args:
        folder: an empty one.
        moment: when the signal is sent.
        name: of the signal.
        receiver: "rank 0", "rank 1" or "group".
        timeout: ProcessGuard's, seconds.
    """
    process = start(folder, moment, timeout)
    ranks = [wait_for(process, folder / f"{moment}-{rank}") for rank in range(2)]
    if moment == "start":
        time.sleep(0.5)
    to = {"rank 0": [ranks[0]], "rank 1": [ranks[1]], "group": ranks}[receiver]
    send(to, name)
    if (name, receiver) == ("STOP", "group"):
        time.sleep(timeout + 2)
        if len(members(process.pid)) != 2:
            raise SystemExit("two processes that stood still have not been left alone")
        send(to, "CONT")
        time.sleep(1.0)
        send(to, "TERM")
    return end(process, folder, timeout)


def start(folder: Path, moment: str, timeout: float, *options: str, seconds: float = 2.0) -> "subprocess.Popen[bytes]":
    """`charlm fit` in two processes, in a process group of its own."""
    guard = ["--trainer.callbacks+=ProcessGuard", f"--trainer.callbacks.timeout={timeout}"]
    tell = ["--trainer.callbacks+=fault_moment.Moment", f"--trainer.callbacks.moment={moment}"]
    tell += [f"--trainer.callbacks.folder={folder}", f"--trainer.callbacks.seconds={seconds}"]
    # one step a turn, which is the harder case; a turn of many makes no difference to what is tested here
    steps = ["--trainer.callbacks+=StepsPerExecution", "--trainer.callbacks.steps=1"]
    two = ["--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.accelerator=cpu"]
    command = [sys.executable, "-m", "charlm", "fit", *_SMALL, *two, *guard, *steps, *tell, *options]
    path = os.pathsep.join([str(_SCRIPTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": path}
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            # Ctrl-C is ignored in what a shell has started in the background, and children take that over
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )


def wait_for(process: "subprocess.Popen[bytes]", file: Path) -> int:
    """The number in `file`, once it is there.

    Raises:
        RuntimeError: the process ends before.
    """
    while not file.exists():
        if process.poll() is not None:
            raise RuntimeError(f"ended with {process.returncode} before {file.name}: {said_in(file.parent)}")
        time.sleep(0.02)
    return int(file.read_text())


def end(process: "subprocess.Popen[bytes]", folder: Path, timeout: float) -> Ended:
    """Wait for the end of all processes, or for the time to be up."""
    sent = time.monotonic()
    while (process.poll() is None or members(process.pid)) and time.monotonic() < sent + timeout + 2 * _SLACK:
        time.sleep(0.02)
    seconds, left = time.monotonic() - sent, members(process.pid)
    send(left, "KILL")
    status = process.wait()
    files = sorted(folder.glob("lightning_logs/*/checkpoints/last.ckpt"))
    saved = load_checkpoint(files[-1]).step if files else -1
    return Ended(status if status >= 0 else 128 - status, seconds, len(left), said_in(folder), saved)


def members(group: int) -> list[int]:
    """The processes of a process group that have not ended."""
    listed = subprocess.run(["ps", "-e", "-o", "pid=,pgid=,stat="], capture_output=True, text=True).stdout
    rows = [line.split() for line in listed.splitlines()]
    return [int(pid) for pid, pgid, state in rows if int(pgid) == group and not state.startswith("Z")]


def send(processes: list[int], name: str) -> None:
    """Send a signal to those that are there."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number(name))


def number(name: str) -> int:
    """Of a signal."""
    return int(signal.Signals[f"SIG{name}"])


def said_in(folder: Path) -> str:
    """What the processes wrote."""
    return (folder / "log.txt").read_text(errors="replace")


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
