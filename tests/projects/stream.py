"""A stream of batches without a length, whose iterators go on where the last one ended."""

import lightning.pytorch as pl
import torch
from harness import check
from torch import nn


class Stream:
    def __init__(self):
        self.generator = torch.Generator().manual_seed(1)

    def __iter__(self):
        while True:
            yield torch.randn(8, 5, generator=self.generator)


class Lit(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 1))

    def training_step(self, batch, batch_idx):
        loss = (self.net(batch) - batch.sum(1, keepdim=True)).square().mean()
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", (self.net(batch) - batch.sum(1, keepdim=True)).square().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


def train(callbacks, options):
    options |= {"max_steps": 60, "val_check_interval": 20, "limit_val_batches": 2}
    pl.Trainer(callbacks=callbacks, **options).fit(Lit(), Stream(), torch.randn(2, 8, 5))


check(train, [], "net.0.weight", {"RunCheckpoint": {"monitor": "val_loss"}}, title="a stream by hand")
