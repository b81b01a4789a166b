"""How a callback looks at a training: which validations count, at which step, and without a trace."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import nn


def trainer_of(pl_module: LightningModule) -> Trainer | None:
    """The trainer that a module is attached to, if there is one."""
    try:
        return pl_module.trainer
    except RuntimeError:  # Lightning's answer where there is none
        return None


def is_of_fit(trainer: Trainer) -> bool:
    """Whether a validation that runs now is one of a training, and not its sanity check."""
    return trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking


def is_over(trainer: Trainer) -> bool:
    """Whether training ends with the iteration that has just ended."""
    epochs: Any = trainer.fit_loop.epoch_progress.current  # its class has more counters than its declaration
    no_more_epochs = trainer.max_epochs not in (None, -1) and epochs.processed >= trainer.max_epochs
    return bool(trainer.should_stop or trainer.global_step == trainer.max_steps or no_more_epochs)


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Evaluate a module in training: without gradients, every part in eval mode, torch's random numbers as they were.

    Afterwards each part is in the mode that it was in.
    """
    modes = [(part, part.training) for part in module.modules()]
    places = {tensor.device for tensor in (*module.parameters(), *module.buffers())}
    if isinstance(module, LightningModule):  # it may have no weights there
        places.add(module.device)
    devices = [place for place in places if place.type == "cuda"]
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        module.eval()
        try:
            yield
        finally:
            for part, training in modes:
                part.training = training
