"""`charlm lr-find`: a Trainer with one more method, which sweeps the learning rate and trains nothing."""

import textwrap
from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from charlm.callbacks.lr_finder.callback import LRFinder
from charlm.callbacks.lr_finder.result import LRFinderResult
from charlm.callbacks.lr_finder.rules import DEFAULT_RULE, STOP_FACTOR
from charlm.cli.table import Table, render
from charlm.cli.trainer.report import program, shown
from charlm.models.base import LitCharLM
from charlm.runs.checkpoint_file import load_checkpoint
from charlm.runs.directory import next_number


class SweepAlone(LRFinder):
    """A sweep after which training ends before its first step, and a report follows."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        trainer.should_stop = True

    def shows_bar(self, trainer: pl.Trainer) -> bool:
        return True

    def announce(self, result: LRFinderResult, picture: str) -> None:
        """Nothing: the report says it."""


class SweepTrainer(pl.Trainer):
    """Lightning's Trainer, with `lr_find`."""

    def lr_find(
        self,
        model: LitCharLM,
        datamodule: pl.LightningDataModule,
        min_lr: float = 1e-4,
        max_lr: float = 10.0,
        num_steps: int = 1000,
        repeats: int = 1,
        rule: str = DEFAULT_RULE,
        stop_factor: float = STOP_FACTOR,
        trial_steps: int = 0,
        ckpt_path: str | None = None,
        weights_only: bool | None = None,
    ) -> LRFinderResult:
        """Find a learning rate with a sweep, and train nothing.

        Takes the settings of `charlm fit`, raises the rate from one optimizer step to the next, prints what each rule
        suggests and writes lr_finder.png, lr_finder.csv and lr_finder.json.

        Args:
            model: the model to train.
            datamodule: its data.
            min_lr: the first rate, > 0.
            max_lr: the last rate.
            num_steps: number of rates, evenly spaced on a logarithmic scale, with one optimizer step each.
            repeats: number of sweeps; the suggestion is the median of theirs.
            rule: half_depth, valley, slide, steepest, minimum_tenth, minimum_quarter or lightning.
            stop_factor: the sweep ends when the loss has risen above its start by this many times its descent.
            trial_steps: steps of two short trainings after the sweep, at the suggestion and at half of it; if half the
                rate soon wins, a quarter is suggested. 0: no trial; 300 are enough.
            ckpt_path: a checkpoint whose weights the sweep begins with; null: new weights.
            weights_only: not used; it is here so that a config of `fit` can be used. Checkpoints always load safely.

        Raises:
            ValueError: an argument outside its range, or no suggestion.
        """
        if ckpt_path is not None:
            model.net.load_state_dict(load_checkpoint(ckpt_path).net.state_dict())
        finder = SweepAlone(
            min_lr,
            max_lr=max_lr,
            num_steps=num_steps,
            repeats=repeats,
            rule=rule,
            apply=False,
            stop_factor=stop_factor,
            trial_steps=trial_steps,
        )
        self.callbacks: list[Callback] = [finder, *self.callbacks]
        self.fit(model, datamodule=datamodule)
        result = finder.result
        if result is None:
            raise ValueError("there was no sweep, as this training has no step; see max_steps, max_epochs and limits")
        directory = Path(self.default_root_dir)
        if self.is_global_zero:
            print(report(result, directory))
        if result.suggestion is None:
            raise ValueError(f"the sweep suggests no learning rate: {result.reason}. See {shown(directory)}")
        return result


# subcommands are methods of the trainer by their very name
setattr(SweepTrainer, "lr-find", SweepTrainer.lr_find)


def sweep_directory(root: Path) -> Path:
    """A new folder for the files of a sweep: the next version_N in `root`/lightning_logs/lr-find."""
    sweeps = root / "lightning_logs" / "lr-find"
    return sweeps / f"version_{next_number(sweeps)}"


def report(result: LRFinderResult, directory: Path) -> str:
    """What the rules suggest, what that rests on, and how to use it."""
    lines = ["", *textwrap.wrap(f"Learning-rate sweep: {result.reason}.", 80)]
    if result.suggestion is not None:
        rates = {**result.suggestions, result.suggested: result.suggestion}
        rows = [[name, f"{rate:.3g}", "<-" if name == result.suggested else ""] for name, rate in rates.items()]
        lines += ["", render(Table(("rule", "learning rate", ""), rows), width=80)]
    lines += ["", f"Curve      {shown(directory)}/lr_finder.png", "Points     lr_finder.csv beside it"]
    if result.suggestion is not None:
        low, high = result.range or (result.suggestion, result.suggestion)
        lines.append(f"One cycle  from {low:.3g} up to {high:.3g}")
        lines.append(f"Train      {program('charlm')} fit --model.lr {result.suggestion:.3g}")
        lines.append("           with the options that were given here")
    return "\n".join(lines)
