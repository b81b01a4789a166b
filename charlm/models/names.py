"""The models of whole names. Dimension key: B names, L positions.

The arguments of a model are those of its net and, as `training`, those of `LitCharLM`.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from charlm.models.base import LitCharLM
from charlm.nets.bow import BoW
from charlm.nets.ensemble import Ensemble
from charlm.nets.gru import GRU
from charlm.nets.loss import cross_entropy
from charlm.nets.lstm import LSTM
from charlm.nets.rnn import RNN
from charlm.nets.transformer import Transformer
from charlm.tokenizer import LONGEST_NAME


class LitBoW(LitCharLM):
    """The bag of words: the mean of all characters so far and of their positions, through one tanh layer. Whole names.

    Args:
        block_size: T, positions, one more than the longest name; `charlm fit` takes it from data.block_size.
        n_embd: C, numbers per character.
        n_hidden: H, tanh units.
        training: `LitCharLM`'s other arguments.

    Source: "makemore" by Andrej Karpathy.
    """

    net_class = BoW

    def __init__(
        self, block_size: int = LONGEST_NAME + 1, n_embd: int = 64, n_hidden: int = 64, **training: Any
    ) -> None:
        super().__init__(**training)


class LitRecurrent(LitCharLM):
    """The common part of the models around RNN, GRU and LSTM. Whole names.

    Args:
        n_embd: C, numbers per character.
        n_hidden: H, units of a layer.
        n_layer: recurrent layers, each reading the one below.
        dropout: share of the units dropped in training, after the embedding and after each layer.
        training: `LitCharLM`'s other arguments.
    """

    def __init__(
        self, n_embd: int = 32, n_hidden: int = 256, n_layer: int = 1, dropout: float = 0.0, **training: Any
    ) -> None:
        super().__init__(**training)


class LitRNN(LitRecurrent):
    """The recurrent net of Elman 1990 and Mikolov et al. 2010: tanh units that read their own last values."""

    net_class = RNN


class LitGRU(LitRecurrent):
    """The gated recurrent units of Cho et al. 2014: two gates decide what is kept of the state."""

    net_class = GRU


class LitLSTM(LitRecurrent):
    """The long short-term memory of Hochreiter and Schmidhuber 1997: a cell keeps what three gates let in and out."""

    net_class = LSTM


class LitTransformer(LitCharLM):
    """A Transformer of the shape of GPT-2. Whole names.

    Args:
        block_size: T, positions, one more than the longest name; `charlm fit` takes it from data.block_size.
        n_layer: blocks.
        n_head: heads of each block's attention; they share the C numbers.
        n_embd: C, numbers per character and the width of the blocks.
        dropout: share of what is dropped in training.
        training: `LitCharLM`'s other arguments.

    Source: Vaswani et al. 2017, NeurIPS; Radford et al. 2019, "Language Models are Unsupervised Multitask Learners".
    """

    net_class = Transformer

    def __init__(
        self,
        block_size: int = LONGEST_NAME + 1,
        n_layer: int = 4,
        n_head: int = 4,
        n_embd: int = 64,
        dropout: float = 0.0,
        **training: Any,
    ) -> None:
        super().__init__(**training)


class LitEnsemble(LitCharLM):
    """Several recurrent nets that learn side by side, each by itself; their probabilities are averaged.

    Training logs the mean of their losses; validation logs the loss of the averaged probabilities, which is lower.

    Args:
        kind: "RNN", "GRU" or "LSTM".
        members: number of nets.
        n_embd: C, numbers per character of each.
        n_hidden: H, units of a layer of each.
        n_layer: recurrent layers of each.
        dropout: share of the units that each net drops in training, independently.
        training: `LitCharLM`'s other arguments.

    Source: Hansen and Salamon 1990, IEEE TPAMI 12:993-1001.
    """

    net_class = Ensemble
    net: Ensemble

    def __init__(
        self,
        kind: Literal["RNN", "GRU", "LSTM"] = "GRU",
        members: int = 4,
        n_embd: int = 64,
        n_hidden: int = 256,
        n_layer: int = 1,
        dropout: float = 0.0,
        **training: Any,
    ) -> None:
        super().__init__(**training)

    def loss(self, context: Tensor, target: Tensor) -> Tensor:
        """The mean of the nets' own cross-entropies."""
        return torch.stack([cross_entropy(logits, target) for logits in self.net.each(context)]).mean()

    def smoothed(self, context: Tensor, target: Tensor, label_smoothing: float) -> tuple[Tensor, Tensor]:
        """The mean cross-entropy without label smoothing, which is logged, and with it, which is minimised."""
        each = self.net.each(context)
        plain = torch.stack([cross_entropy(logits.detach(), target) for logits in each])
        return plain.mean(), torch.stack([cross_entropy(logits, target, label_smoothing) for logits in each]).mean()
