"""A graph network of torch_geometric, with its DataLoader and a schedule that follows the validation loss."""

import lightning.pytorch as pl
import torch
from harness import check
from torch.nn.functional import mse_loss
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader
from torch_geometric.nn import GCNConv, global_mean_pool


class Lit(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.atoms = torch.nn.Embedding(6, 8)
        self.conv = GCNConv(8, 8)
        self.out = torch.nn.Linear(8, 1)

    def loss(self, batch):
        nodes = torch.dropout(self.conv(self.atoms(batch.x), batch.edge_index).relu(), 0.1, self.training)
        return mse_loss(self.out(global_mean_pool(nodes, batch.batch))[:, 0], batch.y)

    def training_step(self, batch, batch_idx):
        loss = self.loss(batch)
        self.log("train_loss", loss, batch_size=batch.num_graphs)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.loss(batch), batch_size=batch.num_graphs)

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=1e-2)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "monitor": "val_loss"}}


def train(callbacks, options):
    generator = torch.Generator().manual_seed(1)
    graphs = []
    for _ in range(120):
        atoms = torch.randint(6, (7,), generator=generator)
        ring = torch.tensor([[*range(7)], [*range(1, 7), 0]])
        graphs.append(Data(x=atoms, edge_index=ring, y=atoms.float().mean()[None]))
    loaders = DataLoader(graphs[:100], batch_size=8, shuffle=True), DataLoader(graphs[100:], batch_size=20)
    pl.Trainer(max_epochs=3, callbacks=callbacks, **options).fit(Lit(), *loaders)


check(train, ["torch-geometric"], "atoms", {"RunCheckpoint": {"monitor": "val_loss"}})
