"""Small models and a file of sixteen short names."""

import pytest
import torch

from charlm.data.datamodule import NamesDataModule
from charlm.models.mixture import LitMixture
from charlm.models.names import LitBoW, LitEnsemble, LitGRU, LitLSTM, LitRNN, LitTransformer
from charlm.models.ngram import LitNGram
from charlm.models.windows import LitBigram, LitDeepMLP, LitMLP, LitWaveNet

NAMES = ["abc", "bca", "cab", "aa", "bb", "cc", "abab", "bcbc", "caca", "ab", "ba", "ac", "ca", "abba", "cbbc", "a"]
SMALL = {
    LitBigram: {"init": "notebook"},
    LitNGram: {"block_size": 3},
    LitMLP: {"n_embd": 2, "n_hidden": 4, "block_size": 8, "init": "notebook"},
    LitDeepMLP: {"n_embd": 2, "n_hidden": 4, "n_layer": 2, "block_size": 8},
    LitWaveNet: {"n_embd": 2, "n_hidden": 4, "block_size": 8, "dropout": 0.2},
    LitBoW: {"n_embd": 4, "n_hidden": 3, "block_size": 8},
    LitRNN: {"n_embd": 3, "n_hidden": 4},
    LitGRU: {"n_embd": 3, "n_hidden": 4, "dropout": 0.2},
    LitLSTM: {"n_embd": 3, "n_hidden": 4, "n_layer": 2, "dropout": 0.2},
    LitTransformer: {"n_layer": 1, "n_head": 2, "n_embd": 4, "block_size": 8, "dropout": 0.2},
    LitMixture: {"n_embd": 3, "n_hidden": 4, "dropout": 0.2},
    LitEnsemble: {"members": 2, "n_embd": 3, "n_hidden": 4, "dropout": 0.2},
}


@pytest.fixture
def make():
    """A model of the alphabet "abc" whose logits differ, so that no loss is the same by chance."""

    def make(kind, without_dropout=False, **arguments):
        torch.manual_seed(1)
        dropout = {"dropout": 0.0} if without_dropout and "dropout" in SMALL[kind] else {}
        model = kind(alphabet="abc", **{**SMALL[kind], **dropout, **arguments})
        with torch.no_grad():
            for net in getattr(model.net, "members", [model.net] * (kind is not LitNGram)):
                (net.W if kind is LitBigram else net.output.weight).normal_()
        return model

    return make


@pytest.fixture
def data(tmp_path):
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    path = str(tmp_path / "names.txt")
    return NamesDataModule(path, "abc", block_size=8, batch_size=3, split=(0.5, 0.3, 0.2), eval_batch_size=2)
