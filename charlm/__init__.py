"""Character-level language models of names, from the bigram on, with PyTorch Lightning.

The public names below load their file when they are first used (PEP 562), so `import charlm` costs nothing.
The callbacks are in `charlm.callbacks`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from charlm.checkpoints import Checkpoint, load_checkpoint
    from charlm.counts import CountBigram
    from charlm.data.contexts import build_contexts
    from charlm.data.corpus import Corpus, read_corpus
    from charlm.data.datamodule import NamesDataModule
    from charlm.data.sequences import build_sequences
    from charlm.data.splits import Splits, load_splits
    from charlm.lightning_modules import (
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
    from charlm.loss import evaluate
    from charlm.nets.bigram import Bigram
    from charlm.nets.bow import BoW
    from charlm.nets.deepmlp import DeepMLP
    from charlm.nets.ensemble import Ensemble
    from charlm.nets.gru import GRU
    from charlm.nets.lstm import LSTM
    from charlm.nets.mlp import MLP
    from charlm.nets.rnn import RNN
    from charlm.nets.transformer import Transformer
    from charlm.nets.wavenet import WaveNet
    from charlm.runs import find_checkpoint
    from charlm.sampling import sample_names
    from charlm.scoring import NameScore, score_names
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
    "Checkpoint": "checkpoints",
    "Corpus": "data.corpus",
    "CountBigram": "counts",
    "DeepMLP": "nets.deepmlp",
    "Ensemble": "nets.ensemble",
    "GRU": "nets.gru",
    "LSTM": "nets.lstm",
    "LitBigram": "lightning_modules",
    "LitBoW": "lightning_modules",
    "LitCharLM": "lightning_modules",
    "LitDeepMLP": "lightning_modules",
    "LitEnsemble": "lightning_modules",
    "LitGRU": "lightning_modules",
    "LitLSTM": "lightning_modules",
    "LitMLP": "lightning_modules",
    "LitRNN": "lightning_modules",
    "LitTransformer": "lightning_modules",
    "LitWaveNet": "lightning_modules",
    "MLP": "nets.mlp",
    "NameScore": "scoring",
    "NamesDataModule": "data.datamodule",
    "RNN": "nets.rnn",
    "Splits": "data.splits",
    "Transformer": "nets.transformer",
    "WaveNet": "nets.wavenet",
    "build_contexts": "data.contexts",
    "build_sequences": "data.sequences",
    "evaluate": "loss",
    "find_checkpoint": "runs",
    "load_checkpoint": "checkpoints",
    "load_splits": "data.splits",
    "read_corpus": "data.corpus",
    "sample_names": "sampling",
    "score_names": "scoring",
}


def __getattr__(name: str) -> object:
    if name not in _FILE_OF:
        raise AttributeError(f"module 'charlm' has no attribute {name!r}; its public names are {', '.join(__all__)}")
    value = getattr(import_module(f"charlm.{_FILE_OF[name]}"), name)
    globals()[name] = value  # the next use finds it without this function
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
