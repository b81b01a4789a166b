"""Resume a training exactly: the same batches, losses, rates, weights and random numbers as without the stop."""

from typing import Any

import torch
from torch import Tensor

from charlm.callbacks.exact_resume.rng_state import rng_state, set_rng_state
from charlm.callbacks.internals.averaging import go_on_averaging
from charlm.callbacks.internals.epoch_sums import restore_sums, save_sums
from charlm.callbacks.internals.lightning import GradientAccumulationScheduler, LightningModule, Trainer, rank_zero_info
from charlm.callbacks.internals.loaders import has_kept_workers, start_kept_workers
from charlm.callbacks.internals.loop_state import cancel_restore, restore_loop_state, save_loop_state, was_stopped_early
from charlm.callbacks.internals.module_log import restore_callback_metrics
from charlm.callbacks.internals.step_count import window_is_complete
from charlm.callbacks.internals.trainer_attributes import callbacks_of
from charlm.callbacks.shared.base_callback import BaseCallback
from charlm.callbacks.shared.processes import gather

ENTRY = "exact_resume"
"""The key of a checkpoint under which the callback keeps its values."""


class ExactResume(BaseCallback):
    """Resume a training as if it had never stopped, bit for bit: checkpoints hold what Lightning leaves out.

    `trainer.fit(ckpt_path=...)` then continues at the exact step, in every process, with

    - the random generators of torch, Python and numpy in the states they had;
    - the gradients of an accumulation that was not complete, and under manual optimization all gradients;
    - the sums of `self.log(..., on_epoch=True)` and the states of torchmetrics, so that an epoch's means are complete,
      but not what Running, RunningMean, RunningSum, MinMaxMetric and MetricTracker keep in plain attributes;
    - `callback_metrics`;
    - the schedule of Lightning's StochasticWeightAveraging, which it takes up only where an epoch starts;
    - which weights are frozen: Lightning's BackboneFinetuning would leave all of its backbone frozen;
    - all digits of float64 weights: under `precision="64-true"` Lightning loads them into float32 first. A torchmetric
      begins in float32 there: the first values after a resume may differ in its last digit;
    - Lightning's counters corrected: every validation and every epoch hook comes once, also after a checkpoint of an
      epoch's last batch and after a second resume.

    A training that EarlyStopping ended does not continue while that callback is there; one that was stopped in another
    way, such as by `max_time` or `trainer.should_stop`, does, after a validation that Lightning adds at its stop. An
    epoch that `max_steps` had cut continues with its next batch; its means are of the rest alone, after RunCheckpoint.

    Any ModelCheckpoint works. Lightning's own saves while hooks of a batch or an epoch are running, and what comes
    after it in that hook is not done again: the module's own hook of that name, and the row that loggers get for this
    step or epoch. RunCheckpoint saves when all of that is done.

    The batches are the data loader's part: ResumableLoader, charlm's BatchLoader and torchdata's StatefulDataLoader
    continue in the middle of an epoch. A plain DataLoader starts the epoch again, so with one only checkpoints between
    two epochs are exact, and none are where its dataset draws random numbers in persistent workers, which go on with
    generators of their own; ResumableLoader starts new workers each epoch. Loaders need a length. A checkpoint grows by
    a few kilobytes and these gradients; a step costs nothing. State of your own, such as a list in the module, goes
    into `LightningModule.on_save_checkpoint`.

    Example:
        >>> from charlm.callbacks import ExactResume, RunCheckpoint
        >>> from lightning.pytorch import Trainer
        >>> from lightning.pytorch.demos.boring_classes import BoringModel
        >>> options = {"enable_progress_bar": False, "limit_train_batches": 5, "logger": False}
        >>> Trainer(max_epochs=1, callbacks=[ExactResume(), RunCheckpoint("runs/1")], **options).fit(BoringModel())
        >>> trainer = Trainer(max_epochs=2, callbacks=[ExactResume()], **options)
        >>> trainer.fit(BoringModel(), ckpt_path="runs/1/last.ckpt")
        >>> trainer.global_step
        10
    """

    def __init__(self) -> None:
        self._loaded: tuple[dict[str, Any], dict[str, Any]] | None = None  # the callback's entry, the loops' counters
        self._float64: dict[str, Tensor] = {}  # the float64 part of the checkpoint's weights
        self._sanity_steps: int | float | None = None  # the trainer's own, while there is to be no check
        self._frozen: list[str] | None = None  # the frozen weights as the training began

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the callback's entry, and correct the counters."""
        loop = save_loop_state(trainer, checkpoint["loops"])
        own: dict[str, Any] = {
            "rng": rng_state(),
            "gradients": _accumulated_gradients(trainer, pl_module, loop["inside"]),
            "sums": save_sums(trainer, pl_module, loop["inside"]),
        }
        metrics = {key: value.detach().cpu() for key, value in trainer.callback_metrics.items()}
        checkpoint[ENTRY] = {"loop": loop, "metrics": metrics, "ranks": gather(own, trainer.world_size)}
        checkpoint[ENTRY] |= {"frozen": [self._frozen, _frozen(pl_module)], "workers": has_kept_workers(trainer)}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Remember the callback's entry until training starts.

        Raises:
            ValueError: the entry is not one of this version.
        """
        entry = checkpoint.get(ENTRY)
        if entry is not None and (not isinstance(entry, dict) or not {"loop", "metrics", "ranks"} <= entry.keys()):
            raise ValueError(
                f"the checkpoint's entry {ENTRY!r} was not made by this version of ExactResume, so the training cannot"
                " continue from it; use another checkpoint or start a new run"
            )
        self._loaded = (entry, checkpoint["loops"]) if entry is not None else None
        if entry is not None and entry["loop"]["stop"]:
            entry["loop"]["stop"] = was_stopped_early(trainer, checkpoint.get("callbacks", {}))
        if entry is not None and entry["loop"]["stop"] and entry["loop"]["pending"] == "nothing":
            trainer.should_stop = True  # training had ended, so no hook of it is called, as where max_steps is reached
            rank_zero_info("EarlyStopping had ended the training of the checkpoint; leave it out to continue.")
        weights = checkpoint.get("current_model_state", checkpoint.get("state_dict", {}))  # WeightAveraging has both
        self._float64 = {name: w for name, w in weights.items() if getattr(w, "dtype", None) is torch.float64}
        if entry is None:
            rank_zero_info("The checkpoint was made without ExactResume: training continues, but not bit for bit.")

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give weights that were loaded before the module became float64 the digits they lost; skip the sanity check.

        It would get into state of the module, such as its best value so far, that has been loaded by now.
        """
        if self._loaded is not None:
            self._sanity_steps, trainer.num_sanity_val_steps = trainer.num_sanity_val_steps, 0
        here = pl_module.state_dict()
        for name, saved in self._float64.items():
            rounded = saved.float().double()
            if name in here and here[name].dtype is torch.float64 and torch.equal(here[name].cpu(), rounded.cpu()):
                here[name].copy_(saved)
        self._float64 = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the loop continue from the state in the checkpoint."""
        super().on_train_start(trainer, pl_module)
        self._give_sanity_check_back(trainer)
        self._frozen = _frozen(pl_module)
        if self._loaded is None:
            return
        (entry, loops), self._loaded = self._loaded, None
        began, saved = entry.get("frozen", (None, []))
        if began == self._frozen:  # else the user has chosen other weights to train
            for name, weight in pl_module.named_parameters():
                weight.requires_grad_(name not in saved)
            for name, norm in _norms(pl_module):
                if norm.track_running_stats is (name in saved):  # TorchScript's own cannot be set
                    norm.track_running_stats = name not in saved
        restore_loop_state(trainer, entry["loop"], loops, lambda: self._restore(trainer, pl_module, entry))

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._loaded, self._float64 = None, {}
        self._give_sanity_check_back(trainer)
        cancel_restore(trainer)

    def _give_sanity_check_back(self, trainer: Trainer) -> None:
        if self._sanity_steps is not None:
            trainer.num_sanity_val_steps, self._sanity_steps = self._sanity_steps, None

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._give_sanity_check_back(trainer)
        cancel_restore(trainer)

    def _restore(self, trainer: Trainer, pl_module: LightningModule, entry: dict[str, Any]) -> None:
        restore_callback_metrics(trainer, entry["metrics"])
        for callback in callbacks_of(trainer):
            if isinstance(callback, GradientAccumulationScheduler):
                callback.on_train_epoch_start(trainer)  # which Lightning leaves out amid an epoch
        if len(entry["ranks"]) != trainer.world_size:
            rank_zero_info(
                f"The checkpoint is from {len(entry['ranks'])} processes and this training has {trainer.world_size}:"
                " training continues, but not bit for bit."
            )
            return
        if entry["loop"]["inside"]:
            go_on_averaging(trainer, pl_module)
        own = entry["ranks"][trainer.global_rank]
        restore_sums(trainer, pl_module, own["sums"])
        weights = dict(pl_module.named_parameters())
        for name, gradient in own["gradients"].items():
            weights[name].grad = gradient.to(weights[name].device)
        if entry.get("workers"):
            start_kept_workers(trainer)
        set_rng_state(own["rng"])


def _frozen(pl_module: LightningModule) -> list[str]:
    """The names of the weights that do not train, and of the norms that keep their statistics as they are."""
    norms = [name for name, norm in _norms(pl_module) if not norm.track_running_stats]
    return [*(name for name, weight in pl_module.named_parameters() if not weight.requires_grad), *norms]


def _norms(pl_module: LightningModule) -> list[tuple[str, Any]]:
    return [(name, part) for name, part in pl_module.named_modules() if hasattr(part, "track_running_stats")]


def _accumulated_gradients(trainer: Trainer, pl_module: LightningModule, inside: bool) -> dict[str, Tensor]:
    """The gradients of an accumulation that is not complete, by name of the weight; empty where it is.

    Under manual optimization these are all gradients, since only the module knows whether it goes on to add to them.
    """
    if pl_module.automatic_optimization and (window_is_complete(trainer) or not inside):
        return {}
    return {name: p.grad.detach().cpu() for name, p in pl_module.named_parameters() if p.grad is not None}
