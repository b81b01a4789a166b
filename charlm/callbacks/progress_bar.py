"""One progress bar for the whole training, and above it a row of numbers for each validation."""

import math
import os
import sys
import time
from collections.abc import Mapping
from io import StringIO
from typing import Any

from tqdm import tqdm

from charlm.callbacks.internals.lightning import LightningModule, Trainer
from charlm.callbacks.internals.trainer_attributes import callbacks_of
from charlm.callbacks.shared.base_callback import BaseProgressBar
from charlm.callbacks.shared.progress import training_steps
from charlm.callbacks.shared.terminal import Nowhere, can_redraw, can_write
from charlm.callbacks.shared.trainer_state import is_of_fit

_WIDE = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{postfix} [{elapsed}<{remaining}, {rate_noinv_fmt}]"
_NARROW = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{postfix} [{remaining} left]"
_OPEN = "{n_fmt} steps{postfix} [{elapsed}, {rate_noinv_fmt}]"  # without a known number of steps
_PLAIN = "{n_fmt}/{total_fmt} steps{postfix} [{elapsed}<{remaining}, {rate_noinv_fmt}]"
_ROOM = 54  # cells that _WIDE needs beside the metrics
_SILENCE = 10.0  # seconds between two lines in a log
_WIDTHS = {"step": 9, "best": 4, "lr": 8}  # cells of a column; others have 7, or more for a longer heading
_DIM, _GREEN, _END = "\x1b[2m", "\x1b[32m", "\x1b[0m"


