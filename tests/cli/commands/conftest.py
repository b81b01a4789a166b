import string

import pytest
import torch

from charlm.data.corpus import read_corpus
from charlm.nets.bigram import Bigram
from charlm.nets.gru import GRU
from charlm.nets.mlp import MLP

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
        args = {"vocab_size": len(alphabet) + 1, **sizes}
        module = {"Bigram": Bigram, "GRU": GRU, "MLP": MLP}[net](**args)
        settings = {
            "path": str(names_file),
            "alphabet": alphabet,
            "block_size": 3,
            "batch_size": 4,
            "split": [0.6, 0.2, 0.2],
        }
        run = tmp_path / "lightning_logs" / version
        (run / "checkpoints").mkdir(parents=True)
        torch.save(
            {
                "pytorch-lightning_version": "2.6.6",
                "global_step": 12,
                "callbacks": {},
                "state_dict": {f"net.{name}": weights for name, weights in module.state_dict().items()},
                "hyper_parameters": {"lr": 0.1, **sizes},
                "datamodule_hyper_parameters": {**settings, **(data or {})},
                "NamesDataModule": {"sha256": read_corpus(str(names_file), column=0).sha256, "source": str(names_file)},
                "charlm": {
                    **{"format": 1, "net": net, "net_args": args, "alphabet": alphabet},
                    **{"block_size": module.block_size, "parameters": sum(w.numel() for w in module.parameters())},
                },
            },
            run / "checkpoints" / "best.ckpt",
        )
        return run

    return write
