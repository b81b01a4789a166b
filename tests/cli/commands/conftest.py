import string

import pytest
import torch

from charlm.data.corpus import read_corpus
from charlm.models.registry import MODELS

NAMES = """emma olivia ava isabella sophia mia charlotte amelia
harper evelyn abigail emily ella luna mila aria"""


@pytest.fixture
def names_file(tmp_path):
    """Sixteen names, all in lower case; their letters are the alphabet of the checkpoints below."""
    file = tmp_path / "names.txt"
    file.write_text(NAMES.replace(" ", "\n") + "\n")
    return file


@pytest.fixture
def write_run(tmp_path, names_file, monkeypatch):
    """Write a run as a training on `names_file` leaves it, into lightning_logs of the working directory."""
    monkeypatch.chdir(tmp_path)

    def write(net="MLP", version="version_0", data=None, alphabet=string.ascii_lowercase, **sizes):
        model = MODELS[net](alphabet=alphabet, **sizes)
        settings = {"path": str(names_file), "alphabet": alphabet, "block_size": 3, "batch_size": 4}
        checkpoint = {
            "pytorch-lightning_version": "2.6.6",
            "global_step": 12,
            "callbacks": {},
            "state_dict": model.state_dict(),
            "hyper_parameters": {"lr": 0.1, **sizes},
            "datamodule_hyper_parameters": settings | {"split": [0.6, 0.2, 0.2]} | (data or {}),
            "NamesDataModule": {"sha256": read_corpus(str(names_file), column=0).sha256, "source": str(names_file)},
        }
        model.on_save_checkpoint(checkpoint)
        run = tmp_path / "lightning_logs" / version
        (run / "checkpoints").mkdir(parents=True)
        torch.save(checkpoint, run / "checkpoints" / "best.ckpt")
        return run

    return write
