"""What an epoch has added up so far: the means of `self.log(on_epoch=True)` and the states of torchmetrics.

Lightning leaves both out of its checkpoints, so the metrics of a resumed epoch would be those of its last batches.
charlm's own models log nothing of this kind in training; other projects do. With `precision="64-true"`, a metric adds
in float32 until Lightning has moved it for the first time, so how far that had come is saved as well.
"""

import builtins
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from charlm.callbacks.internals.lightning import LightningModule, Trainer

Sums = dict[str, Any]
_FUNCTIONS = {"builtins": builtins, "torch": torch}  # where Lightning takes min, max and sum from
_OPTIONS = ("fx", "name", "prog_bar", "logger", "on_step", "on_epoch", "add_dataloader_idx", "metric_attribute")
_CPU = torch.device("cpu")


def save_sums(trainer: Trainer, pl_module: LightningModule, inside: bool) -> Sums:
    """The sums as plain values, by key of Lightning's results and by name of the metric in the module.

    Args:
        trainer: the trainer.
        pl_module: the module.
        inside: whether an epoch is under way; between two, only metrics that the module resets itself have a state.
    """
    epoch_loop = trainer.fit_loop.epoch_loop
    items = epoch_loop._results.items() if inside else ()
    metrics = [(name, part) for name, part in pl_module.named_modules() if isinstance(part, Metric)]
    # of a validation or an epoch that has just ended, Lightning resets what was logged, after the hooks
    over = [epoch_loop.val_loop._results, *([] if inside else [epoch_loop._results])]
    ended = {item.meta.metric_attribute for results in over for item in results.values() if not item.has_reset}
    return {
        # a metric that is logged for single steps alone is reset at the epoch's end, too
        "logged": {
            key: _logged(item)
            for key, item in items
            if (item.meta.on_epoch or not item.is_tensor) and not item.has_reset
        },
        "metrics": {name: _state(metric) for name, metric in metrics if metric._update_count and name not in ended},
        "float64": [name for name, metric in metrics if metric.dtype is torch.float64],
    }


def restore_sums(trainer: Trainer, pl_module: LightningModule, sums: Sums) -> None:
    """Continue from `sums`; metrics that the module no longer has are left out."""
    metrics = {name: part for name, part in pl_module.named_modules() if isinstance(part, Metric)}
    for name, saved in sums["metrics"].items():
        if metric := metrics.get(name):
            for key, value in saved["state"].items():
                setattr(metric, key, _on(metric.device, value))
            metric._update_count, metric._computed = saved["updates"], None
    for name in metrics.keys() & sums.get("float64", ()):  # which older checkpoints lack
        metrics[name]._dtype = torch.float64
    results = trainer.fit_loop.epoch_loop._results
    trainer._logger_connector._first_loop_iter = False  # in the first iteration Lightning would begin at 0
    for key, saved in sums["logged"].items():
        value = saved["value"].to(pl_module.device) if saved["value"] is not None else metrics.get(saved["metric"])
        if value is None:
            continue
        options = {**saved["options"], "reduce_fx": getattr(_FUNCTIONS[saved["of"]], saved["reduce"]), "batch_size": 1}
        results.log(value=value, sync_dist_fn=trainer.strategy.reduce, **options)
        item = results[key]
        item._forward_cache = saved.get("latest")
        if saved["value"] is not None:
            item.value = value
            if item.meta.is_mean_reduction:
                item.cumulated_batch_size = saved["count"].to(pl_module.device)


def _logged(item: Any) -> dict[str, Any]:
    """An item of Lightning's results, with the arguments of `log` that make it again."""
    meta, latest = item.meta, item._forward_cache
    options = {name: getattr(meta, name) for name in _OPTIONS}
    options |= {"sync_dist": meta.sync.should, "rank_zero_only": meta.sync.rank_zero_only}
    saved = {
        "options": options,
        "reduce": meta.reduce_fx.__name__,
        "of": "builtins" if meta.reduce_fx is getattr(builtins, meta.reduce_fx.__name__, None) else "torch",
        "metric": meta.metric_attribute,
        "value": None,
        "latest": _on(_CPU, latest) if isinstance(latest, Tensor) else None,
    }
    if item.is_tensor:
        saved |= {"value": _on(_CPU, item.value)}
        saved |= {"count": _on(_CPU, item.cumulated_batch_size)} if meta.is_mean_reduction else {}
    return saved


def _state(metric: Metric) -> dict[str, Any]:
    return {
        "state": {key: _on(_CPU, value) for key, value in metric.metric_state.items()},
        "updates": metric._update_count,
    }


def _on(device: torch.device, value: Tensor | list[Tensor]) -> Tensor | list[Tensor]:
    return [part.detach().to(device) for part in value] if isinstance(value, list) else value.detach().to(device)
