"""The nets as Lightning modules. Dimension key: B batch, T = block_size, V = vocab_size."""

import math
import string
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy
from torchmetrics.text import Perplexity

from charlm.checkpoints import FORMAT, load_checkpoint
from charlm.loss import cross_entropy, nats
from charlm.nets.bigram import Bigram
from charlm.nets.mlp import MLP
from charlm.tokenizer import CharTokenizer

Batch = tuple[Tensor, Tensor]
OptimizerName = Literal["SGD", "AdamW"]


class LitCharLM(pl.LightningModule, ABC):
    """A character-level language model of names: the loss, the metrics and the optimizer around a net.

    The models are its subclasses. Their arguments are numbers and strings only, so that a checkpoint alone can sample,
    score and be loaded safely.

    Args:
        alphabet: the characters in the order of their ids.
        net_args: the arguments of `net_class`, numbers and strings.
        lr: learning rate.
        weight_decay: the optimizer's own decay per step.

    Raises:
        ValueError: `lr` or `weight_decay` below 0, or arguments that `net_class` refuses.
    """

    def __init__(self, alphabet: str, net_args: dict[str, Any], lr: float, weight_decay: float) -> None:
        super().__init__()
        for name, value in (("lr", lr), ("weight_decay", weight_decay)):
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} is {value}; give a number from 0 on")
        self.net = self.net_class(**net_args)
        self.tokenizer = CharTokenizer(alphabet)
        self._net_args = net_args
        accuracy = MulticlassAccuracy(net_args["vocab_size"], average="micro", validate_args=False)
        metrics = MetricCollection({"perplexity": Perplexity(), "accuracy": accuracy})
        self.val_metrics = metrics.clone(postfix="/val")
        self.test_metrics = metrics.clone(postfix="/test")

    @property
    @abstractmethod
    def net_class(self) -> type[nn.Module]:
        """The architecture: context int64 (B, T) in, logits float32 (B, V) out."""

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # Lightning's cannot tell the subclass from the file
        cls, checkpoint_path: str | Path, map_location: torch.device | str | None = None, **hyperparameters: Any
    ) -> "LitCharLM":
        """The model of a checkpoint, of whichever subclass it is; no code from the file runs.

        Args:
            checkpoint_path: a local file.
            map_location: the device that the model goes to; None: the CPU.
            hyperparameters: values that replace the checkpoint's, such as `lr`.

        Raises:
            OSError: no such file.
            ValueError: not a checkpoint of charlm, a damaged one, or one of another model than the class asked; or a
                replaced size or alphabet that the weights do not fit.
        """
        loaded = load_checkpoint(checkpoint_path)
        kind = MODELS[type(loaded.net).__name__]
        if not issubclass(kind, cls):
            raise ValueError(
                f"{checkpoint_path} holds a {kind.__name__}, not a {cls.__name__}; load it by {kind.__name__}"
            )
        with torch.random.fork_rng(devices=[]):  # the weights that are drawn here do not stay
            model = kind(**{**loaded.hyperparameters, **hyperparameters})
        weights = loaded.net.state_dict()
        if any(table.shape != weights[name].shape for name, table in model.net.state_dict().items()):
            given = ", ".join(f"{key}={value!r}" for key, value in hyperparameters.items()) or "its hyperparameters"
            raise ValueError(
                f"the weights in {checkpoint_path} do not fit {given}; leave sizes and alphabet as they are, or train"
                " a new model"
            )
        model.net.load_state_dict(weights)
        return model.to(map_location or "cpu")

    @property
    def embedding_labels(self) -> list[str]:
        """The label of each row of an embedding table; "." stands for the boundary."""
        return [".", *self.tokenizer.alphabet]

    def forward(self, context: Tensor) -> Tensor:
        """Logits float32 (B, V) for the character after `context`, int64 (B, T)."""
        return self.net(context)

    def penalty(self) -> Tensor | float:
        """What is added to the cross-entropy to get the loss that is minimised."""
        return 0.0

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step; logs the cross-entropy alone, in nats per character: the same quantity for train and val."""
        context, target = batch
        loss = cross_entropy(self.net(context), target)
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]  # a plain attribute, set by Lightning
        if every and (self.global_step + 1) % every == 0:  # a call of `log` costs as much as the step itself
            self.log("loss/train", loss.detach(), prog_bar=True, batch_size=len(target))
            self.log("perplexity/train", loss.detach().exp(), batch_size=len(target))
        return loss + self.penalty()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the exact means over the val split."""
        self._evaluate(batch, "val", self.val_metrics)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the exact means over the test split."""
        self._evaluate(batch, "test", self.test_metrics)

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """What the net makes of a batch: per example its context, target, nats and the likeliest character's id."""
        context, target = batch
        logits = self.net(context)
        return {"context": context, "target": target, "nats": nats(logits, target), "likeliest": logits.argmax(-1)}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """SGD without momentum or AdamW over all weights, at the constant rate `lr`; callbacks change it by step."""
        kind = {"SGD": torch.optim.SGD, "AdamW": torch.optim.AdamW}[self.hparams["optimizer"]]
        return kind(self.parameters(), lr=self.hparams["lr"], weight_decay=self.hparams["weight_decay"])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what loads the net without Lightning."""
        checkpoint["charlm"] = {
            "format": FORMAT,
            "net": type(self.net).__name__,
            "net_args": dict(self._net_args),
            "alphabet": self.tokenizer.alphabet,
        }

    def _evaluate(self, batch: Batch, split: str, metrics: MetricCollection) -> None:
        context, target = batch
        logits = self.net(context)
        self.log(
            f"loss/{split}",
            cross_entropy(logits, target),
            prog_bar=True,
            batch_size=len(target),
            on_epoch=True,
            sync_dist=True,
        )
        metrics["perplexity"].update(logits[:, None], target[:, None])
        metrics["accuracy"].update(logits, target)
        self.log_dict(metrics, on_epoch=True)


class LitBigram(LitCharLM):
    """The bigram: the next character from the last one alone, a table of V x V learnt by gradient descent.

    Args:
        alphabet: the characters in the order of their ids; with `charlm fit` it comes from the data.
        vocab_size: V, rows of the table; null: one for each character and one for the boundary.
        init: "default" starts at the uniform distribution, "notebook" at a standard normal, as the course does.
        weight_penalty: this times mean(W^2) is added to the cross-entropy.
        optimizer: "SGD" (without momentum) or "AdamW".
        lr: learning rate.
        weight_decay: the optimizer's own decay per step.

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
    ) -> None:
        super().__init__(alphabet, {"vocab_size": vocab_size or len(alphabet) + 1, "init": init}, lr, weight_decay)
        self.save_hyperparameters()

    def penalty(self) -> Tensor:
        """`weight_penalty` * mean(W^2) over all V x V entries."""
        return self.hparams["weight_penalty"] * self.net.W.square().mean()


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
        lr: learning rate.
        weight_decay: the optimizer's own decay per step.

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
    ) -> None:
        net_args = {
            "vocab_size": vocab_size or len(alphabet) + 1,
            "block_size": block_size,
            "n_embd": n_embd,
            "n_hidden": n_hidden,
            "init": init,
        }
        super().__init__(alphabet, net_args, lr, weight_decay)
        self.save_hyperparameters()


MODELS: dict[str, type[LitCharLM]] = {"Bigram": LitBigram, "MLP": LitMLP}
"""The model around each net, by the net's name: what `--model NAME` and a checkpoint mean."""
