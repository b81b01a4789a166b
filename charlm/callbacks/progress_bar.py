"""One progress bar for the whole training."""

import math
import sys
from io import StringIO
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from tqdm import tqdm

from charlm.callbacks.shared.progress import training_steps

_FORMAT = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} steps [{elapsed}<{remaining}, {rate_noinv_fmt}{postfix}]"
_FORMAT_OPEN = "{n_fmt} steps [{elapsed}, {rate_noinv_fmt}{postfix}]"  # without a known number of steps


class StepProgressBar(ProgressBar):
    """One bar from the first optimizer step to the last, instead of one for each epoch and each validation.

    It shows what was logged with `prog_bar=True`, and fits 80 columns.

    Args:
        refresh_rate: optimizer steps between two updates of the bar and its metrics, >= 1.

    Raises:
        ValueError: `refresh_rate` < 1.
    """

    per_execution = True  # StepsPerExecution then updates the bar at the end of an execution

    def __init__(self, refresh_rate: int = 50) -> None:
        if refresh_rate < 1:
            raise ValueError(f"refresh_rate is {refresh_rate}; give at least 1 step")
        super().__init__()
        self.refresh_rate = refresh_rate
        self.is_enabled = True  # LightningModule.print reads it
        self._bar: Any = None
        self._shown = -1

    def disable(self) -> None:
        """Hide the bar; Lightning calls this in every process but the first."""
        self.is_enabled = False

    def enable(self) -> None:
        """Show the bar again."""
        self.is_enabled = True

    def print(self, *args: Any, file: Any = None, flush: bool = False, **kwargs: Any) -> None:
        """Print above the bar like Python's `print`; a disabled bar prints nothing."""
        if self.is_enabled and (file or sys.stdout) is not None:  # windowed programs have no stdout
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
        # under manual optimization a batch may take any number of steps, so only max_steps gives the end
        total = training_steps(trainer) if pl_module.automatic_optimization else trainer.max_steps
        known = math.isfinite(total) and total >= 0
        self._bar = tqdm(
            total=int(total) if known else None,
            initial=trainer.global_step,
            bar_format=_FORMAT if known else _FORMAT_OPEN,
            disable=not self.is_enabled or sys.stderr is None,
            dynamic_ncols=True,
            miniters=0,  # else tqdm may wait for as many steps as came before its last update
            unit="step",
        )
        self._shown = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update the bar every `refresh_rate` optimizer steps."""
        if trainer.global_step - self._shown >= self.refresh_rate:
            self._show(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the metrics of a validation at once."""
        if self._bar is not None and not trainer.sanity_checking:
            self._show(trainer)
            self._bar.refresh()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave a full bar on the screen, also when training has ended early."""
        if self._bar.total is not None:
            self._bar.total = trainer.global_step
        self._show(trainer)
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close the bar, so that the error message begins on a new line."""
        self._close()

    def _show(self, trainer: Trainer) -> None:
        self._shown = trainer.global_step
        if self._bar.total is not None:  # a batch of several steps may go beyond max_steps
            self._bar.total = max(self._bar.total, self._shown)
        metrics = self.get_metrics(trainer, trainer.lightning_module)
        self._bar.set_postfix({key: _format(value) for key, value in metrics.items()}, refresh=False)
        self._bar.update(self._shown - self._bar.n)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _format(value: Any) -> str:
    """A float with three decimals, or with three significant digits if it is very small or very large."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3f}" if value == 0 or 0.1 <= abs(value) < 10_000 else f"{value:.3g}"
