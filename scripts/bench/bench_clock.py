"""A clock inside a training that bench.py starts: `charlm fit --trainer.callbacks+ bench_clock.EpochClock`."""

import time

from lightning.pytorch import Callback, LightningModule, Trainer

WORD = "bench_clock"


class EpochClock(Callback):
    """Prints the steps and the seconds between two epochs' starts, to leave out how a run starts and ends.

    Args:
        warm_up: steps before the first of the two.
    """

    def __init__(self, warm_up: int) -> None:
        self.warm_up = warm_up
        self.starts: list[tuple[int, float]] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note where training stands."""
        if trainer.global_step >= self.warm_up:
            self.starts.append((trainer.global_step, time.perf_counter()))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print what `steps_a_second` reads."""
        if trainer.is_global_zero:
            (first, started), *_, (last, ended) = self.starts
            print(WORD, last - first, ended - started)


def steps_a_second(output: str) -> float:
    """What a training with an EpochClock has printed."""
    line = next(line for line in output.splitlines() if line.startswith(WORD))
    steps, seconds = map(float, line.split()[1:])
    return steps / seconds
