"""A project whose module, Trainer and callbacks are made by hydra from a config, as in lightning-hydra-template.

The harness gives the callbacks; three more come from the config in each training, where lists are OmegaConf's.
"""

import hydra
import lightning.pytorch as pl
import torch
from harness import check
from omegaconf import OmegaConf

CONFIG = """
model:
  _target_: __main__.Lit
  optimizer: {_target_: torch.optim.SGD, _partial_: true, lr: 0.1}
trainer: {_target_: lightning.pytorch.Trainer, max_epochs: 3, val_check_interval: 0.5}
callbacks:
  checkpoint: {_target_: lightning.pytorch.callbacks.ModelCheckpoint, monitor: val_loss}
  decay: {_target_: charlm.callbacks.StepDecay, milestones: [10, 20], gamma: 0.5}
  pictures: {_target_: charlm.callbacks.EmbeddingPCA, module: table, labels: [one, two, three, four, five]}
"""


class Lit(pl.LightningModule):
    def __init__(self, optimizer):
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.table = torch.nn.Embedding(5, 3)

    def training_step(self, batch, batch_idx):
        loss = (self.table(batch).sum(1) - batch).square().mean()
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", (self.table(batch).sum(1) - batch).square().mean())

    def configure_optimizers(self):
        return self.hparams.optimizer(self.parameters())


def train(callbacks, options):
    config = OmegaConf.create(CONFIG)
    own = [hydra.utils.instantiate(part) for part in config.callbacks.values()]
    trainer = hydra.utils.instantiate(config.trainer, callbacks=[*own, *callbacks], _convert_="object", **options)
    numbers = torch.arange(100).fmod(5)
    loaders = [torch.utils.data.DataLoader(part, 10, shuffle=part is numbers) for part in (numbers, numbers[:20])]
    trainer.fit(hydra.utils.instantiate(config.model), *loaders)


given = {"RunCheckpoint": {"monitor": "val_loss"}}
check(train, ["hydra-core", "omegaconf"], "table", given, leave_out={"StepDecay", "EmbeddingPCA"})
