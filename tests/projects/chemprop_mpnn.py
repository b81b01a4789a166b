"""A message-passing network of chemprop, with its own module, loaders, metrics and Noam schedule."""

import chemprop
import lightning.pytorch as pl
from harness import check

SMILES = ["C" * carbons + end for carbons in range(1, 13) for end in ("", "O", "N", "=O", "C(=O)O")]


def train(callbacks, options):
    points = [chemprop.data.MoleculeDatapoint.from_smi(smiles, [float(len(smiles))]) for smiles in SMILES]
    data = [chemprop.data.MoleculeDataset(part) for part in (points[:50], points[50:])]
    loaders = [chemprop.data.build_dataloader(part, batch_size=5, shuffle=part is data[0]) for part in data]
    network = chemprop.nn.BondMessagePassing(d_h=16), chemprop.nn.MeanAggregation()
    model = chemprop.models.MPNN(*network, chemprop.nn.RegressionFFN(input_dim=16, hidden_dim=16), warmup_epochs=1)
    pl.Trainer(max_epochs=4, callbacks=callbacks, **options).fit(model, *loaders)


check(train, ["chemprop"], "message_passing.W_h", {"RunCheckpoint": {"monitor": "val_loss"}})
