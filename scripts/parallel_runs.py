"""Starts trainings at the same moment in one folder, and counts their run directories.

python scripts/parallel_runs.py                       8 at once, 20 times
python scripts/parallel_runs.py --at_once 4 --times 2

Each training is a `charlm fit` of a few steps with its own seed. Every run directory has to hold the config, the
checkpoints and the results of exactly one training; otherwise the exit status is 1.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from jsonargparse import auto_cli
from jsonargparse.typing import PositiveInt

from charlm.runs.directory import read_results
from charlm.runs.load_checkpoint import load_checkpoint


def main(at_once: PositiveInt = 8, times: PositiveInt = 20) -> None:
    """Start the trainings and print one line of figures.

    Args:
        at_once: trainings that are started at the same moment.
        times: repetitions, in the same folder.
    """
    with tempfile.TemporaryDirectory(prefix="parallel-runs-") as folder:
        failed = 0
        for time in range(times):
            processes = [start(Path(folder), time * at_once + number) for number in range(at_once)]
            failed += sum(process.wait() != 0 for process in processes)
        runs = sorted(Path(folder, "lightning_logs").iterdir())
        seeds = [seed_of(run) for run in runs]
        whole = len({seed for seed in seeds if seed is not None})
    print(
        f"{at_once * times} trainings, {len(runs)} run directories, {whole} whole and of one training, {failed} failed"
    )
    raise SystemExit(0 if whole == len(runs) == at_once * times and not failed else 1)


def start(folder: Path, seed: int) -> "subprocess.Popen[bytes]":
    """Start a training of a few steps."""
    options = ["--trainer.max_steps=6", "--trainer.val_check_interval=3", "--trainer.enable_progress_bar=false"]
    command = [sys.executable, "-m", "charlm", "fit", f"--seed_everything={seed}", *options]
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def seed_of(run: Path) -> int | None:
    """The seed of the training in a run directory; None if a part is missing or parts come from several trainings."""
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    files = sorted((run / "checkpoints").glob("*.ckpt"))
    events = list(run.glob("events.out.tfevents.*"))
    processes = {file.name.split(".")[5] for file in events}
    whole = len(files) == 2 and len(processes) == 1 and read_results(run)["step"] > 0
    return int(config["seed_everything"]) if whole and all(load_checkpoint(file).step > 0 for file in files) else None


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
