"""What a running epoch has added up so far: the means of `self.log(on_epoch=True)` and torchmetrics' own states.

Lightning leaves both out of its checkpoints, so that an epoch that is resumed reports the mean of its last batches.

Private parts used: of Lightning 2.6 `_TrainingEpochLoop._results`, whose items have `meta`, `value`,
`cumulated_batch_size`, `has_reset` and `_forward_cache`, and `_LogConnector._first_loop_iter`;
of torchmetrics 1.9 `_update_count` and `_computed`.
"""

import builtins
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torchmetrics import Metric

Sums = dict[str, dict[str, Any]]
_FUNCTIONS = {"builtins": builtins, "torch": torch}  # where Lightning takes min, max and sum from
_OPTIONS = ("fx", "name", "prog_bar", "logger", "on_step", "on_epoch", "add_dataloader_idx", "metric_attribute")


def sums_of(trainer: Trainer, pl_module: LightningModule) -> Sums:
    """What the epoch has added up, by key of Lightning's results and by place of the metric in the module."""
    items = trainer.fit_loop.epoch_loop._results.items()
    metrics = [(name, part) for name, part in pl_module.named_modules() if isinstance(part, Metric)]
    return {
        "logged": {key: _logged(item) for key, item in items if item.meta.on_epoch and not item.has_reset},
        "metrics": {name: _state(metric) for name, metric in metrics if metric._update_count},
    }


def give_sums(trainer: Trainer, pl_module: LightningModule, sums: Sums) -> None:
    """Go on adding up from there. Metrics that the module has no more are left out."""
    metrics = {name: part for name, part in pl_module.named_modules() if isinstance(part, Metric)}
    for name, kept in sums["metrics"].items():
        if metric := metrics.get(name):
            for key, value in kept["state"].items():
                setattr(metric, key, _on(metric.device, value))
            metric._update_count, metric._computed = kept["updates"], None
    results = trainer.fit_loop.epoch_loop._results
    trainer._logger_connector._first_loop_iter = False  # in the first one Lightning would begin at 0
    for key, kept in sums["logged"].items():
        value = kept["value"].to(pl_module.device) if kept["value"] is not None else metrics.get(kept["metric"])
        if value is None:
            continue
        options = {**kept["options"], "reduce_fx": getattr(_FUNCTIONS[kept["of"]], kept["reduce"]), "batch_size": 1}
        results.log(value=value, sync_dist_fn=trainer.strategy.reduce, **options)
        if kept["value"] is not None:
            item = results[key]
            item.value, item._forward_cache = value, kept["latest"]
            if item.meta.is_mean_reduction:
                item.cumulated_batch_size = kept["count"].to(pl_module.device)


def _logged(item: Any) -> dict[str, Any]:
    """An item of Lightning's results, and the arguments that make it again."""
    meta = item.meta
    options = {name: getattr(meta, name) for name in _OPTIONS}
    options |= {"sync_dist": meta.sync.should, "rank_zero_only": meta.sync.rank_zero_only}
    kept = {
        "options": options,
        "reduce": meta.reduce_fx.__name__,
        "of": _module(meta.reduce_fx),
        "metric": meta.metric_attribute,
        "value": None,
    }
    if item.is_tensor:
        latest = item._forward_cache
        kept |= {"value": _on(_CPU, item.value), "latest": None if latest is None else _on(_CPU, latest)}
        kept |= {"count": _on(_CPU, item.cumulated_batch_size)} if meta.is_mean_reduction else {}
    return kept


def _module(reduce_fx: Any) -> str:
    return "builtins" if reduce_fx is getattr(builtins, reduce_fx.__name__, None) else "torch"


def _state(metric: Metric) -> dict[str, Any]:
    return {
        "state": {key: _on(_CPU, value) for key, value in metric.metric_state.items()},
        "updates": metric._update_count,
    }


_CPU = torch.device("cpu")


def _on(device: torch.device, value: Tensor | list[Tensor]) -> Tensor | list[Tensor]:
    return [part.detach().to(device) for part in value] if isinstance(value, list) else value.detach().to(device)
