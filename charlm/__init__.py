"""Character-level language models of names, from the bigram on, with PyTorch Lightning.

A public name loads its file when it is first used (PEP 562), so that `import charlm` costs nothing.
The callbacks are in `charlm.callbacks`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the same names for type checkers, which do not run `__getattr__`
    from charlm.data.contexts import build_contexts as build_contexts
    from charlm.data.corpus import Corpus as Corpus
    from charlm.data.corpus import read_corpus as read_corpus
    from charlm.data.datamodule import NamesDataModule as NamesDataModule
    from charlm.data.sequences import build_sequences as build_sequences
    from charlm.data.splits import Splits as Splits
    from charlm.data.splits import load_splits as load_splits
    from charlm.inference.sampling import sample_names as sample_names
    from charlm.inference.scoring import NameScore as NameScore
    from charlm.inference.scoring import score_names as score_names
    from charlm.models.base import LitCharLM as LitCharLM
    from charlm.models.mixture import LitMixture as LitMixture
    from charlm.models.names import LitBoW as LitBoW
    from charlm.models.names import LitEnsemble as LitEnsemble
    from charlm.models.names import LitGRU as LitGRU
    from charlm.models.names import LitLSTM as LitLSTM
    from charlm.models.names import LitRNN as LitRNN
    from charlm.models.names import LitTransformer as LitTransformer
    from charlm.models.ngram import LitNGram as LitNGram
    from charlm.models.windows import LitBigram as LitBigram
    from charlm.models.windows import LitDeepMLP as LitDeepMLP
    from charlm.models.windows import LitMLP as LitMLP
    from charlm.models.windows import LitWaveNet as LitWaveNet
    from charlm.nets.bigram import Bigram as Bigram
    from charlm.nets.bow import BoW as BoW
    from charlm.nets.counts import CountBigram as CountBigram
    from charlm.nets.deepmlp import DeepMLP as DeepMLP
    from charlm.nets.ensemble import Ensemble as Ensemble
    from charlm.nets.gru import GRU as GRU
    from charlm.nets.loss import evaluate as evaluate
    from charlm.nets.lstm import LSTM as LSTM
    from charlm.nets.mixture import Mixture as Mixture
    from charlm.nets.mlp import MLP as MLP
    from charlm.nets.ngram import NGram as NGram
    from charlm.nets.rnn import RNN as RNN
    from charlm.nets.transformer import Transformer as Transformer
    from charlm.nets.wavenet import WaveNet as WaveNet
    from charlm.runs.directory import find_checkpoint as find_checkpoint
    from charlm.runs.load_checkpoint import Checkpoint as Checkpoint
    from charlm.runs.load_checkpoint import load_checkpoint as load_checkpoint
    from charlm.tokenizer import CharTokenizer as CharTokenizer

__version__ = "0.1.0"

_NAMES_IN = {
    "data.contexts": ("build_contexts",),
    "data.corpus": ("Corpus", "read_corpus"),
    "data.datamodule": ("NamesDataModule",),
    "data.sequences": ("build_sequences",),
    "data.splits": ("Splits", "load_splits"),
    "inference.sampling": ("sample_names",),
    "inference.scoring": ("NameScore", "score_names"),
    "models.registry": ("LitCharLM",),  # with all models, so that it loads a checkpoint of any of them
    "models.mixture": ("LitMixture",),
    "models.names": ("LitBoW", "LitEnsemble", "LitGRU", "LitLSTM", "LitRNN", "LitTransformer"),
    "models.ngram": ("LitNGram",),
    "models.windows": ("LitBigram", "LitDeepMLP", "LitMLP", "LitWaveNet"),
    "nets.bigram": ("Bigram",),
    "nets.bow": ("BoW",),
    "nets.counts": ("CountBigram",),
    "nets.deepmlp": ("DeepMLP",),
    "nets.ensemble": ("Ensemble",),
    "nets.gru": ("GRU",),
    "nets.loss": ("evaluate",),
    "nets.lstm": ("LSTM",),
    "nets.mixture": ("Mixture",),
    "nets.mlp": ("MLP",),
    "nets.ngram": ("NGram",),
    "nets.rnn": ("RNN",),
    "nets.transformer": ("Transformer",),
    "nets.wavenet": ("WaveNet",),
    "runs.load_checkpoint": ("Checkpoint", "load_checkpoint"),
    "runs.directory": ("find_checkpoint",),
    "tokenizer": ("CharTokenizer",),
}
_FILE_OF = {name: file for file, names in _NAMES_IN.items() for name in names}
if not TYPE_CHECKING:  # type checkers take the imports above, for a star import too
    __all__ = [*_FILE_OF, "__version__"]


def __getattr__(name: str) -> object:
    if name not in _FILE_OF:
        raise AttributeError(
            f"module 'charlm' has no attribute {name!r}; its public names are {', '.join(sorted(_FILE_OF))}"
        )
    value = getattr(import_module(f"charlm.{_FILE_OF[name]}"), name)
    globals()[name] = value  # the next use finds it without this function
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_FILE_OF})
