"""Callbacks for killloop.py and combinations.py: one writes a line for each step, one ends the process at a moment."""

import hashlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from charlm.callbacks.exact_resume.rng_state import rng_state


class Recorder(Callback):
    """Append a line to `file` for every step and every hook of an epoch, each in one write.

    Args:
        file: of lines in JSON; of several processes each has its own, `file`.0, `file`.1 and so on.
    """

    def __init__(self, file: str) -> None:
        self.file = Path(file)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.world_size > 1:
            self.file = self.file.with_name(f"{self.file.name}.{trainer.global_rank}")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The digest of the batch, the weights, the optimizer and the generators; the loss and the rate to the bit."""
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        pl_module.log("seen/train", loss.detach(), on_step=False, on_epoch=True)
        optimizer = trainer.optimizers[0]
        state = [value for of_weight in optimizer.state.values() for value in of_weight.values()]
        self._write(
            step=trainer.global_step,
            epoch=trainer.current_epoch,
            place=batch_idx,
            batch=digest(batch),
            loss=loss.item().hex(),
            lr=float(optimizer.param_groups[0]["lr"]).hex(),
            weights=digest(list(pl_module.state_dict().values())),
            optimizer=digest([value for value in state if isinstance(value, torch.Tensor)]),
            rng=hashlib.sha1(repr(_plain(rng_state())).encode()).hexdigest()[:16],
        )

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(hook="epoch_start", step=trainer.global_step, epoch=trainer.current_epoch)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(hook="epoch_end", step=trainer.global_step, epoch=trainer.current_epoch)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._write(hook="validation", step=trainer.global_step, epoch=trainer.current_epoch)

    def _write(self, **line: Any) -> None:
        with self.file.open("ab", buffering=0) as file:
            file.write((json.dumps(line) + "\n").encode())


class Striker(Callback):
    """Send this process a signal at the moment that the variable STRIKE gives, such as "train_batch_end 14 SIGTERM".

    The moment is the first such hook after so many batches of the whole training; without the variable there is none.
    """

    def __init__(self) -> None:
        self.hook, batch, self.signal = os.environ.get("STRIKE", "none 0 none").split()
        self.batch = int(batch)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self._strike("train_batch_end", trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._strike("validation_end", trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._strike("train_epoch_end", trainer)

    def _strike(self, hook: str, trainer: Trainer) -> None:
        if hook == self.hook and trainer.fit_loop.total_batch_idx + 1 >= self.batch:
            self.hook = "none"
            os.kill(os.getpid(), getattr(signal, self.signal))


def digest(tensors: Any) -> str:
    """A short SHA-1 of the bytes of tensors."""
    sha1 = hashlib.sha1()
    for tensor in tensors:
        sha1.update(tensor.detach().contiguous().cpu().numpy().tobytes())
    return sha1.hexdigest()[:16]


def _plain(state: Any) -> Any:
    if isinstance(state, torch.Tensor):
        return digest([state])
    if isinstance(state, dict):
        return {key: _plain(value) for key, value in state.items()}
    return [_plain(part) for part in state] if isinstance(state, list | tuple) else state
