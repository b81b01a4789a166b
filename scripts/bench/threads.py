"""Compares trainings with one and with two CPU threads, for each shipped config.

python scripts/bench/threads.py --data names.txt     nine minutes, alone on the machine; with --pairs 1 five

Each `charlm fit` is stopped after a few seconds. A step takes the wall time between two points of loss/train, with the
validations in between, so other programs on the machine make the numbers worthless. `choose_threads` in
charlm/cli/trainer/threads.py is where charlm chooses.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from jsonargparse import auto_cli
from jsonargparse.typing import PositiveInt
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from charlm.cli.table import Cell, Table, render
from charlm.cli.trainer.configs import config_names

_BY_COUNTING = ("debug", "ngram")  # configs without steps to time


def main(
    data: str | None = None,
    configs: tuple[str, ...] = (),
    threads: tuple[PositiveInt, ...] = (1, 2),
    seconds: PositiveInt = 4,
    pairs: PositiveInt = 2,
) -> None:
    """Print the median milliseconds of a step for each config and number of threads, and how many times as fast it is.

    Args:
        data: a file with one name a line; by default the bundled names.
        configs: the configs; by default all shipped ones that train in steps.
        threads: the numbers of threads, which take turns.
        seconds: of each training.
        pairs: trainings of each config with each number of threads.
    """
    rows: list[list[Cell]] = []
    for config in configs or [name for name in config_names() if name not in _BY_COUNTING]:
        taken: dict[int, list[float]] = {number: [] for number in threads}
        for _ in range(pairs):
            for number in threads:
                taken[number].append(step_seconds(config, number, seconds, data))
        medians = [statistics.median(times) for times in taken.values()]
        rows.append([config, *(1000 * median for median in medians), medians[0] / medians[-1]])
        print(*rows[-1], sep="  ", file=sys.stderr, flush=True)
    columns = ("config", *(f"ms with {number}" for number in threads), "times as fast")
    print(render(Table(columns, rows), "markdown"))


def step_seconds(config: str, threads: int, seconds: int, data: str | None) -> float:
    """Seconds of wall time for a step of a training that is stopped after so many seconds.

    Raises:
        ValueError: the training logs less than two losses in this time.
    """
    command = [
        sys.executable,
        "-m",
        "charlm",
        "fit",
        "--config",
        config,
        "--trainer.max_time",
        f"00:00:00:{seconds:02}",
    ]
    command += [] if data is None else ["--data.path", os.path.abspath(data)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
        (run,) = Path(folder, "lightning_logs").glob("001-*")
        events = EventAccumulator(str(run), {"scalars": 0}).Reload()
        points = events.Scalars("loss/train") if "loss/train" in events.Tags()["scalars"] else []
    if len(points) < 2:
        raise ValueError(f"{config} logs less than two losses in {seconds} s; give more --seconds")
    first, last = points[0], points[-1]
    return (last.wall_time - first.wall_time) / (last.step - first.step)


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