class StepProgressBar(BaseProgressBar):
    """See a training on one page: one bar in optimizer steps, and above it a row of numbers for each validation.

    The bar shows what was logged with `prog_bar=True`, `loss/train` and `loss/val` as train and val: a beginning that
    all names share up to a slash is left out. A row has the optimizer steps so far, the same metrics or `columns`, an
    asterisk if the metric that a checkpoint callback monitors is the best so far, the learning rate of the steps before
    if it differs from the row above, and the time left. Another callback adds columns by an attribute
    `progress_columns`, texts by heading, if it stands before this one in the Trainer's list.

    All is written to standard error. A file, a pipe or a terminal with TERM=dumb gets the rows, and a line whenever ten
    seconds have passed without one. The environment variable NO_COLOR turns colours off.

    Args:
        refresh_rate: optimizer steps between two updates of the bar, >= 1; slow steps are shown once a second.
        columns: name of a logged metric by the heading of its column, such as {"train": "train_loss_epoch"}; null: the
            metrics of the bar.

    Raises:
        ValueError: `refresh_rate` < 1.

    Example:
        >>> from charlm.callbacks import StepProgressBar
        >>> from lightning.pytorch import Trainer
        >>> from lightning.pytorch.demos.boring_classes import BoringModel
        >>> trainer = Trainer(max_steps=9, callbacks=[StepProgressBar(columns={"val": "val_loss"})])
        >>> trainer.fit(BoringModel())
    """

    per_execution = True  # StepsPerExecution then updates the bar at the end of an execution

    def __init__(self, refresh_rate: int = 50, *, columns: dict[str, str] | None = None) -> None:
        if refresh_rate < 1:
            raise ValueError(f"refresh_rate is {refresh_rate}; give at least 1 step")
        super().__init__()
        self.refresh_rate = refresh_rate
        self.columns = columns
        self.is_enabled = True  # LightningModule.print reads it
        self._bar: Any = None

    def disable(self) -> None:
        """Hide the bar of later trainings; Lightning calls this in every process but the first."""
        self.is_enabled = False

    def enable(self) -> None:
        self.is_enabled = True

    def print(self, *args: Any, file: Any = None, flush: bool = False, **kwargs: Any) -> None:
        """Print above the bar like Python's `print`; a disabled bar prints nothing."""
        if self.is_enabled and can_write(file or sys.stdout):
            text = StringIO()
            print(*args, file=text, **kwargs)
            tqdm.write(text.getvalue(), file=file, end="")
            if flush:
                (file or sys.stdout).flush()

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return what was logged with `prog_bar=True`, without Lightning's version number; override it to show more."""
        return dict(trainer.progress_bar_metrics)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar at the current step, which is not 0 in a resumed run."""
        if not self.is_enabled or not can_write(sys.stderr):
            return
        # under manual optimization a batch may take any number of steps, so only max_steps gives the end
        total = training_steps(trainer) if pl_module.automatic_optimization else trainer.max_steps
        known = math.isfinite(total) and total >= 0
        self._redraws = can_redraw(sys.stderr)
        # consoles of Windows, which set no TERM, may print the codes
        self._colors = self._redraws and "TERM" in os.environ and not os.environ.get("NO_COLOR")
        self._bar = tqdm(
            total=int(total) if known else None,
            initial=trainer.global_step,
            bar_format=(_WIDE if self._redraws else _PLAIN) if known else _OPEN,
            dynamic_ncols=True,
            miniters=0,  # else tqdm may wait for as many steps as came before its last update
            unit=" steps",
            file=sys.stderr if self._redraws else Nowhere(),
        )
        if (self._bar.ncols or 0) < 1:  # not known, or 0 as under `script`
            self._bar.dynamic_ncols, self._bar.ncols, self._bar.nrows = None, 80, 24
        self._shown = trainer.global_step
        self._written = self._looked = time.monotonic()  # when the last line was, and the last update
        self._headings: list[str] = []
        self._rate: float | None = None  # of the latest step that is known
        self._shown_rate: float | None = None  # in the last row
        self._best: float | None = None
        self._has_row = False  # a validation's row has still to be written

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Look at the rate of the step: after it, a schedule has set the next one."""
        if self._bar is not None:
            self._rate = next((group.get("lr") for group in trainer.optimizers[0].param_groups), None)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update the bar every `refresh_rate` optimizer steps, and if a second has passed."""
        is_open = self._bar is not None
        if is_open and (trainer.global_step - self._shown >= self.refresh_rate or time.monotonic() - self._looked > 1):
            self._show(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the validation's row, or at the end of an epoch wait for the means over the epoch."""
        if self._bar is None or not is_of_fit(trainer):
            return
        self._has_row = True
        if self._best is None:  # what was reached before a resume; this validation is not in it yet
            self._best = getattr(_monitoring(trainer), "best_model_score", None)
        if not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self._write_row(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the row of the validation at the end of the epoch."""
        self._write_row(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave a full bar on the screen, also when training has ended early."""
        if self._bar is None:
            return
        self._bar.total = self._bar.total and trainer.global_step
        self._show(trainer)
        if not self._redraws:
            self._write(str(self._bar))
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close the bar, so that the error message begins on a new line."""
        self._close()

    def _show(self, trainer: Trainer) -> None:
        self._shown, self._looked = trainer.global_step, time.monotonic()
        if self._bar.total is not None:  # a batch of several steps may go beyond max_steps
            self._bar.total = max(self._bar.total, self._shown)
        metrics = _without_shared_beginning(self.get_metrics(trainer, trainer.lightning_module))
        text = ", ".join(f"{name} {_format(value, 3)}" for name, value in metrics.items())
        self._bar.set_postfix_str(text, refresh=False)
        if self._bar.bar_format in (_WIDE, _NARROW):
            self._bar.bar_format = _WIDE if self._bar.ncols >= _ROOM + len(text) else _NARROW
        self._bar.update(self._shown - self._bar.n)
        if not self._redraws and self._looked - self._written >= _SILENCE:
            self._write(str(self._bar))

    def _write_row(self, trainer: Trainer) -> None:
        """Write the row that is due, and before it the headings if they are not those of the row above."""
        if self._bar is None or not self._has_row:
            return
        self._has_row = False
        self._written = time.monotonic()  # a row stands for the bar's line
        self._show(trainer)
        cells = self._cells(trainer)
        widths = {heading: max(_WIDTHS.get(heading, 7), len(heading)) for heading in cells}
        if list(cells) != self._headings:
            self._headings = list(cells)
            self._write(" ".join(f"{heading:>{width}}" for heading, width in widths.items()), _DIM)
        line = " ".join(f"{text:>{widths[heading]}}" for heading, text in cells.items())
        self._write(line, _GREEN if cells.get("best") else "")
        self._bar.refresh()

    def _cells(self, trainer: Trainer) -> dict[str, str]:
        """The texts of a row by their headings."""
        logged = trainer.callback_metrics
        if self.columns is None:
            metrics = _without_shared_beginning(self.get_metrics(trainer, trainer.lightning_module))
            for name in [name for name in metrics if name.endswith("_epoch")]:  # Lightning's two names of a metric
                metrics.pop(f"{name.removesuffix('epoch')}step", None)
        else:
            metrics = {head: float(logged[name]) if name in logged else "" for head, name in self.columns.items()}
        cells = {"step": f"{trainer.global_step:,}"}
        cells |= {heading: _format(value, 4) for heading, value in metrics.items()}
        monitoring = _monitoring(trainer)
        if monitoring is not None:
            cells["best"] = "*" * self._is_best(float(logged.get(monitoring.monitor, math.nan)), monitoring.mode)
        for callback in callbacks_of(trainer):
            cells |= getattr(callback, "progress_columns", {})
        if self._rate is not None:
            rate = float(self._rate)
            cells["lr"] = "" if rate == self._shown_rate else f"{rate:.3g}"
            self._shown_rate = rate
        steps, of_bar = trainer.global_step - self._bar.initial, self._bar.format_dict
        if self._bar.total is not None and steps:
            cells["left"] = tqdm.format_interval(of_bar["elapsed"] * (self._bar.total - trainer.global_step) / steps)
        return cells

    def _is_best(self, value: float, mode: str) -> bool:
        best = self._best
        if math.isnan(value) or (best is not None and (value >= best if mode == "min" else value <= best)):
            return False
        self._best = value
        return True

    def _write(self, line: str, color: str = "") -> None:
        self._written = time.monotonic()
        tqdm.write(f"{color}{line}{_END}" if self._colors and color else line, file=sys.stderr)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _monitoring(trainer: Trainer) -> Any:
    """The first checkpoint callback that monitors a metric, or None."""
    return next((each for each in trainer.checkpoint_callbacks if getattr(each, "monitor", None)), None)


def _without_shared_beginning(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics with shorter names: loss/train and loss/val are train and val; a single name stays whole."""
    if len(metrics) < 2 or len({name.partition("/")[0] for name in metrics}) > 1:
        return dict(metrics)
    return {name.partition("/")[2] or name: value for name, value in metrics.items()}


def _format(value: Any, decimals: int) -> str:
    """A number with some decimals, or with three significant digits if it is very small or very large."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.{decimals}f}" if value == 0 or 0.1 <= abs(value) < 10_000 else f"{value:.3g}"
