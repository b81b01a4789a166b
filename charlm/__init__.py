"""Character-level language models of names, from the bigram on, with PyTorch Lightning.

The public names below load their file when they are first used (PEP 562), so `import charlm` costs nothing.
The callbacks are in `charlm.callbacks`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from charlm.data.contexts import build_contexts
    from charlm.data.corpus import Corpus, read_corpus
    from charlm.data.datamodule import NamesDataModule
    from charlm.data.sequences import build_sequences
    from charlm.data.splits import Splits, load_splits
    from charlm.inference.sampling import sample_names
    from charlm.inference.scoring import NameScore, score_names
    from charlm.models.windows import (
        LitBigram,
        LitBoW,
        LitCharLM,
        LitDeepMLP,
        LitEnsemble,
        LitGRU,
        LitLSTM,
        LitMLP,
        LitRNN,
        LitTransformer,
        LitWaveNet,
    )
    from charlm.nets.bigram import Bigram
    from charlm.nets.bow import BoW
    from charlm.nets.counts import CountBigram
    from charlm.nets.deepmlp import DeepMLP
    from charlm.nets.ensemble import Ensemble
    from charlm.nets.gru import GRU
    from charlm.nets.loss import evaluate
    from charlm.nets.lstm import LSTM
    from charlm.nets.mlp import MLP
    from charlm.nets.rnn import RNN
    from charlm.nets.transformer import Transformer
    from charlm.nets.wavenet import WaveNet
    from charlm.runs.checkpoint import Checkpoint, load_checkpoint
    from charlm.runs.directory import find_checkpoint
    from charlm.tokenizer import CharTokenizer

__version__ = "0.1.0"

__all__ = [
    "GRU",
    "LSTM",
    "MLP",
    "RNN",
    "Bigram",
    "BoW",
    "CharTokenizer",
    "Checkpoint",
    "Corpus",
    "CountBigram",
    "DeepMLP",
    "Ensemble",
    "LitBigram",
    "LitBoW",
    "LitCharLM",
    "LitDeepMLP",
    "LitEnsemble",
    "LitGRU",
    "LitLSTM",
    "LitMLP",
    "LitRNN",
    "LitTransformer",
    "LitWaveNet",
    "NameScore",
    "NamesDataModule",
    "Splits",
    "Transformer",
    "WaveNet",
    "__version__",
    "build_contexts",
    "build_sequences",
    "evaluate",
    "find_checkpoint",
    "load_checkpoint",
    "load_splits",
    "read_corpus",
    "sample_names",
    "score_names",
]

_FILE_OF = {
    "Bigram": "nets.bigram",
    "BoW": "nets.bow",
    "CharTokenizer": "tokenizer",
    "Checkpoint": "runs.checkpoint",
    "Corpus": "data.corpus",
    "CountBigram": "nets.counts",
    "DeepMLP": "nets.deepmlp",
    "Ensemble": "nets.ensemble",
    "GRU": "nets.gru",
    "LSTM": "nets.lstm",
    "LitBigram": "models.windows",
    "LitBoW": "models.windows",
    "LitCharLM": "models.windows",
    "LitDeepMLP": "models.windows",
    "LitEnsemble": "models.windows",
    "LitGRU": "models.windows",
    "LitLSTM": "models.windows",
    "LitMLP": "models.windows",
    "LitRNN": "models.windows",
    "LitTransformer": "models.windows",
    "LitWaveNet": "models.windows",
    "MLP": "nets.mlp",
    "NameScore": "inference.scoring",
    "NamesDataModule": "data.datamodule",
    "RNN": "nets.rnn",
    "Splits": "data.splits",
    "Transformer": "nets.transformer",
    "WaveNet": "nets.wavenet",
    "build_contexts": "data.contexts",
    "build_sequences": "data.sequences",
    "evaluate": "nets.loss",
    "find_checkpoint": "runs.directory",
    "load_checkpoint": "runs.checkpoint",
    "load_splits": "data.splits",
    "read_corpus": "data.corpus",
    "sample_names": "inference.sampling",
    "score_names": "inference.scoring",
}


def __getattr__(name: str) -> object:
    if name not in _FILE_OF:
        raise AttributeError(f"module 'charlm' has no attribute {name!r}; its public names are {', '.join(__all__)}")
    value = getattr(import_module(f"charlm.{_FILE_OF[name]}"), name)
    globals()[name] = value  # the next use finds it without this function
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
