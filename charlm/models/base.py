"""The loss, metrics and optimizer of every model. Dimension key: B batch, T = block_size, L positions, V characters."""

import string
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from charlm.callbacks.shared.processes import gather
from charlm.callbacks.shared.progress import log_is_due, training_steps
from charlm.callbacks.shared.trainer_state import is_of_fit, trainer_of
from charlm.data.sequences import known_before
from charlm.inference.labelled import sample_with_labels
from charlm.models.load_model import load_model
from charlm.models.optimizers import OptimizerName, Schedule, check_end, check_training, make_optimizer, one_cycle
from charlm.models.rank_weight import rank_weight
from charlm.models.split_metrics import SplitMetrics
from charlm.models.train_mean import TrainMeans
from charlm.nets.interface import net_arguments, parameter_count, takes_names
from charlm.nets.loss import counted, cross_entropy, nats
from charlm.runs.load_checkpoint import FORMAT
from charlm.tokenizer import IGNORED, LONGEST_NAME, CharTokenizer, check_vocab_size

Batch = tuple[Tensor, ...]
"""Context int64 (B, T) and target int64 (B,), or both int64 (B, L) of whole names, where a target of -1 is ignored. In
evaluations of names with weights, these are the third part, float (B,)."""


class LitCharLM(pl.LightningModule, ABC):
    """A character-level language model of names: the loss, the metrics and the optimizer around a net.

    A model is a subclass with a `net_class`, whose `__init__` lists the arguments of the net besides `vocab_size` and
    passes on `**training`. All arguments are numbers and strings, so that a checkpoint alone can be loaded safely.

    Args:
        alphabet: the characters in the order of their ids; with `charlm fit` it comes from the data.
        vocab_size: V, the characters and the start/end token; null: one id for each of them.
        optimizer: which one to use; SGD has no momentum.
        lr: learning rate; with one cycle its peak.
        weight_decay: the optimizer's own decay per step; biases, norms and embeddings do not decay.
        schedule: "constant", which callbacks such as StepDecay change, or "one-cycle": up to `lr` and down to nearly 0.
        warmup: the share of the steps in which the rate of one cycle rises.
        label_smoothing: this share of each target is spread over all characters, in training only; the logged losses
            are without label smoothing.
        labels: of names, which begin them in place of the start token; with `charlm fit` they come from the data.

    Raises:
        ValueError: `lr` or `weight_decay` below 0, `warmup` not between 0 and 1, `label_smoothing` not in [0, 1), or
            arguments that `net_class` refuses.
    """

    models: ClassVar[dict[str, type["LitCharLM"]]] = {}
    """The model around each net, by the net's name; each subclass adds itself."""
    unused: ClassVar[tuple[str, ...]] = ()  # arguments that a subclass does not take

    def __init_subclass__(cls) -> None:
        """Add the model to `models`; a subclass of a model does not take its place."""
        super().__init_subclass__()
        if isinstance(cls.net_class, type):
            cls.models.setdefault(cls.net_class.__name__, cls)

    def __init__(
        self,
        alphabet: str = string.ascii_lowercase,
        vocab_size: int | None = None,
        optimizer: OptimizerName = "AdamW",
        lr: float = 0.002,
        weight_decay: float = 0.0,
        schedule: Schedule = "constant",
        warmup: float = 0.1,
        label_smoothing: float = 0.0,
        labels: list[str] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=self.unused if labels else (*self.unused, "labels"))  # also the subclass's
        check_training(lr, weight_decay, warmup, label_smoothing)
        check_vocab_size(vocab_size, alphabet)
        self.choose_sizes()
        sizes = {"vocab_size": vocab_size or len(alphabet) + 1, "n_labels": len(labels or ())}
        self._net_args = net_arguments(self.net_class, self.hparams, sizes)
        self.net = self.net_class(**self._net_args)
        self.tokenizer = CharTokenizer(alphabet, labels or ())
        self._train_means = TrainMeans()
        self._train_losses = self._train_means.content  # plain, so that LRFinder restores it after a search
        self._val_metrics = SplitMetrics("val")
        self._test_metrics = SplitMetrics("test", self.tokenizer.labels)

    def choose_sizes(self) -> None:
        """Fill in hyperparameters that follow from others, before the net is built."""

    @property
    @abstractmethod
    def net_class(self) -> type[nn.Module]:
        """The architecture: context int64 (B, T) in, logits float32 (B, V) out; or names (B, L) in, (B, L, V) out."""

    @property
    def takes(self) -> Literal["windows", "names"]:
        """What the batches hold: windows and the character after each, or whole names."""
        return "names" if takes_names(self.net) else "windows"

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # Lightning's cannot tell the subclass from the file
        cls, checkpoint_path: str | Path, map_location: torch.device | str | None = None, **hyperparameters: Any
    ) -> "LitCharLM":
        """Load a model of any kind from a checkpoint; no code from the file runs.

        Args:
            checkpoint_path: a local file.
            map_location: the device that the model goes to; None: the CPU.
            hyperparameters: values that replace the checkpoint's, such as `lr`.

        Raises:
            OSError: no such file.
            ValueError: the file is damaged, not charlm's or of another model, or does not fit a replaced size.
        """
        return load_model(cls.models, cls, checkpoint_path, map_location, hyperparameters)

    @property
    def embedding_labels(self) -> list[str]:
        """The label of each row of an embedding table; "." is the start and end token, <F> the label F of names."""
        return [".", *self.tokenizer.alphabet, *(f"<{label}>" for label in self.tokenizer.labels)]

    def sample_names(self, n: int, seed: int) -> list[str]:
        """Draw `n` names from the net as it is, for the callback NameSamples; a seed draws the same names again."""
        data: Any = getattr(trainer_of(self), "datamodule", None)
        longest = data.hparams.get("max_length", LONGEST_NAME) if data is not None else LONGEST_NAME
        drawn: dict[str, Any] = {"shares": getattr(data, "label_shares", None), "cut": longest}
        return [name for _, name in sample_with_labels(self.net, self.tokenizer, n, seed, **drawn)]

    def forward(self, context: Tensor) -> Tensor:
        """Logits float32 (B, V) for the character after `context`, int64 (B, T); of names (B, L), (B, L, V)."""
        return self.net(context)

    def loss(self, context: Tensor, target: Tensor) -> Tensor:
        """The cross-entropy that training minimises, float (), in nats per character; arguments as in a batch."""
        return cross_entropy(self.net(context), target)

    def smoothed(self, context: Tensor, target: Tensor, label_smoothing: float) -> tuple[Tensor, Tensor]:
        """The cross-entropy without label smoothing, which is logged, and with it, which is minimised."""
        logits = self.net(context)
        return cross_entropy(logits.detach(), target), cross_entropy(logits, target, label_smoothing)

    def penalty(self) -> Tensor | None:
        """A term that is added to the cross-entropy before the loss is minimised; None: nothing is added."""
        return None

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step; logs the cross-entropy alone, in nats per character: the same quantity for train and val."""
        (context, target), smoothing = batch, self.hparams["label_smoothing"]
        loss, minimised = self.smoothed(context, target, smoothing) if smoothing else (self.loss(*batch),) * 2
        weight = rank_weight(self.trainer, target)
        self.log_step(loss.detach(), weight)
        minimised = minimised if weight is None else minimised * weight
        penalty = self.penalty()
        return minimised if penalty is None else minimised + penalty

    def log_step(self, loss: Tensor | float, weight: Tensor | None = None) -> None:
        """Record a step's cross-entropy, float () in nats; where Lightning logs, log the mean since the last point."""
        self._train_means.add(loss if weight is None else loss * weight)
        if log_is_due(self.trainer):  # at other steps a call of `log` would take as long as the step
            mean = torch.tensor(self._train_means.since_log.take(), device=self.device)
            self.log("loss/train", mean, prog_bar=True, sync_dist=True)
            self.log("perplexity/train", mean.exp(), sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        """Log the mean of the training loss since the last validation of this training."""
        if is_of_fit(self.trainer) and (mean := self._train_means.since_validation.take()) is not None:
            self.log("loss_mean/train", mean, sync_dist=True)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the exact means over the val split."""
        context, *targets = batch
        self._val_metrics.add(self, batch_idx, self.net(context), *targets)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the exact means over the test split, and to those by label."""
        context, *targets = batch
        number = context[:, 0] - self.tokenizer.vocab_size if self.tokenizer.labels else None
        self._test_metrics.add(self, batch_idx, self.net(context), *targets, number=number)

    def on_test_epoch_end(self) -> None:
        """Log the losses by label."""
        self._test_metrics.log_by_label(self)

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Predict each of the N characters of a batch.

        Returns:
            context: int64 (N, T), the characters before; of whole names (N, L), padded with token 0.
            target, nats, likeliest: (N,), the character's id, its surprise -log p, and the most probable id.
        """
        context, target, *_ = batch
        logits = self.net(context)
        if target.dim() > 1:
            context = known_before(context)[target != IGNORED]
            logits, target = counted(logits, target)
        return {"context": context, "target": target, "nats": nats(logits, target), "likeliest": logits.argmax(-1)}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer over all weights, and the schedule of its rate if there is one.

        Raises:
            ValueError: schedule "one-cycle" in a training without a known number of steps.
        """
        given = self.hparams
        mixed = isinstance(getattr(trainer_of(self), "precision_plugin", None), MixedPrecision)
        optimizer = make_optimizer(self, given["optimizer"], given["lr"], given["weight_decay"], mixed=mixed)
        if given["schedule"] == "constant":
            return optimizer
        cycle = one_cycle(optimizer, given["lr"], training_steps(self.trainer), given["warmup"])
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}

    def on_train_start(self) -> None:
        """Start the mean of the training losses anew in a new run, and check that a restored schedule is long enough.

        Raises:
            ValueError: the schedule ends before the training does.
        """
        if not (self.trainer.global_step or self.trainer.ckpt_path):  # the losses are of an earlier training or a sweep
            self._train_means.load()
        for config in self.trainer.lr_scheduler_configs:
            check_end(config.scheduler.state_dict(), training_steps(self.trainer))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the entry that loads the net without Lightning, and the sums of the training losses."""
        checkpoint["charlm"] = {
            "format": FORMAT,
            "saved": time.time(),  # what was logged later comes again after a resume
            "net": type(self.net).__name__,
            "net_args": self._net_args | ({"weighted": True} if getattr(self.net, "weighted", False) else {}),
            "block_size": self._net_args.get("block_size", self.net.block_size),  # these two for checkpoint_facts
            "parameters": parameter_count(self.net),
            "alphabet": self.tokenizer.alphabet,
        }
        if self.tokenizer.labels:
            checkpoint["charlm"]["labels"] = list(self.tokenizer.labels)
        if not (module := type(self).__module__).startswith("charlm."):  # shown, and never imported by the file alone
            checkpoint["charlm"]["model"] = f"{module}.{type(self).__name__}"
        checkpoint["train_losses"] = gather(self._train_means.state(), getattr(trainer_of(self), "world_size", 1))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the sums of the training losses."""
        states = checkpoint.get("train_losses") or []
        self._train_means.load(states[self.global_rank] if self.global_rank < len(states) else None)
