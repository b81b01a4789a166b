"""Kill or stop processes of a training with two processes, and compare its end with that of one left alone.

python scripts/reliability/workers.py --how worker   torchrun restarts all workers after one was killed
python scripts/reliability/workers.py --how stop     the same after one has stood still for --ddp_timeout seconds
python scripts/reliability/workers.py --how node     two nodes on this machine; one is killed and started again
python scripts/reliability/workers.py --how plain    Lightning's own launcher: the other process must end by itself

All addresses are loopback. The exit status is 1 where the weights, the curves or the results differ.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from compare_runs import differences, run_in
from jsonargparse import auto_cli
from jsonargparse.typing import NonNegativeInt, PositiveInt
from killloop import MODEL

How = Literal["worker", "stop", "node", "plain"]
Process = subprocess.Popen[bytes]
LIMIT = 200.0  # seconds for a start
STARTS = 50  # of one training


def main(
    how: How = "worker",
    kills: PositiveInt = 5,
    seed: NonNegativeInt = 0,
    steps: PositiveInt = 3000,
    longest: float = 20.0,
    ddp_timeout: PositiveInt = 30,
) -> None:
    """Train alone, then with kills, and print one line of figures.

    Args:
        how: what happens to which process.
        kills: how many times.
        seed: of the moments.
        steps: of the training.
        longest: seconds after a start at which the kill comes at the latest.
        ddp_timeout: the option of `charlm fit`, in seconds.
    """
    place = Path(tempfile.mkdtemp(prefix="workers-"))
    length = [f"--trainer.max_steps={steps}", f"--ddp_timeout={ddp_timeout}", "--checkpoint.every_n_train_steps=100"]
    fit = ["-m", "charlm", "fit", "--resume=auto", *MODEL, *length, "--trainer.enable_progress_bar=false"]
    alone, killed = (Training(place / name, how, fit, kills, 2 * ddp_timeout + 60) for name in ("alone", "killed"))
    alone.run(0, random.Random(seed), longest)
    killed.run(kills, random.Random(seed), longest)
    faults = [*killed.faults, *differences(run_in(alone.folder), run_in(killed.folder))]
    waits = f", at most {max(killed.waits):.0f} s until the other had ended" if killed.waits else ""
    print(f"{how}: {killed.kills} kills, {killed.starts} starts{waits}; faults: {', '.join(faults) or 'none'}")
    if faults:
        raise SystemExit(f"the runs are in {place}")
    shutil.rmtree(place)


class Training:
    """A training in a folder of its own, started again whenever its launcher ends with an error.

    Args:
        folder: the folder.
        how: what happens to it, and so by which launcher.
        fit: Python's arguments for the training.
        restarts: the number that torchrun may do.
        longest_wait: seconds that the other process of Lightning's launcher may take to end.
    """

    def __init__(self, folder: Path, how: How, fit: Sequence[str], restarts: int, longest_wait: float) -> None:
        self.folder, self.how, self.longest_wait = folder, how, longest_wait
        folder.mkdir()
        port = random.randrange(20_000, 30_000) if how == "node" else 0
        torchrun = ["-m", "torch.distributed.run", f"--max-restarts={restarts}", "--rdzv-backend=c10d"]
        torchrun += [f"--rdzv-endpoint=127.0.0.1:{port}", "--local-addr=127.0.0.1", f"--rdzv-id={folder.name}"]
        by = {
            "plain": [[*fit, "--trainer.devices=2", "--trainer.accelerator=cpu"]],
            "node": [[*torchrun, "--nnodes=2", "--nproc-per-node=1", *fit]] * 2,
        }
        self.commands = by.get(how, [[*torchrun, "--nproc-per-node=2", *fit]])
        self.kills = self.starts = 0
        self.struck: set[int] = set()
        self.faults: list[str] = []
        self.waits: list[float] = []

    def run(self, kills: int, moments: random.Random, longest: float) -> None:
        """Train to the end; meanwhile `kills` times a process is killed or stopped."""
        deadline = time.monotonic() + LIMIT * (1 + kills)
        launchers = [self.start(command) for command in self.commands]
        strike = time.monotonic() + moments.uniform(0.0, longest)
        while any(launcher.poll() != 0 for launcher in launchers):
            if time.monotonic() > deadline or self.starts > STARTS:
                end(launchers)
                raise SystemExit(f"no end after {self.kills} kills and {self.starts} starts, see {self.folder}/log.txt")
            all_run = all(launcher.poll() is None for launcher in launchers)
            if self.kills < kills and time.monotonic() > strike and all_run and self.strike(launchers, moments):
                self.kills += 1
                strike = time.monotonic() + moments.uniform(0.0, longest)
            for number, launcher in enumerate(launchers):
                if launcher.poll() not in (None, 0):  # as systemd or SLURM would start it again
                    launchers[number] = self.start(self.commands[number])
            time.sleep(0.05)

    def start(self, command: Sequence[str]) -> Process:
        """Start a launcher."""
        self.starts += 1
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
        environment["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"  # which would hold the addresses of killed workers
        with (self.folder / "log.txt").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *command], cwd=self.folder, env=environment, stdout=log, stderr=log
            )

    def strike(self, launchers: Sequence[Process], moments: random.Random) -> bool:
        """Kill or stop one process, or a node with all its processes; whether there was one."""
        if not any(self.folder.glob("lightning_logs/*/config.yaml")):
            return False  # the run that goes on might get another number
        launcher = moments.choice(launchers)
        workers = below(launcher.pid)
        if self.how == "node":
            end([launcher])
            return True
        candidates = [launcher.pid, *workers] if self.how == "plain" else workers
        if len(candidates) < 2 or not self.struck.isdisjoint(workers):  # some have not started, or not again
            return False
        self.struck.update(workers)
        victim = moments.choice(candidates)
        os.kill(victim, signal.SIGSTOP if self.how == "stop" else signal.SIGKILL)
        if self.how == "plain":
            self.wait_for_all(launcher, [process for process in candidates if process != victim])
        return True

    def wait_for_all(self, launcher: Process, others: Sequence[int]) -> None:
        """Wait until the other processes have ended by themselves."""
        start = time.monotonic()
        while launcher.poll() is None or any(is_alive(process) for process in others):
            if time.monotonic() > start + self.longest_wait:
                self.faults.append(f"processes {others} were left")
                return
            time.sleep(0.05)
        self.waits.append(time.monotonic() - start)


def end(launchers: Sequence[Process]) -> None:
    """Kill launchers with all their processes."""
    for launcher in launchers:
        for process in [*below(launcher.pid), launcher.pid] if launcher.poll() is None else []:
            os.kill(process, signal.SIGKILL)
        launcher.wait()


def below(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have started."""
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()
    return [process for child in map(int, found) for process in (child, *below(child))]


def is_alive(pid: int) -> bool:
    """Whether a process runs and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
