"""killloop.py's Recorder for trainings in several processes: a file for each."""

from kill_recorder import Recorder
from lightning.pytorch import LightningModule, Trainer


class RankRecorder(Recorder):
    """Append to `file`.0 in the first process, to `file`.1 in the second, and so on.

    Args:
        file: the name without the number.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.file = self.file.with_suffix(f"{self.file.suffix}.{trainer.global_rank}")
