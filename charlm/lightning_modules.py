"""The nets as Lightning modules. Dimension key: B batch, T = block_size, V = vocab_size.

Their arguments are those of the net and, as `training`, those of `LitCharLM`: optimizer, rate and schedule.
"""

from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor

from charlm.callbacks.lean_step import GradientFunction
from charlm.data.splits import Splits
from charlm.learnt_bigram import learnt_bigram
from charlm.lit_char_lm import LitCharLM
from charlm.nets.bigram import Bigram
from charlm.nets.bow import BoW
from charlm.nets.deepmlp import DeepMLP
from charlm.nets.gru import GRU
from charlm.nets.lstm import LSTM
from charlm.nets.mlp import MLP
from charlm.nets.rnn import RNN
from charlm.nets.transformer import Transformer
from charlm.nets.wavenet import WaveNet
from charlm.optimizers import OptimizerName

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class LitBigram(LitCharLM):
    """The bigram: the next character from the last one alone, a table of V x V learnt by gradient descent.

    Args:
        init: "default" starts at the uniform distribution, "notebook" at a standard normal, as the course does.
        weight_penalty: this times mean(W^2) is added to the cross-entropy.
        optimizer: "SGD" (without momentum) or "AdamW".
        lr: learning rate; with one cycle its peak.
        training: `LitCharLM`'s other arguments.

    Source: "makemore", part 1, by Andrej Karpathy.
    """

    net_class = Bigram
    net: Bigram

    def __init__(
        self,
        init: Literal["default", "notebook"] = "default",
        weight_penalty: float = 0.01,
        optimizer: OptimizerName = "SGD",
        lr: float = 50.0,
        **training: Any,
    ) -> None:
        super().__init__({"init": init}, optimizer=optimizer, lr=lr, **training)

    def loss(self, context: Tensor, target: Tensor) -> Tensor:
        """The cross-entropy; of a large batch by the counts of its pairs."""
        return self.net.loss(context, target)

    def penalty(self) -> Tensor:
        """`weight_penalty` * mean(W^2) over all V x V entries."""
        return self.hparams["weight_penalty"] * self.net.W.square().mean()

    def figures(self) -> "dict[str, Figure]":
        """For the callback Dashboard: the table that was learnt; in its cells the counts of what was trained on."""
        splits = getattr(getattr(self.trainer, "datamodule", None), "splits", None)
        return {"bigram": learnt_bigram(self.net, self.tokenizer, splits if isinstance(splits, Splits) else None)}


class LitMLP(LitCharLM):
    """The MLP of Bengio et al. 2003: the last T characters, embedded, through one tanh layer.

    Args:
        block_size: T, characters of context; with `charlm fit` it comes from the data (data.block_size).
        n_embd: C, numbers per character.
        n_hidden: H, tanh units.
        init: "default" is well scaled (the first loss is about ln V), "notebook" is the course's.
        optimizer: "SGD" (without momentum) or "AdamW".
        lr: learning rate; with one cycle its peak.
        training: `LitCharLM`'s other arguments.

    Source: Bengio et al. 2003, JMLR 3:1137-1155.
    """

    net_class = MLP
    net: MLP

    def __init__(
        self,
        block_size: int = 3,
        n_embd: int = 10,
        n_hidden: int = 200,
        init: Literal["default", "notebook"] = "default",
        optimizer: OptimizerName = "SGD",
        lr: float = 0.1,
        **training: Any,
    ) -> None:
        sizes = {"block_size": block_size, "n_embd": n_embd, "n_hidden": n_hidden}
        super().__init__({**sizes, "init": init}, optimizer=optimizer, lr=lr, **training)

    def loss(self, context: Tensor, target: Tensor) -> Tensor:
        """The cross-entropy, by hand where the net can."""
        return self.net.loss(context, target)

    def gradient_function(self) -> GradientFunction | None:
        """Loss and gradients of a batch without autograd, for StepsPerExecution.

        None where they would not be training_step's: in a subclass with another loss, and where the net needs autograd.
        """
        own = type(self).loss is not LitMLP.loss or type(self).penalty is not LitMLP.penalty
        if own or self.hparams["label_smoothing"]:
            return None
        return self.net.gradient_function(self.log_step)


