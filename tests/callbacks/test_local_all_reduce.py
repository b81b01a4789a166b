"""Gradients averaged over sockets: gloo's, in real processes of a model that is not of this package."""

import subprocess
import sys

import pytest
import torch

from charlm.callbacks import LocalAllReduce

SCRIPT = """
import sys

import lightning.pytorch as pl
import torch
from lightning.pytorch.demos.boring_classes import BoringModel

from charlm.callbacks import LocalAllReduce


class Meddler(pl.Callback):
    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if trainer.global_step == 5 and "fail" in sys.argv and trainer.global_rank == 1:
            raise ZeroDivisionError("rank 1 divides by zero")


class Wide(BoringModel):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.Tanh(), torch.nn.Linear(64, 2))


if __name__ == "__main__":
    torch.set_num_threads(1)
    max_bytes, processes, accumulated, precision, out, *_ = sys.argv[1:]
    pl.seed_everything(3)
    model = Wide()
    callback = LocalAllReduce(int(max_bytes))
    trainer = pl.Trainer(
        accelerator="cpu", devices=int(processes), strategy="ddp", max_epochs=2, limit_val_batches=1, logger=False,
        accumulate_grad_batches=int(accumulated), enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, precision=precision, callbacks=[callback, Meddler()],
    )
    trainer.fit(model)
    torch.save(model.state_dict(), f"{out}/rank{trainer.global_rank}.pt")
"""


def run(folder, max_bytes, processes=2, accumulated=1, precision="32-true", *more):
    """Train in processes of their own; what each one's weights are."""
    folder.mkdir()
    (folder / "train.py").write_text(SCRIPT)
    arguments = [str(argument) for argument in (max_bytes, processes, accumulated, precision, folder, *more)]
    command = [sys.executable, str(folder / "train.py"), *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=200, cwd=folder)
    if more:
        return ran
    assert ran.returncode == 0, ran.stderr
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(processes)]


@pytest.mark.slow
@pytest.mark.parametrize(("accumulated", "precision"), [(1, "32-true"), (2, "bf16-true")])
def test_two_processes_get_what_gloo_gives_them_bit_for_bit(accumulated, precision, tmp_path):
    by_gloo = run(tmp_path / "gloo", 0, 2, accumulated, precision)
    by_socket = run(tmp_path / "socket", 1 << 20, 2, accumulated, precision)
    for weights in (*by_gloo[1:], *by_socket):
        assert all(torch.equal(tensor, by_gloo[0][name]) for name, tensor in weights.items())


@pytest.mark.slow
def test_three_processes_agree_with_each_other_and_with_gloo_but_for_rounding(tmp_path):
    by_gloo, by_socket = run(tmp_path / "gloo", 0, 3), run(tmp_path / "socket", 1 << 20, 3)
    for name, tensor in by_socket[0].items():
        assert all(torch.equal(tensor, other[name]) for other in by_socket)
        torch.testing.assert_close(tensor, by_gloo[0][name])


@pytest.mark.slow
def test_the_others_are_told_when_a_process_fails(tmp_path):
    ran = run(tmp_path / "failing", 1 << 20, 2, 1, "32-true", "fail")
    assert ran.returncode != 0
    assert "ZeroDivisionError: rank 1 divides by zero" in ran.stderr
    assert "process 1 of this training has ended; its own message says why" in ran.stderr


def test_a_negative_size_is_refused():
    with pytest.raises(ValueError, match="max_bytes is -1; give a number of bytes, or 0"):
        LocalAllReduce(-1)
