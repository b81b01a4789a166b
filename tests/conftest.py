import importlib
import sys
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch


def pytest_sessionstart():
    """One thread, as charlm itself takes: small steps on two wait for each other when the machine is busy."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def alone():
    """What a command line that runs in this process needs: a folder of its own."""

    def alone(patch, folder):
        """Without this process's own arguments, and without leaving behind what Lightning's seeding leaves."""
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["charlm"])
        patch.setenv("OMP_NUM_THREADS", "1")
        for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
            patch.setenv(name, "0")
            patch.delenv(name)

    return alone


@pytest.fixture(scope="session")
def script():
    """Imports a file of scripts/, whose files import each other by bare name."""

    def script(name):
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(Path(__file__).parents[1] / "scripts")
            return importlib.import_module(name)

    return script


@pytest.fixture
def trainer(tmp_path):
    """A quiet Trainer on the CPU."""

    def make(**options):
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
        quiet |= {"enable_model_summary": False, "log_every_n_steps": 1, "default_root_dir": tmp_path}
        return pl.Trainer(**(quiet | {"limit_val_batches": 0} | options))

    return make
