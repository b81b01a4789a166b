"""The models of windows of characters. Dimension key: B batch, T = block_size, C, H, V = vocab_size.

The arguments of a model are those of its net and, as `training`, those of `LitCharLM`.
"""

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from charlm.callbacks.internals.step import GradientFunction
from charlm.data.splits import Splits
from charlm.inference.bigram_table import learned_bigram
from charlm.models.base import LitCharLM
from charlm.models.fast_bigram import loss_by_counts
from charlm.models.fast_mlp import AnalyticLoss, gradient_function, is_plain
from charlm.models.optimizers import OptimizerName
from charlm.nets.bigram import Bigram
from charlm.nets.deepmlp import DeepMLP
from charlm.nets.mlp import MLP
from charlm.nets.wavenet import WaveNet

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class LitBigram(LitCharLM):
    """The bigram: the next character from the last one alone, a table of V x V learned by gradient descent.

    Args:
        init: "default" starts at the uniform distribution, "notebook" at a standard normal, as the course does.
        weight_penalty: factor of the penalty mean(W^2), which is added to the cross-entropy.
        optimizer: which one to use; SGD has no momentum.
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
        super().__init__(optimizer=optimizer, lr=lr, **training)

    def loss(self, context: Tensor, target: Tensor) -> Tensor:
        """The cross-entropy; on the CPU, for a batch of more examples than there are pairs, from the pairs' counts."""
        many = len(target) > self.net.W.numel() and target.device.type == "cpu"  # a GPU would wait for the counts
        if type(self.net) is Bigram and many:
            return loss_by_counts(self.net, context, target)
        return super().loss(context, target)

    def penalty(self) -> Tensor:
        """`weight_penalty` * mean(W^2) over all V x V entries."""
        return self.hparams["weight_penalty"] * self.net.W.square().mean()

    def figures(self) -> "dict[str, Figure]":
        """The picture for the callback Dashboard: the learned table, with the counts of the training pairs."""
        splits = getattr(getattr(self.trainer, "datamodule", None), "splits", None)
        return {"bigram": learned_bigram(self.net, self.tokenizer, splits if isinstance(splits, Splits) else None)}


class LitMLP(LitCharLM):
    """The MLP of Bengio et al. 2003: the last T characters, embedded, through one tanh layer.

    Args:
        block_size: T, characters of context; `charlm fit` takes it from data.block_size.
        n_embd: C, numbers per character.
        n_hidden: H, tanh units.
        init: "default" is well scaled (the first loss is about ln V), "notebook" is the course's.
        optimizer: which one to use; SGD has no momentum.
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
        super().__init__(optimizer=optimizer, lr=lr, **training)

    def loss(self, context: Tensor, target: Tensor) -> Tensor:
        """The cross-entropy, with analytic gradients where they apply to this net.

        These are the same gradients as with StepsPerExecution, so that the weights are equal bit for bit.
        """
        learns = torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu") and not torch.compiler.is_compiling()
        if learns and is_plain(self.net):
            return AnalyticLoss.apply(context, target, *self.net.parameters())
        return super().loss(context, target)

    def gradient_function(self) -> GradientFunction | None:
        """Loss and gradients of a batch without autograd, for StepsPerExecution.

        None where they would differ from those of training_step: in a subclass with another loss, with label smoothing,
        and where the net needs autograd.
        """
        own = type(self).loss is not LitMLP.loss or type(self).penalty is not LitMLP.penalty
        if own or self.hparams["label_smoothing"]:
            return None
        return gradient_function(self.net, self._train_means.add, self.log_step)


class LitDeepMLP(LitCharLM):
    """The deep MLP of the course: the last T characters through batch-normalised tanh layers.

    Args:
        block_size: T, characters of context; `charlm fit` takes it from data.block_size.
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
        super().__init__(**training)


class LitWaveNet(LitCharLM):
    """The WaveNet of the course: the last T characters, fused pair by pair.

    Args:
        block_size: T, characters of context, a power of two; `charlm fit` takes it from data.block_size.
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
        super().__init__(**training)