class LitBoW(LitCharLM):
    """The bag of words: the mean of all characters so far and of their places, through one tanh layer. Whole names.

    Args:
        block_size: T, positions, one more than the longest name; with `charlm fit` it comes from the data.
        n_embd: C, numbers per character.
        n_hidden: H, tanh units.
        training: `LitCharLM`'s other arguments.

    Source: "makemore" by Andrej Karpathy.
    """

    net_class = BoW

    def __init__(self, block_size: int = 65, n_embd: int = 64, n_hidden: int = 64, **training: Any) -> None:
        super().__init__({"block_size": block_size, "n_embd": n_embd, "n_hidden": n_hidden}, **training)


class LitRecurrent(LitCharLM):
    """What the models around RNN, GRU and LSTM share. Whole names.

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
        sizes = {"n_embd": n_embd, "n_hidden": n_hidden, "n_layer": n_layer}
        super().__init__({**sizes, "dropout": dropout}, **training)


class LitRNN(LitRecurrent):
    """The recurrent net of Elman 1990 and Mikolov et al. 2010: tanh units that read their own last values."""

    net_class = RNN


class LitGRU(LitRecurrent):
    """The gated recurrent units of Cho et al. 2014: two gates decide what is kept of the state."""

    net_class = GRU


class LitLSTM(LitRecurrent):
    """The long short-term memory of Hochreiter and Schmidhuber 1997: a cell keeps what three gates let in and out."""

    net_class = LSTM


class LitDeepMLP(LitCharLM):
    """The deep MLP of the course: the last T characters through batch-normalised tanh layers.

    Args:
        block_size: T, characters of context; with `charlm fit` it comes from the data (data.block_size).
        n_embd: C, numbers per character.
        n_hidden: H, tanh units of a layer.
        n_layer: tanh layers.
        dropout: share of the units of each layer that is dropped in training.
        training: `LitCharLM`'s other arguments.

    Source: "makemore", part 3, by Andrej Karpathy; Ioffe and Szegedy 2015, ICML.
    """

    net_class = DeepMLP

    def __init__(
        self,
        block_size: int = 3,
        n_embd: int = 10,
        n_hidden: int = 100,
        n_layer: int = 5,
        dropout: float = 0.0,
        **training: Any,
    ) -> None:
        sizes = {"block_size": block_size, "n_embd": n_embd, "n_hidden": n_hidden, "n_layer": n_layer}
        super().__init__({**sizes, "dropout": dropout}, **training)


class LitWaveNet(LitCharLM):
    """The WaveNet of the course: the last T characters, fused pair by pair.

    Args:
        block_size: T, a power of two; with `charlm fit` it comes from the data (data.block_size).
        n_embd: C, numbers per character.
        n_hidden: H, tanh units of a level.
        dropout: share of the units of each level that is dropped in training.
        training: `LitCharLM`'s other arguments.

    Source: van den Oord et al. 2016, arXiv:1609.03499; "makemore", part 5, by Andrej Karpathy.
    """

    net_class = WaveNet

    def __init__(
        self, block_size: int = 8, n_embd: int = 24, n_hidden: int = 128, dropout: float = 0.0, **training: Any
    ) -> None:
        sizes = {"block_size": block_size, "n_embd": n_embd, "n_hidden": n_hidden}
        super().__init__({**sizes, "dropout": dropout}, **training)


class LitTransformer(LitCharLM):
    """A Transformer of the shape of GPT-2. Whole names.

    Args:
        block_size: T, positions, one more than the longest name; with `charlm fit` it comes from the data.
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
        block_size: int = 65,
        n_layer: int = 4,
        n_head: int = 4,
        n_embd: int = 64,
        dropout: float = 0.0,
        **training: Any,
    ) -> None:
        sizes = {"block_size": block_size, "n_layer": n_layer, "n_head": n_head, "n_embd": n_embd}
        super().__init__({**sizes, "dropout": dropout}, **training)


MODELS = LitCharLM.models
"""The model around each net, by the net's name: what `--model NAME` and a checkpoint mean."""
