"""The milestones of a step decay as a Markdown table, and the optimizer steps at which they fall."""

import math
from collections.abc import Mapping, Sequence

from charlm.callbacks.internals.lightning import GradientAccumulationScheduler, Trainer
from charlm.callbacks.internals.trainer_attributes import callbacks_of, epochs_per_reload
from charlm.callbacks.shared.logger_adapters import send_text, tell
from charlm.callbacks.shared.progress import training_steps
from charlm.callbacks.shared.rates import tagged_rates

_SPELLED = {"step": "step {:,}", "epoch": "{:,} epochs done", "fraction": "{:.4g} of the steps done"}


def send_table(
    trainer: Trainer, milestones: Sequence[float], gamma: float, unit: str, base_rates: Sequence[float]
) -> None:
    """Send the table as `step_decay` to every logger that takes texts, at step 0, as it is about the whole training.

    Args:
        trainer: at the first batch of a fit.
        milestones: in `unit`.
        gamma: factor per milestone.
        unit: "step", "epoch" or "fraction".
        base_rates: of all groups; empty if schedulers set them.
    """
    by_tag = dict(zip(tagged_rates(trainer.optimizers), base_rates, strict=True)) if base_rates else {}
    table = decay_table(milestones, gamma, unit, milestone_steps(trainer, milestones, unit), by_tag)
    tell("StepDecay's table", send_text(trainer, table, "step_decay", 0), set())


def decay_table(
    milestones: Sequence[float], gamma: float, unit: str, steps: Sequence[int | None], base_rates: Mapping[str, float]
) -> str:
    """A Markdown table with a row for the start and for each milestone.

    Args:
        milestones: in `unit`.
        gamma: factor per milestone.
        unit: "step", "epoch" or "fraction".
        steps: the first optimizer step with the new rate for each milestone; None if it cannot be known yet.
        base_rates: the rates at the start of the training, by the tag under which they are logged.

    Example:
        >>> print(decay_table([0.75], 0.1, "fraction", [15000], {"lr": 0.1}))
        | milestone | from optimizer step | factor | lr |
        | --- | ---: | ---: | ---: |
        | start | 0 | 1 | 0.1 |
        | 0.75 of the steps done | 15,000 | 0.1 | 0.01 |
    """
    rows = [["milestone", "from optimizer step", "factor", *base_rates], ["---", *["---:"] * (2 + len(base_rates))]]
    spelled = ["start", *(_SPELLED[unit].format(milestone) for milestone in milestones)]
    for passed, (name, step) in enumerate(zip(spelled, [0, *steps], strict=True)):
        factor = gamma**passed
        rates = [factor, *(rate * factor for rate in base_rates.values())]
        rows.append([name, "not known beforehand" if step is None else f"{step:,}", *(f"{rate:.4g}" for rate in rates)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def milestone_steps(trainer: Trainer, milestones: Sequence[float], unit: str) -> list[int | None]:
    """The first optimizer step after each milestone; None if it cannot be known yet.

    Args:
        trainer: at the first batch of a fit, which may have been resumed.
        milestones: in `unit`.
        unit: "step", "epoch" or "fraction".
    """
    if unit == "step":
        return [int(milestone) for milestone in milestones]
    if not trainer.lightning_module.automatic_optimization:  # a batch may take any number of steps
        return [None] * len(milestones)
    if unit == "fraction":
        return [first_step(milestone, training_steps(trainer)) for milestone in milestones]
    length, epoch = _steps_per_epoch(trainer), trainer.current_epoch
    if length is None:
        return [None] * len(milestones)
    begun = trainer.global_step - trainer.fit_loop.batch_idx // trainer.accumulate_grad_batches
    alike = begun == epoch * length  # epochs before a resume may have been longer or shorter
    return [int(begun + (m - epoch) * length) if alike or m > epoch else None for m in milestones]


def next_milestone(trainer: Trainer, milestones: Sequence[float], unit: str) -> float:
    """The next optimizer step at which the rates change, at the latest; infinite if not in this epoch."""
    if unit == "epoch" or not milestones:
        return math.inf
    steps = milestone_steps(trainer, milestones, unit)
    return next((step for step in steps if step is not None and step > trainer.global_step), math.inf)


def first_step(milestone: float, length: float) -> int:
    """The first step s with s / length >= milestone, in floating point as training compares them."""
    step = math.ceil(milestone * length)
    while step / length < milestone:
        step += 1
    while (step - 1) / length >= milestone:
        step -= 1
    return step


def _steps_per_epoch(trainer: Trainer) -> int | None:
    """None if an epoch is endless or its length can change from one epoch to the next."""
    callbacks = callbacks_of(trainer)
    changes = any(isinstance(each, GradientAccumulationScheduler) and len(each.scheduling) > 1 for each in callbacks)
    reloads = epochs_per_reload(trainer)
    batches = trainer.num_training_batches
    return None if changes or reloads or batches == math.inf else math.ceil(batches / trainer.accumulate_grad_batches)
