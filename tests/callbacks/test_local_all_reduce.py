"""Gradients averaged over sockets: gloo's, in real processes of a model that is not of this package."""

import pytest
import torch

from charlm.callbacks import LocalAllReduce

SCRIPT = """
import sys

import lightning.pytorch as pl
import torch
from lightning.pytorch.demos.boring_classes import BoringModel

from charlm.callbacks import LocalAllReduce


class End(pl.Callback):
    def __init__(self, file):
        self.file = file

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if trainer.global_step == 5 and "fail" in self.file and trainer.global_rank == 1:
            raise ZeroDivisionError("rank 1 divides by zero")

    def on_train_end(self, trainer, module):
        torch.save(module.state_dict(), f"{self.file} {trainer.global_rank}.pt")


class Wide(BoringModel):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.Tanh(), torch.nn.Linear(64, 2))


if __name__ == "__main__":
    torch.set_num_threads(1)
    processes, out, *ways = sys.argv[1:]
    for way in ways:
        max_bytes, accumulated, precision, *_ = way.split(",")
        pl.seed_everything(3)
        strategy = "ddp" if "fail" in way else "ddp_fork"  # the second imports once for all
        pl.Trainer(
            accelerator="cpu", devices=int(processes), strategy=strategy, max_epochs=2, limit_val_batches=1,
            accumulate_grad_batches=int(accumulated), enable_checkpointing=False, enable_progress_bar=False,
            logger=False, enable_model_summary=False, precision=precision,
            callbacks=[LocalAllReduce(int(max_bytes)), End(f"{out}/{way}")],
        ).fit(Wide())
"""


GLOO, SOCKETS = 0, 1 << 20  # the most bytes that go by sockets


def start(python, folder, processes, *ways):
    """Train in processes of their own, in one way after the other: bytes, accumulated batches and precision."""
    (folder / "train.py").write_text(SCRIPT)
    return python("train.py", processes, folder, *ways)


def weights(folder, processes, way):
    """Those that each process had in the end."""
    return [torch.load(folder / f"{way} {rank}.pt", weights_only=True) for rank in range(processes)]


@pytest.mark.slow
def test_two_processes_get_what_gloo_gives_them_bit_for_bit(tmp_path, python):
    hows = ("1,32-true", "2,bf16-true")
    ran = start(python, tmp_path, 2, *(f"{most},{how}" for most in (GLOO, SOCKETS) for how in hows))
    assert ran.returncode == 0, ran.stderr
    for how in hows:
        by_gloo, by_socket = (weights(tmp_path, 2, f"{most},{how}") for most in (GLOO, SOCKETS))
        for of_rank in (*by_gloo[1:], *by_socket):
            assert all(torch.equal(tensor, by_gloo[0][name]) for name, tensor in of_rank.items())


@pytest.mark.slow
def test_three_processes_agree_with_each_other_and_with_gloo_but_for_rounding(tmp_path, python):
    ways = [f"{most},1,32-true" for most in (GLOO, SOCKETS)]
    ran = start(python, tmp_path, 3, *ways)
    assert ran.returncode == 0, ran.stderr
    by_gloo, by_socket = (weights(tmp_path, 3, way) for way in ways)
    for name, tensor in by_socket[0].items():
        assert all(torch.equal(tensor, other[name]) for other in by_socket)
        torch.testing.assert_close(tensor, by_gloo[0][name])


@pytest.mark.slow
def test_the_others_are_told_when_a_process_fails(tmp_path, python):
    ran = start(python, tmp_path, 2, f"{SOCKETS},1,32-true,fail")
    assert ran.returncode != 0
    assert "ZeroDivisionError: rank 1 divides by zero" in ran.stderr
    assert "process 1 of this training has ended; its own message says why" in ran.stderr


def test_a_negative_size_is_refused():
    with pytest.raises(ValueError, match=r"^LocalAllReduce's max_bytes is -1; give a number of bytes, or 0"):
        LocalAllReduce(-1)
