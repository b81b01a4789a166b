"""In a training with two processes, each trains on its part, and what is shown is shown once, by the first."""

import json

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

SCRIPT = """
import sys
import warnings

import lightning.pytorch as pl
import torch
from lightning.pytorch.demos.boring_classes import BoringModel
from lightning.pytorch.loggers import TensorBoardLogger

from charlm.callbacks import Dashboard, EmbeddingPCA, ExactResume, NameSamples, ResumableLoader, RunCheckpoint


class Model(BoringModel):
    def __init__(self):
        super().__init__()
        self.table, self.tanh, self.seen = torch.nn.Embedding(6, 32), torch.nn.Tanh(), []

    def forward(self, batch):
        return self.tanh(super().forward(batch + self.table.weight.mean(0)))

    def training_step(self, batch, batch_idx):
        numbers, inputs = batch
        self.seen += numbers.tolist()
        return self(inputs).mean()

    def on_train_end(self):
        assert self.trainer.estimated_stepping_batches == 6
        self.print(self.all_gather(torch.tensor(self.seen)).tolist())

    def validation_step(self, batch, batch_idx):
        self.log("loss/val", self(batch).mean(), sync_dist=True)

    def sample_names(self, n, seed):
        assert self.global_rank == 0
        return ["a"] * n

    def figures(self):
        assert self.global_rank == 0
        return {}


numbers = torch.arange(24)
loader = ResumableLoader(torch.utils.data.TensorDataset(numbers, numbers[:, None].expand(24, 32) / 24), 2, seed=1)
options = {"accelerator": "cpu", "devices": 2, "strategy": "ddp_fork", "max_epochs": 1, "limit_val_batches": 1}
options |= {"enable_progress_bar": False, "enable_model_summary": False}
best = RunCheckpoint(sys.argv[1], monitor="loss/val")
pl.Trainer(
    logger=TensorBoardLogger(sys.argv[1], name=None, version=""), val_check_interval=4, log_every_n_steps=1,
    callbacks=[Dashboard(histograms=True), NameSamples(), EmbeddingPCA(every_n_steps=2, frames=2), best], **options,
).fit(Model(), loader)
assert best.best_model_path.endswith("best.ckpt"), "as the processes have told"
warnings.filterwarnings("ignore", "Be aware that when using `ckpt_path`, callbacks used to create the checkpoint")
loader = ResumableLoader(loader.examples, 2, seed=1)
resumed = pl.Trainer(callbacks=[ExactResume()], logger=False, enable_checkpointing=False, **options)
resumed.fit(Model(), loader, ckpt_path=best.best_model_path, weights_only=True)
"""


@pytest.mark.slow
def test_of_several_processes_each_trains_on_its_part_and_the_first_one_shows(tmp_path, python):
    (tmp_path / "train.py").write_text(SCRIPT)
    run = tmp_path / "run"
    done = python("train.py", run)
    assert done.returncode == 0, done.stderr
    whole, resumed = map(json.loads, done.stdout.splitlines())
    assert sorted(whole[0] + whole[1]) == [*range(24)], "each example comes in one process"
    assert resumed == [seen[8:] for seen in whole]
    assert not any(callback in done.stderr for callback in ("Dashboard", "NameSamples", "EmbeddingPCA")), "a warning"
    sizes = {"tensors": 0, "scalars": 0, "histograms": 0, "images": 0}
    found = EventAccumulator(str(run), size_guidance=sizes).Reload()
    assert [event.step for event in found.Scalars("saturation/tanh")] == [3]
    assert [event.step for event in found.Scalars("loss/val")] == [3]
    assert [event.step for event in found.Histograms("gradients/layer.weight")] == [3]
    assert [event.step for event in found.Scalars("samples/distinct")] == [0, 3, 5]
    assert [event.step for event in found.Images("embedding_pca")] == [0, 1, 3, 5]
    assert (run / "embedding_pca.gif").exists()
    with np.load(run / "embedding_pca.npz") as frames:
        assert frames["steps"].tolist() == [0, 1, 2, 3, 4, 5, 6]
        assert np.abs(np.diff(frames["tables"], axis=0)).max() > 0
