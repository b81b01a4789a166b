"""A callback for ddp_faults.py: it tells where a training is, and keeps it there for a while."""

import os
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_only

MOMENTS = ("start", "training", "validation", "end")


class Moment(Callback):
    """Write the process's number to <folder>/<moment>-<rank> when it has come there.

    Args:
        moment: "start": before the processes have found each other, where the second one stays for `seconds`;
            "training", after some steps; "validation", every batch of which takes `seconds`; "end": after the last
            step, where the first one stays for `seconds` alone, as if it drew figures.
        folder: that exists.
        seconds: see above; in the other moments a step takes 5 ms.
    """

    def __init__(self, moment: str, folder: str, seconds: float = 2.0) -> None:
        self.moment, self.folder, self.seconds = moment, Path(folder), seconds
        if moment == "start":
            self._tell()
            if getattr(rank_zero_only, "rank", 0) > 0:
                time.sleep(seconds)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Not too fast, so that the moment is met."""
        if self.moment != "end":
            time.sleep(0.005)
        if self.moment == "training" and trainer.global_step > 20:
            self._tell()

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if self.moment == "validation" and not trainer.sanity_checking:
            self._tell()
            time.sleep(self.seconds)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.moment == "end":
            self._tell()
            if trainer.is_global_zero:
                time.sleep(self.seconds)

    def _tell(self) -> None:
        partial = self.folder / f".{os.getpid()}"
        partial.write_text(str(os.getpid()))
        partial.rename(self.folder / f"{self.moment}-{getattr(rank_zero_only, 'rank', 0)}")
