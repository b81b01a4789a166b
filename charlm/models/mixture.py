"""The mixture of a GRU and n-grams. Dimension key: B names, L positions."""

from typing import Any

import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from charlm.data.sequences import Sequences
from charlm.models.base import LitCharLM
from charlm.models.optimizers import OptimizerName
from charlm.nets.loss import cross_entropy
from charlm.nets.mixture import HeldOut, Mixture

_NAMES_AT_ONCE = 1 << 17  # bounds the memory
_MEMORY = 8  # the mean over the steps reaches back an eighth of the training so far


def sizes_for(names: int) -> dict[str, int | float]:
    """The sizes of a mixture for a list with so many training names."""
    if names < 500:
        return {"n_embd": 32, "n_hidden": 32, "dropout": 0.5}
    if names < 2_000:
        return {"n_embd": 32, "n_hidden": 64, "dropout": 0.5}
    if names < 20_000:
        return {"n_embd": 32, "n_hidden": 128, "dropout": 0.3}
    return {"n_embd": 64, "n_hidden": 256, "dropout": 0.3}


class LitMixture(LitCharLM):
    """A GRU that reads what n-grams of 4 and 6 characters of context expect: the best model for a list of any size.

    The n-grams are counted before the first step. What is validated, saved and drawn from is a mean of the weights over
    the last steps, which makes the rate's decay superfluous: a training goes on until its loss on val stops falling.

    Args:
        train_names: names to train on, which decide the sizes that are not given; `charlm fit` takes it from the data.
        n_embd: numbers per character.
        n_hidden: H, units of the GRU.
        dropout: share of the units that is dropped in training, before and after the GRU.
        training: `LitCharLM`'s other arguments.

    Raises:
        ValueError: in training, names that are not a NamesDataModule's.

    Source: Klakow 1998, ICSLP (log-linear interpolation); Karras et al. 2024, arXiv:2312.02696 (the mean of the
        weights, whose memory grows with the training).
    """

    net_class = Mixture
    net: Mixture

    def __init__(
        self,
        train_names: int = 0,
        n_embd: int | None = None,
        n_hidden: int | None = None,
        dropout: float | None = None,
        optimizer: OptimizerName = "AdamW",
        lr: float = 0.004,
        **training: Any,
    ) -> None:
        super().__init__(optimizer=optimizer, lr=lr, **training)
        self.net.requires_grad_(False)
        self.learner = Mixture(**self._net_args)
        self._held_out: list[HeldOut] = []  # a list, so that its counts are no part of the model

    def choose_sizes(self) -> None:
        """Set the sizes that are not given to those for the number of names."""
        sizes = sizes_for(self.hparams["train_names"])
        self.hparams.update({name: size for name, size in sizes.items() if self.hparams[name] is None})

    def setup(self, stage: str) -> None:
        """Count the names of the train split, and start to learn from the net as it is."""
        if stage != "fit":
            return
        splits = getattr(getattr(self.trainer, "datamodule", None), "splits", None)
        if splits is None:
            raise ValueError("LitMixture counts its names before it trains; pass a NamesDataModule to trainer.fit")
        if any(isinstance(callback, WeightAveraging) for callback in getattr(self.trainer, "callbacks", [])):
            raise ValueError("LitMixture already trains a mean of its weights; leave WeightAveraging out")
        names = Sequences.of_contexts(splits.train)
        held_out = HeldOut(self.net.output.out_features, len(self.tokenizer.labels))
        self.net.clear()
        for index in torch.arange(len(names)).split(_NAMES_AT_ONCE):
            weights = None if names.example_weights is None else names.example_weights[index]
            for counting in (self.net, held_out):
                counting.count_names(*names.gather(index), weights)
        self._held_out = [held_out]
        with torch.no_grad():
            for learning, mean in zip(self.learner.parameters(), self.net.parameters(), strict=True):
                learning.copy_(mean)

    def loss(self, context: Tensor, target: Tensor) -> Tensor:
        """The cross-entropy by n-grams that have not counted these names."""
        return cross_entropy(self.learned(context), target)

    def smoothed(self, context: Tensor, target: Tensor, label_smoothing: float) -> tuple[Tensor, Tensor]:
        """The cross-entropy without label smoothing, which is logged, and with it, which is minimised."""
        logits = self.learned(context)
        return cross_entropy(logits.detach(), target), cross_entropy(logits, target, label_smoothing)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """A step of the optimizer; then the weights move towards those that learn."""
        super().optimizer_step(*args, **kwargs)
        share = min(1.0, _MEMORY / (self.trainer.global_step + 1))  # Lightning counts the step after this
        with torch.no_grad():
            for mean, learning in zip(self.net.parameters(), self.learner.parameters(), strict=True):
                mean.lerp_(learning, share)

    def learned(self, names: Tensor) -> Tensor:
        """Logits of the weights that learn, with n-grams that have not counted these names."""
        if not self._held_out:
            return self.learner(names)
        return self.learner(names, self._held_out[0](names.cpu()).to(names.device))  # looked up on the CPU
