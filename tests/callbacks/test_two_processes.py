"""In a training with two processes, the callbacks that show something do so once, in the first process."""

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

SCRIPT = """
import sys

import lightning.pytorch as pl
import torch
from lightning.pytorch.demos.boring_classes import BoringModel
from lightning.pytorch.loggers import TensorBoardLogger

from charlm.callbacks import Dashboard, EmbeddingPCA, NameSamples, RunCheckpoint


class Model(BoringModel):
    def __init__(self):
        super().__init__()
        self.table, self.tanh = torch.nn.Embedding(6, 32), torch.nn.Tanh()

    def forward(self, batch):
        return self.tanh(super().forward(batch + self.table.weight.mean(0)))

    def validation_step(self, batch, batch_idx):
        self.log("loss/val", self(batch).mean(), sync_dist=True)

    def sample_names(self, n, seed):
        assert self.global_rank == 0
        return ["a"] * n

    def figures(self):
        assert self.global_rank == 0
        return {}


best = RunCheckpoint(sys.argv[1], monitor="loss/val")
pl.Trainer(
    accelerator="cpu", devices=2, strategy="ddp_fork", logger=TensorBoardLogger(sys.argv[1], name=None, version=""),
    enable_progress_bar=False, enable_model_summary=False,
    callbacks=[Dashboard(histograms=True), NameSamples(), EmbeddingPCA(every_n_steps=2, frames=2), best],
    max_steps=6, max_epochs=-1, val_check_interval=4, limit_val_batches=1, log_every_n_steps=1,
).fit(Model())
assert best.best_model_path.endswith("best.ckpt"), "as the processes have told"
"""


@pytest.mark.slow
def test_of_several_processes_the_first_one_shows(tmp_path, python):
    (tmp_path / "train.py").write_text(SCRIPT)
    run = tmp_path / "run"
    done = python("train.py", run)
    assert done.returncode == 0, done.stderr
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
