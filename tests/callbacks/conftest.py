import lightning.pytorch as pl
import pytest


@pytest.fixture
def trainer(tmp_path):
    """A Trainer on the CPU that prints nothing and writes below tmp_path only."""

    def make(*callbacks, **options):
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        quiet |= {"enable_model_summary": False, "default_root_dir": tmp_path, "accelerator": "cpu", "devices": 1}
        quiet |= {"limit_val_batches": 0}
        return pl.Trainer(callbacks=list(callbacks), **(quiet | options))

    return make
