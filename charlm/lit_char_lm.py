"""What all models share around their net. Dimension key: B batch, T = block_size, V = vocab_size."""

import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy
from torchmetrics.text import Perplexity

from charlm.callbacks.step_log import is_recording
from charlm.callbacks.watching import is_of_fit
from charlm.checkpoints import FORMAT, load_checkpoint
from charlm.loss import cross_entropy, nats
from charlm.sampling import sample_names
from charlm.step_mean import StepMean
from charlm.tokenizer import CharTokenizer

Batch = tuple[Tensor, Tensor]

_LONGEST = 64  # characters of a drawn name: as in the names that NamesDataModule accepts by default


class LitCharLM(pl.LightningModule, ABC):
    """A character-level language model of names: the loss, the metrics and the optimizer around a net.

    The models are its subclasses. Their arguments are numbers and strings only, so that a checkpoint alone can sample,
    score and be loaded safely.

    Args:
        alphabet: the characters in the order of their ids.
        net_args: the arguments of `net_class`, numbers and strings.
        lr: learning rate.
        weight_decay: the optimizer's own decay per step.
        warmup: share of the steps in which one cycle rises.

    Raises:
        ValueError: `lr` or `weight_decay` below 0, `warmup` not between 0 and 1, or arguments that `net_class` refuses.
    """

    models: ClassVar[dict[str, type["LitCharLM"]]] = {}
    """The model around each net, by the net's name."""

    def __init_subclass__(cls) -> None:
        """Note which net it is the model of; a subclass of a model does not take its place."""
        super().__init_subclass__()
        if isinstance(cls.net_class, type):
            cls.models.setdefault(cls.net_class.__name__, cls)

    def __init__(self, alphabet: str, net_args: dict[str, Any], lr: float, weight_decay: float, warmup: float) -> None:
        super().__init__()
        if not 0 < warmup < 1:
            raise ValueError(f"warmup is {warmup}; give a share of the steps, between 0 and 1")
        for name, value in (("lr", lr), ("weight_decay", weight_decay)):
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} is {value}; give a number from 0 on")
        self.net = self.net_class(**net_args)
        self.tokenizer = CharTokenizer(alphabet)
        self._net_args = net_args
        accuracy = MulticlassAccuracy(net_args["vocab_size"], average="micro", validate_args=False)
        metrics = MetricCollection({"perplexity": Perplexity(), "accuracy": accuracy})
        self._train_mean = StepMean()  # since the last validation
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
        kind = cls.models[type(loaded.net).__name__]
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

    def sample_names(self, n: int, seed: int) -> list[str]:
        """Names drawn from the net as it is, for the callback NameSamples; the same seed gives the same draws.

        Args:
            n: how many, >= 1.
            seed: of the draws.
        """
        return sample_names(self.net, self.tokenizer, n, seed=seed, max_length=_LONGEST)

    def forward(self, context: Tensor) -> Tensor:
        """Logits float32 (B, V) for the character after `context`, int64 (B, T)."""
        return self.net(context)

    def loss(self, context: Tensor, target: Tensor) -> Tensor:
        """The cross-entropy that training minimises, float32 (), in nats per character.

        Args:
            context: int64 (B, T).
            target: int64 (B,).
        """
        return cross_entropy(self.net(context), target)

    def penalty(self) -> Tensor | None:
        """What is added to the cross-entropy to get the loss that is minimised; None: nothing."""
        return None

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step; logs the cross-entropy alone, in nats per character: the same quantity for train and val."""
        loss = self.loss(*batch)
        self.log_step(loss.detach())
        penalty = self.penalty()
        return loss if penalty is None else loss + penalty

    def log_step(self, loss: Tensor) -> None:
        """Log a step's cross-entropy where that is written: elsewhere a call of `log` costs as much as the step."""
        self._train_mean.add(loss)
        trainer = self.trainer
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]  # a plain attribute, set by Lightning
        due = every and (trainer.global_step + 1) % every == 0
        if due or is_recording(self):
            self.log("loss/train", loss, prog_bar=True)
        if due:
            self.log("perplexity/train", loss.exp())

    def on_validation_epoch_end(self) -> None:
        """Log the mean of the training losses since the last validation, a curve that can be read beside `loss/val`.

        Only in a training: an evaluation between two of them, and a sanity check, leave the mean as it is.
        """
        mean = self._train_mean.take() if is_of_fit(self.trainer) else None
        if mean is not None:
            self.log("loss_mean/train", mean, sync_dist=True)

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

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """SGD without momentum or AdamW over all weights, at the constant rate `lr` or by one cycle up to it.

        Raises:
            ValueError: one cycle in a training whose length is not known.
        """
        given = self.hparams
        kind = {"SGD": torch.optim.SGD, "AdamW": torch.optim.AdamW}[given["optimizer"]]
        fused = {"fused": True} if given["optimizer"] == "AdamW" and self.device.type == "cpu" else {}  # a third
        optimizer = kind(self.parameters(), lr=given["lr"], weight_decay=given["weight_decay"], **fused)
        if given["schedule"] == "constant":
            return optimizer
        steps = self.trainer.estimated_stepping_batches
        if not 0 < steps < math.inf:
            raise ValueError("schedule one-cycle needs to know the end of the training; give trainer.max_steps")
        cycle = OneCycleLR(optimizer, given["lr"], int(steps), pct_start=given["warmup"], cycle_momentum=False)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}

    def on_train_start(self) -> None:
        """Count the losses from here on, and check that a schedule that was taken up goes as far as the training.

        Raises:
            ValueError: it ends before.
        """
        if self.trainer.global_step == 0:  # what there is comes from another training, or from a sweep of the rate
            self._train_mean.load()
        for config in self.trainer.lr_scheduler_configs:
            ends, steps = config.scheduler.state_dict().get("total_steps", math.inf), self.trainer.max_steps
            if ends < steps:
                raise ValueError(
                    f"the checkpoint's one-cycle schedule ends at step {ends:,}, and trainer.max_steps is {steps:,};"
                    f" resume with --trainer.max_steps {ends}, or start a new run"
                )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what loads the net without Lightning, and the losses of a mean that is not complete."""
        checkpoint["charlm"] = {
            "format": FORMAT,
            "net": type(self.net).__name__,
            "net_args": dict(self._net_args),
            "alphabet": self.tokenizer.alphabet,
        }
        checkpoint["train_mean"] = list(self._train_mean.state())

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with that mean."""
        self._train_mean.load(checkpoint.get("train_mean", (0.0, 0)))

    def _evaluate(self, batch: Batch, split: str, metrics: MetricCollection) -> None:
        context, target = batch
        with torch.inference_mode():  # while it fits, Lightning validates in a lesser mode
            logits = self.net(context)
            loss = cross_entropy(logits, target)
        self.log(
            f"loss/{split}",
            loss,
            prog_bar=True,
            batch_size=len(target),
            on_epoch=True,
            sync_dist=True,
        )
        metrics["perplexity"].update(logits[:, None], target[:, None])
        metrics["accuracy"].update(logits, target)
        self.log_dict(metrics, on_epoch=True)
