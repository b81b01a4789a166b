"""`charlm lr-find`: a Trainer with one more method, which searches for a learning rate and trains nothing."""

import math
import textwrap
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from charlm.callbacks.lr_finder.callback import LRFinder
from charlm.callbacks.lr_finder.climb import TRIAL_STEPS
from charlm.callbacks.lr_finder.lr_find import search_alone
from charlm.callbacks.lr_finder.result import REASONS, LRFinderResult
from charlm.callbacks.lr_finder.rules import DEFAULT_RULE, STOP_FACTOR
from charlm.callbacks.lr_finder.written import write_result
from charlm.callbacks.shared.logger_adapters import run_directory, send_scalars
from charlm.cli.table import Cell, Table, render
from charlm.cli.trainer.report import program, shown
from charlm.models.base import LitCharLM
from charlm.runs.load_checkpoint import load_checkpoint
from charlm.runs.logger import RunLogger, its_own_run
from charlm.runs.naming import RUNS


class ReportedSearch(LRFinder):
    """A search with a progress bar in a terminal, which a report follows."""

    def shows_bar(self, trainer: pl.Trainer) -> bool:
        return True  # where a bar can be drawn, which the search finds out

    def show(self, trainer: pl.Trainer, result: LRFinderResult) -> None:
        """Write the files, and the rate for the logger."""
        write_result(trainer, result, "lr_finder")
        if result.suggestion is not None:
            send_scalars(trainer, {"lr": result.suggestion}, 0)


class SweepTrainer(pl.Trainer):
    """Lightning's Trainer, with `lr_find`.

    Args:
        limit_train_batches: the number of training batches in an epoch, or with a decimal point their share, as 0.5.
        limit_val_batches: the same for the val split.
        limit_test_batches: the same for the test split.
        limit_predict_batches: the same for `predict`.
    """

    def __init__(
        self,
        *args: Any,
        # for Python, Lightning's Union[int, float] is the same as another Union[float, int], by which 1 would be 1.0
        limit_train_batches: int | float | None = None,
        limit_val_batches: int | float | None = None,
        limit_test_batches: int | float | None = None,
        limit_predict_batches: int | float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            *args,
            limit_train_batches=limit_train_batches,
            limit_val_batches=limit_val_batches,
            limit_test_batches=limit_test_batches,
            limit_predict_batches=limit_predict_batches,
            **kwargs,
        )

    def lr_find(
        self,
        model: LitCharLM,
        datamodule: pl.LightningDataModule,
        min_lr: float = 1e-4,
        max_lr: float = 10.0,
        num_steps: int = 1000,
        repeats: int = 1,
        rule: str = DEFAULT_RULE,
        trial_steps: int = TRIAL_STEPS,
        horizon: int | None = None,
        stop_factor: float = STOP_FACTOR,
        ckpt_path: str | None = None,
        weights_only: bool | None = None,
    ) -> LRFinderResult:
        """Find a learning rate, and train nothing.

        Takes the settings of `charlm fit`. First a sweep: the rate rises from one optimizer step to the next, and a
        rule reads a rate off the losses. Then trials: short trainings at that rate and at rates half a decade apart,
        up or down for as long as the loss gets lower. Prints both, and writes lr_finder.png, lr_finder.csv and
        lr_finder.json, beside a log for TensorBoard.

        Args:
            model: the model to train.
            datamodule: its data.
            min_lr: the first rate of the sweep, > 0.
            max_lr: the last rate of the sweep; trials may go beyond both.
            num_steps: number of rates, evenly spaced on a logarithmic scale, with one optimizer step each.
            repeats: number of sweeps; the rule's rate is the median of theirs.
            rule: half_depth, valley, steepest or minimum_tenth.
            trial_steps: optimizer steps of each trial; 0: no trials, and the rule's rate is the suggestion.
            horizon: optimizer steps of the training that the rate is for; null: those of `charlm fit` with these
                settings; 0: as many as a trial has.
            stop_factor: the sweep ends when the loss has risen above its start by this many times its descent.
            ckpt_path: a checkpoint whose weights the search begins with; null: new weights.
            weights_only: not used; it is here so that a config of `fit` can be used. Checkpoints always load safely.

        Raises:
            ValueError: an argument outside its range, or no suggestion.
        """
        with its_own_run(self):
            if ckpt_path is not None:
                model.net.load_state_dict(load_checkpoint(ckpt_path).net.state_dict())
            finder = ReportedSearch(
                min_lr=min_lr,
                max_lr=max_lr,
                num_steps=num_steps,
                repeats=repeats,
                rule=rule,
                trial_steps=trial_steps,
                horizon=horizon,
                apply=False,
                on_failure="raise",
                stop_factor=stop_factor,
            )
            result = search_alone(self, model, datamodule, finder)
        directory = Path(run_directory(self))
        if self.is_global_zero:
            print(report(result, directory))
        if result.suggestion is None:
            raise ValueError(f"the search suggests no learning rate: {result.reason}. See {shown(directory)}")
        return result


# subcommands are methods of the trainer by their very name
setattr(SweepTrainer, "lr-find", SweepTrainer.lr_find)


def sweep_logger(root: Path) -> RunLogger:
    """A logger with a new directory for a search, in `root`/lightning_logs/lr-find."""
    return RunLogger(root / RUNS, "lr-find", words="sweep")


def report(result: LRFinderResult, directory: Path) -> str:
    """What the sweep and the trials showed, and how to use it."""
    lines = ["", *textwrap.wrap(f"Learning-rate sweep: {REASONS[result.status]}.", 80)]
    if result.suggestions:
        rows = [[name, f"{rate:.3g}", _note(result, name)] for name, rate in result.suggestions.items()]
        lines += ["", render(Table(("rule", "learning rate", ""), rows), width=80)]
    if result.climb is not None:
        best = min(result.climb.trials, key=lambda trial: trial.loss)
        trials: list[list[Cell]] = []
        for trial in sorted(result.climb.trials, key=lambda trial: (trial.rate, trial.steps)):
            loss = trial.loss if trial.loss < math.inf else "diverged"
            trials.append([f"{trial.rate:.3g}", trial.steps, loss, "<-" * (trial is best)])
        lines += ["", render(Table(("trial", "steps", "loss", ""), trials), width=80), ""]
        lines += textwrap.wrap(f"{result.reason[:1].upper()}{result.reason[1:]}.", 80)
    lines += ["", f"Picture    {shown(directory)}/lr_finder.png", "Points     lr_finder.csv beside it"]
    if result.suggestion is not None:
        lines.append(f"Train      {program('charlm')} fit --model.lr {result.suggestion:.3g}")
        lines.append("           with the options that were given here")
    return "\n".join(lines)


def _note(result: LRFinderResult, rule: str) -> str:
    if rule != result.rule:
        return ""
    return "<-" if result.climb is None else "where the trials began"
