"""The exact means over all characters of a split that are logged. Dimension key: B batch, L positions, V."""

from collections.abc import Iterable, Sequence
from typing import cast

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.aggregation import MeanMetric
from torchmetrics.classification import MulticlassAccuracy
from torchmetrics.text import Perplexity

from charlm.callbacks.shared.trainer_state import trainer_of
from charlm.models.rank_weight import weight_in_epoch
from charlm.nets.loss import counted, cross_entropy, nats, target_weights


class _ExpMean(MeanMetric):
    """The exponential of a mean."""

    def compute(self) -> Tensor:
        return super().compute().exp()


class SplitMetrics(nn.Module):
    """The loss, the perplexity and the accuracy of a split, as if a name stood as many times there as its weight says.

    Args:
        split: "val" or "test", for the names of the metrics.
        vocab_size: V.
        labels: by which the loss is logged as well, as in "loss/test/F".
    """

    def __init__(self, split: str, vocab_size: int, labels: Sequence[str] = ()) -> None:
        super().__init__()
        self.split, self.labels = split, labels
        accuracy = MulticlassAccuracy(vocab_size, average="micro", validate_args=False)
        self.metrics = MetricCollection({"perplexity": Perplexity(), "accuracy": accuracy}, postfix=f"/{split}")
        means = {"loss": MeanMetric(), "perplexity": _ExpMean(), "accuracy": MeanMetric()}
        self.weighted = MetricCollection(dict(means), postfix=f"/{split}", compute_groups=False)
        self.by_label = nn.ModuleList(MeanMetric() for _ in labels)

    def log(self, model: pl.LightningModule, logits: Tensor, target: Tensor, weights: Tensor | None = None) -> None:
        """Add a batch, and let the model log the means.

        Args:
            model: in a validation or a test.
            logits: float (B, V) or (B, L, V).
            target: int64 (B,) or (B, L); -1 is ignored.
            weights: float (B,); None: every name counts once.
        """
        if weights is not None:
            self._log_weighted(model, logits, target, weights)
            return
        with torch.inference_mode():  # also within fit: after a `validate` the metrics' states are inference tensors
            logits, target = counted(logits, target)
            loss = cross_entropy(logits, target)
            self.metrics["perplexity"].update(logits[:, None], target[:, None])
            self.metrics["accuracy"].update(logits, target)
        count = weight_in_epoch(trainer_of(model), target)
        model.log(f"loss/{self.split}", loss, prog_bar=True, batch_size=count, on_epoch=True, sync_dist=True)
        model.log_dict(self.metrics, on_epoch=True)

    def _log_weighted(self, model: pl.LightningModule, logits: Tensor, target: Tensor, weights: Tensor) -> None:
        with torch.inference_mode():
            weight, surprise = target_weights(target, weights), nats(logits, target)
            self.weighted["loss"].update(surprise, weight)
            self.weighted["perplexity"].update(surprise, weight)
            self.weighted["accuracy"].update((logits.argmax(-1) == target).float(), weight)
        for name, metric in self.weighted.items():
            model.log(name, metric, prog_bar=name.startswith("loss"), on_epoch=True)

    def log_by_label(
        self, model: pl.LightningModule, number: Tensor, logits: Tensor, target: Tensor, weights: Tensor | None = None
    ) -> None:
        """Add a batch to the losses by label; `number`, int64 (B,), is that of each name's label, the rest as in `log`.

        The loss of a label that no name has is NaN.
        """
        for label, mean in enumerate(cast("Iterable[MeanMetric]", self.by_label)):
            chosen = (number == label).float()
            with torch.inference_mode():
                weight = target_weights(target, chosen if weights is None else chosen * weights)
                mean.update(nats(logits, target), weight)
            model.log(f"loss/{self.split}/{self.labels[label]}", mean, on_epoch=True)
