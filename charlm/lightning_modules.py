"""The nets as Lightning modules. Dimension key: B batch, T = block_size, V = vocab_size."""

import string
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from charlm.callbacks.lean_step import GradientFunction
from charlm.counts import CountBigram
from charlm.data.splits import Splits
from charlm.figures import MOST_LABELS, bigram_heatmap, character_labels
from charlm.lit_char_lm import Batch, LitCharLM
from charlm.nets.bigram import Bigram
from charlm.nets.mlp import MLP
from charlm.nets.mlp_gradients import mlp_gradients

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OptimizerName = Literal["SGD", "AdamW"]
Schedule = Literal["constant", "one-cycle"]


class LitBigram(LitCharLM):
    """The bigram: the next character from the last one alone, a table of V x V learnt by gradient descent.

    Args:
        alphabet: the characters in the order of their ids; with `charlm fit` it comes from the data.
        vocab_size: V, rows of the table; null: one for each character and one for the boundary.
        init: "default" starts at the uniform distribution, "notebook" at a standard normal, as the course does.
        weight_penalty: this times mean(W^2) is added to the cross-entropy.
        optimizer: "SGD" (without momentum) or "AdamW".
        lr: learning rate; with one cycle its peak.
        weight_decay: the optimizer's own decay per step.
        schedule: "constant", which callbacks such as StepDecay change, or "one-cycle": up to `lr` and down to nearly 0.
        warmup: the share of the steps in which one cycle rises.

    Source: "makemore", part 1, by Andrej Karpathy.
    """

    net_class = Bigram
    net: Bigram

    def __init__(
        self,
        alphabet: str = string.ascii_lowercase,
        vocab_size: int | None = None,
        init: Literal["default", "notebook"] = "default",
        weight_penalty: float = 0.01,
        optimizer: OptimizerName = "SGD",
        lr: float = 50.0,
        weight_decay: float = 0.0,
        schedule: Schedule = "constant",
        warmup: float = 0.1,
    ) -> None:
        net_args = {"vocab_size": vocab_size or len(alphabet) + 1, "init": init}
        super().__init__(alphabet, net_args, lr, weight_decay, warmup)
        self.save_hyperparameters()

    def loss(self, context: Tensor, target: Tensor) -> Tensor:
        """The cross-entropy; of a large batch by the counts of its pairs."""
        return self.net.loss(context, target)

    def penalty(self) -> Tensor:
        """`weight_penalty` * mean(W^2) over all V x V entries."""
        return self.hparams["weight_penalty"] * self.net.W.square().mean()

    def figures(self) -> "dict[str, Figure]":
        """For the callback Dashboard: the table that was learnt; in its cells the counts of what was trained on."""
        size = self.tokenizer.vocab_size
        after = torch.arange(len(self.net.W), device=self.device)[:, None]
        learnt = self.net(after).detach().float().softmax(1)[:size, :size]
        title, written = "probabilities that were learnt", None
        splits = getattr(getattr(self.trainer, "datamodule", None), "splits", None)
        if isinstance(splits, Splits) and size <= MOST_LABELS:
            counted = CountBigram.from_contexts(splits.train, len(self.net.W), k=0)
            title, written = (
                "colour: probability that was learnt, number: times in train",
                [counted.counts[:size, :size]],
            )
        labels = character_labels(self.tokenizer.alphabet)
        return {"bigram": bigram_heatmap([(title, learnt)], labels, size <= MOST_LABELS, written)}


class LitMLP(LitCharLM):
    """The MLP of Bengio et al. 2003: the last T characters, embedded, through one tanh layer.

    Args:
        alphabet: the characters in the order of their ids; with `charlm fit` it comes from the data.
        vocab_size: V, rows of the embedding; null: one for each character and one for the boundary.
        block_size: T, characters of context; with `charlm fit` it comes from the data (data.block_size).
        n_embd: C, numbers per character.
        n_hidden: H, tanh units.
        init: "default" is well scaled (the first loss is about ln V), "notebook" is the course's.
        optimizer: "SGD" (without momentum) or "AdamW".
        lr: learning rate; with one cycle its peak.
        weight_decay: the optimizer's own decay per step.
        schedule: "constant", which callbacks such as StepDecay change, or "one-cycle": up to `lr` and down to nearly 0.
        warmup: the share of the steps in which one cycle rises.

    Source: Bengio et al. 2003, JMLR 3:1137-1155.
    """

    net_class = MLP
    net: MLP

    def __init__(
        self,
        alphabet: str = string.ascii_lowercase,
        vocab_size: int | None = None,
        block_size: int = 3,
        n_embd: int = 10,
        n_hidden: int = 200,
        init: Literal["default", "notebook"] = "default",
        optimizer: OptimizerName = "SGD",
        lr: float = 0.1,
        weight_decay: float = 0.0,
        schedule: Schedule = "constant",
        warmup: float = 0.1,
    ) -> None:
        net_args = {
            "vocab_size": vocab_size or len(alphabet) + 1,
            "block_size": block_size,
            "n_embd": n_embd,
            "n_hidden": n_hidden,
            "init": init,
        }
        super().__init__(alphabet, net_args, lr, weight_decay, warmup)
        self.save_hyperparameters()

    def loss(self, context: Tensor, target: Tensor) -> Tensor:
        """The cross-entropy, by hand where the net can."""
        return self.net.loss(context, target)

    def gradient_function(self) -> GradientFunction | None:
        """Loss and gradients of a batch without autograd, for StepsPerExecution.

        None where they would not be training_step's: in a subclass with another loss, and where the net needs autograd.
        """
        own = type(self).loss is not LitMLP.loss or type(self).penalty is not LitMLP.penalty
        weights = list(self.net.parameters())
        if own or not self.net.is_by_hand() or any(w._backward_hooks or w._post_accumulate_grad_hooks for w in weights):
            return None
        arrays = self.net.arrays()

        def gradients(batch: Batch, batch_idx: int) -> tuple[Tensor, list[Tensor]] | None:
            context, target = batch
            if not len(target) or not all(weight.requires_grad for weight in weights):
                return None
            loss, of_weights = mlp_gradients(arrays, context, target)
            self.log_step(loss)
            return loss, of_weights

        return gradients


MODELS = LitCharLM.models
"""The model around each net, by the net's name: what `--model NAME` and a checkpoint mean."""
