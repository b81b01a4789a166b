"""Kill a training with SIGKILL at random moments, resume it until it is done, and compare it with one left alone.

python scripts/reliability/killloop.py   5 kills, one seed, the names that come with charlm: a minute
python scripts/reliability/killloop.py --kills 100 --seeds 3 --data my_names.txt --steps 30000

Both trainings are `charlm fit` in processes of their own, with dropout, AdamW, a falling rate, validations and epoch
means. Compared are, step by step, the batch, loss, rate, weights, optimizer state and random generators (to the bit);
the order of epoch starts, validations and epoch ends; and, as by `compare_runs.py`, all that the two runs left. The
kills come at moments that are drawn evenly over the time a process may take, its start included.

The exit status is 1 where anything differs or is missing.
"""

import json
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
from typing import Any

from compare_runs import differences, run_in
from jsonargparse import auto_cli
from jsonargparse.typing import NonNegativeInt, PositiveInt

_SCRIPTS = Path(__file__).resolve().parent
MODEL = (
    "--config=rnn",
    "--model.n_embd=8",
    "--model.n_hidden=16",
    "--model.dropout=0.2",
    "--trainer.max_epochs=-1",
    "--trainer.check_val_every_n_epoch=1",
    "--data.batch_size=16",
)
RECORDER = ("--trainer.callbacks+=kill_recorder.Recorder", "--trainer.callbacks.file=records.jsonl")
FAULTS = ("differing", "missing", "hooks out of place", "differing in the end")


def main(
    kills: PositiveInt = 5,
    seeds: PositiveInt = 1,
    first_seed: NonNegativeInt = 0,
    steps: PositiveInt = 3000,
    data: str | None = None,
    longest: float = 12.0,
    out: str | None = None,
    fit: tuple[str, ...] = (),
) -> None:
    """Run it for each seed and print one line of figures for each.

    Args:
        kills: SIGKILLs a seed; the run ends when all have come and it is done.
        seeds: how many seeds, of the weights, the order and the moments.
        first_seed: the first of them.
        steps: of each training, at least; it gets longer until all kills have come.
        data: a file with one name a line; by default the names that come with charlm.
        longest: seconds after its start at which a process is killed at the latest.
        out: a folder to keep the runs in.
        fit: more options of `charlm fit`.
    """
    options = [*MODEL, *RECORDER, *([f"--data.path={Path(data).resolve()}"] if data else []), *fit]
    total, bad = 0, 0
    for seed in range(first_seed, first_seed + seeds):
        place = Path(out or tempfile.mkdtemp(prefix="killloop-")) / f"seed{seed}"
        shutil.rmtree(place, ignore_errors=True)
        figures = one_seed(place, seed, kills, steps, longest, options)
        print(f"seed {seed}: " + ", ".join(f"{value} {name}" for name, value in figures.items()), flush=True)
        total += figures["step records"]
        bad += sum(figures[name] for name in FAULTS)
        if out is None:
            shutil.rmtree(place.parent, ignore_errors=True)
    print(f"all: {total} step records, {bad} faults")
    raise SystemExit(1 if bad else 0)


def one_seed(place: Path, seed: int, kills: int, steps: int, longest: float, options: Sequence[str]) -> dict[str, Any]:
    """Train twice, one time with kills, and count what is not the same."""
    options = [*options, f"--seed_everything={seed}", f"--data.shuffle_seed={seed}", f"--trainer.max_steps={steps}"]
    Training(place / "alone", options).wait_for_end()
    return {"kills": killed_again(place / "killed", options, seed, kills, longest), **compare(place)}


def killed_again(folder: Path, options: Sequence[str], seed: int, kills: int, longest: float) -> int:
    """Train, killed up to `kills` times, until it is done; return the number of kills before that."""
    moments = random.Random(seed)
    for lives in range(kills):
        process = Training(folder, options)
        if not process.killed_after(moments.uniform(0.0, longest)):
            process.wait_for_end()
            return lives
    Training(folder, options).wait_for_end()
    return kills


class Training:
    """`charlm fit` in a folder, in a process of its own; goes on with the run that is there, if one has got so far.

    Args:
        folder: the folder, which is made.
        options: of `charlm fit`, for a new run.
        variables: more variables of the environment.
    """

    def __init__(self, folder: Path, options: Sequence[str], **variables: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        quiet = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
        begun = any(folder.glob("lightning_logs/*/config.yaml"))
        command = [sys.executable, "-m", "charlm", "fit", *(["--resume"] if begun else [*options, *quiet])]
        environment = {"OMP_NUM_THREADS": "1", **os.environ, **variables}
        environment["PYTHONPATH"] = os.pathsep.join(map(str, (_SCRIPTS, _SCRIPTS.parents[1])))
        with (folder / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def killed_after(self, seconds: float) -> bool:
        """Kill the training after that many seconds; return whether it was still running."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            time.sleep(0.002)
        if self.process.poll() is not None:
            return False
        os.killpg(self.process.pid, signal.SIGKILL)
        return self.process.wait() == -signal.SIGKILL

    def wait_for_end(self) -> None:
        """Wait until the training ends, and exit with a message if it fails."""
        if self.process.wait() != 0:
            raise SystemExit(f"charlm fit ended with {self.process.returncode}; {self.folder}/log.txt says why")


def compare(place: Path) -> dict[str, Any]:
    """How many records, hooks and traces on the disk of the killed training are not those of the other one."""
    alone, killed = place / "alone", place / "killed"
    expected, found = records(alone), records(killed)
    wanted = by_batch(expected)
    steps = [line for line in found if "hook" not in line]
    seen = by_batch(found).keys()
    return {
        "step records": len(steps),
        "steps": len(wanted),
        "repeated": len(steps) - len(seen),
        "differing": sum(wanted.get((line["epoch"], line["place"])) != line for line in steps),
        "missing": len(wanted.keys() - seen),
        "hooks out of place": int(surviving_hooks(found) != surviving_hooks(expected)),
        "differing in the end": len(differences(run_in(alone), run_in(killed))),
    }


def records(folder: Path) -> list[dict[str, Any]]:
    """The lines that were written whole."""
    lines = (folder / "records.jsonl").read_bytes().split(b"\n")[:-1]
    return [json.loads(line) for line in lines]


def by_batch(lines: Sequence[dict[str, Any]]) -> dict[tuple[int, int], dict[str, Any]]:
    """The last record of each batch, by its epoch and its place in it; an optimizer's step may be of several."""
    return {(line["epoch"], line["place"]): line for line in lines if "hook" not in line}


def surviving_hooks(lines: Sequence[dict[str, Any]]) -> list[tuple[str, int, int]]:
    """The hooks in order, without those of a life that were done again in the next: of steps that were lost."""
    kept: list[tuple[int, str, int]] = []
    for line in lines:
        if "hook" not in line:
            continue
        mark = (line["step"], line["hook"], line["epoch"])
        if mark in kept:  # done again: what had come since belongs to a life that ended
            kept = kept[: kept.index(mark)]
        kept.append(mark)
    return [(hook, step, epoch) for step, hook, epoch in kept]


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
