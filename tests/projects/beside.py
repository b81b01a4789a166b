"""A model with dropout beside accumulation, averaged weights, torch.compile and others, one after another."""

import lightning.pytorch as pl
import torch
from harness import check
from lightning.pytorch.callbacks import EarlyStopping, EMAWeightAveraging, StochasticWeightAveraging
from torch import nn
from torch.utils.data import DataLoader


class Lit(pl.LightningModule):
    def __init__(self, compiled=False):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 1))
        self.loss = torch.compile(self._loss, backend="aot_eager") if compiled else self._loss

    def _loss(self, batch):
        return (self.net(batch) - batch.sum(1, keepdim=True)).square().mean()

    def training_step(self, batch, batch_idx):
        loss = self.loss(batch)
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.loss(batch))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Stream:
    """Batches without a length; each iterator goes on where the last one ended."""

    def __init__(self):
        self.generator = torch.Generator().manual_seed(1)

    def __iter__(self):
        while True:
            yield torch.randn(8, 5, generator=self.generator)


CASES = {
    "accumulation": {"accumulate_grad_batches": 3},
    "EMA": {"callbacks": lambda: [EMAWeightAveraging(decay=0.9)]},
    "SWA": {"callbacks": lambda: [StochasticWeightAveraging(swa_lrs=0.02, swa_epoch_start=2, annealing_epochs=1)]},
    "early stopping": {"callbacks": lambda: [EarlyStopping("val_loss", patience=1, min_delta=100.0)]},
    "torch.compile": {"compiled": True},
    "bf16-mixed": {"precision": "bf16-mixed"},
    "a stream by hand": {"stream": Stream, "max_epochs": -1, "max_steps": 60, "val_check_interval": 20},
}


def training(callbacks=list, compiled=False, stream=None, **special):
    def train(made, options):
        numbers = torch.randn(100, 5, generator=torch.Generator().manual_seed(1))
        loader = stream() if stream else DataLoader(numbers[:80], 8, shuffle=True)
        trainer = pl.Trainer(callbacks=[*callbacks(), *made], **{"max_epochs": 4} | options | special)
        trainer.fit(Lit(compiled), loader, DataLoader(numbers[80:], 20))

    return train


given = {"RunCheckpoint": {"monitor": "val_loss"}, "EmbeddingPCA": {"frames": 0}}
for title, case in CASES.items():
    check(training(**case), [], "net.0.weight", given, title=title)
