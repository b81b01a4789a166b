"""Workers of bench.py that train with Lightning: charlm's bigram and sweep, a plain MLP and a BoringModel."""

import time
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from lightning.pytorch.demos.boring_classes import BoringModel, RandomDataset
from peers import build_dataset, read_names
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from worker import Numbers, clock, work

from charlm.callbacks.lr_finder.sweep import LRSweep
from charlm.cli.trainer.threads import choose_threads
from charlm.data.datamodule import NamesDataModule
from charlm.models.windows import LitBigram, LitMLP


class Clock(pl.Callback):
    """The seconds between the start and the end of the training."""

    def on_train_start(self, *_: Any) -> None:
        self.seconds = -time.perf_counter()

    def on_train_end(self, *_: Any) -> None:
        self.seconds += time.perf_counter()


class SweepClock(pl.Callback):
    """The seconds of a sweep of the learning rate from 1e-4 to 10, and no training."""

    def __init__(self, steps: int) -> None:
        self.lrs = (10 ** torch.linspace(-4, 1, steps)).tolist()
        self.numbers = Numbers()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        with clock(self.numbers), LRSweep(trainer, pl_module, 0, None) as sweep:
            list(sweep.run(self.lrs))
        trainer.should_stop = True


class PlainMLP(pl.LightningModule):
    """The MLP as everyone writes it in Lightning."""

    def __init__(self, vocab_size: int, block_size: int = 3, n_embd: int = 10, n_hidden: int = 200) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Embedding(vocab_size, n_embd),
            nn.Flatten(),
            nn.Linear(block_size * n_embd, n_hidden),
            nn.Tanh(),
            nn.Linear(n_hidden, vocab_size),
        )

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        context, target = batch
        loss = F.cross_entropy(self.net(context), target)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def bigram(data: str, steps: int) -> Numbers:
    """Gradient descent on all pairs of characters at once."""
    names = NamesDataModule(data, block_size=1, batch_size=None, split=(1, 0, 0), split_by="line")
    model = LitBigram(alphabet=names.alphabet, init="notebook", weight_penalty=0.01, lr=50.0)
    # an epoch is one step here, and Lightning's own choice is a checkpoint after each
    return {"seconds": fit(model, names, steps, enable_checkpointing=False)}


def sweep(data: str, steps: int) -> Numbers:
    """What `charlm lr-find` does at the default settings, without what it draws and writes."""
    names = NamesDataModule(data)
    choose_threads(names.hparams["batch_size"])
    watch = SweepClock(steps)
    fit(LitMLP(alphabet=names.alphabet), names, steps, [watch], logger=False, enable_checkpointing=False)
    return watch.numbers


def mlp(data: str, steps: int) -> Numbers:
    """The model and names of the mlp row as everyone writes it, without its validations and pictures."""
    names = read_names(data)
    examples = TensorDataset(*build_dataset(names.parts()[0], names.stoi))
    loader = DataLoader(examples, batch_size=32, shuffle=True)
    return {"seconds": fit(PlainMLP(len(names.stoi)), loader, steps)}


def elsewhere(steps: int, per_execution: int = 0) -> Numbers:
    """A model that has nothing to do with names, with StepsPerExecution where it is given."""
    callbacks: list[pl.Callback] = []
    if per_execution:
        from charlm.callbacks.steps_per_execution.callback import StepsPerExecution

        callbacks.append(StepsPerExecution(per_execution))
    loader = DataLoader(RandomDataset(32, 6400), batch_size=4)
    return {"seconds": fit(BoringModel(), loader, steps, callbacks)}


def fit(
    model: pl.LightningModule, data: Any, steps: int, callbacks: Sequence[pl.Callback] = (), **options: Any
) -> float:
    """Seconds of training with Lightning's own logger, progress bar and checkpoint, without validation."""
    watch = Clock()
    options |= {"max_steps": steps, "max_epochs": -1, "accelerator": "cpu", "limit_val_batches": 0}
    pl.Trainer(callbacks=[*callbacks, watch], **options).fit(model, data)
    return watch.seconds


if __name__ == "__main__":
    work(bigram, mlp, elsewhere, sweep)
