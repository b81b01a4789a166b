"""The exact means over all characters of a split that are logged. Dimension key: B batch, L positions, K labels, V."""

from collections.abc import Sequence

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection
from torchmetrics.aggregation import MeanMetric

from charlm.nets.loss import nats, target_weights


class _ExpMean(MeanMetric):
    """The exponential of a mean."""

    def compute(self) -> Tensor:
        return super().compute().exp()


class _MeansByLabel(Metric):
    """A mean for each of K labels."""

    total: Tensor
    weight: Tensor

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(labels), dist_reduce_fx="sum")
        self.add_state("weight", torch.zeros(labels), dist_reduce_fx="sum")

    def update(self, number: Tensor, values: Tensor, weights: Tensor) -> None:
        weighted = (values * weights).to(self.total.dtype)
        self.total = self.total.index_add(0, number, weighted.view(len(number), -1).sum(1))
        self.weight = self.weight.index_add(0, number, weights.view(len(number), -1).sum(1))

    def compute(self) -> Tensor:
        """Float (K,); NaN for a label that did not occur."""
        return self.total / self.weight


class SplitMetrics(nn.Module):
    """The loss, the perplexity and the accuracy of a split, as if a name stood as many times there as its weight says.

    Args:
        split: "val" or "test", for the names of the metrics.
        labels: by which the loss is logged as well, as in "loss/test/F".
    """

    def __init__(self, split: str, labels: Sequence[str] = ()) -> None:
        super().__init__()
        self.split, self.labels = split, labels
        means = {"loss": MeanMetric(), "perplexity": _ExpMean(), "accuracy": MeanMetric()}
        self.means = MetricCollection(dict(means), postfix=f"/{split}", compute_groups=False)
        self.by_label = _MeansByLabel(len(labels))

    def add(
        self,
        model: pl.LightningModule,
        batch_idx: int,
        logits: Tensor,
        target: Tensor,
        weights: Tensor | None = None,
        *,
        number: Tensor | None = None,
    ) -> None:
        """Add a batch; with the first one, the model logs the means, which Lightning computes at the end of the split.

        Args:
            model: in a validation or a test.
            batch_idx: the batch's number, from 0 on.
            logits: float (B, V) or (B, L, V).
            target: int64 (B,) or (B, L); -1 is ignored.
            weights: float (B,); None: every name counts once.
            number: int64 (B,), that of each name's label, for `log_by_label`; None: without labels.
        """
        if logits.dtype is torch.float64:  # else they add in float32 until Lightning moves them: after a resume, later
            self.means.set_dtype(torch.float64)
        with torch.inference_mode():  # also within fit: after a `validate` the metrics' states are inference tensors
            weight, surprise = target_weights(target, weights), nats(logits, target)
            self.means["loss"].update(surprise, weight)
            self.means["perplexity"].update(surprise, weight)
            self.means["accuracy"].update((logits.argmax(-1) == target).float(), weight)
            if number is not None:
                self.by_label.update(number, surprise, weight)
        for name, metric in self.means.items() if batch_idx == 0 else ():
            model.log(name, metric, prog_bar=name.startswith("loss"), on_epoch=True)

    def log_by_label(self, model: pl.LightningModule) -> None:
        """At the end of a split, log the losses of the labels that occur in it."""
        if not self.labels:
            return
        for label, loss in zip(self.labels, self.by_label.compute(), strict=True):
            if not loss.isnan():
                model.log(f"loss/{self.split}/{label}", loss, sync_dist=True)
        self.by_label.reset()
