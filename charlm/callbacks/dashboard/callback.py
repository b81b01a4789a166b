"""What makes a run good to look at in TensorBoard."""

from typing import Any

from lightning.fabric.utilities.cloud_io import get_filesystem
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from charlm.callbacks.dashboard.activations import ActivationWatch, evenly
from charlm.callbacks.dashboard.layout import layout
from charlm.callbacks.shared.loggers import (
    Failed,
    attempt,
    run_directory,
    send_histogram,
    send_layout,
    send_scalars,
    send_text,
    tell,
)
from charlm.callbacks.shared.progress import logged_step
from charlm.callbacks.shared.publish import publish
from charlm.callbacks.shared.trainer_state import is_of_fit, scalar_step, undisturbed


class Dashboard(Callback):
    """Lay out TensorBoard for a run, and show what its hidden layers do.

    - Custom Scalars: the losses of train, val and test on one chart, the learning rates, what NameSamples measures,
      and the hidden layers.
    - Text: the run's config.yaml (`config`), where LightningCLI has written one.
    - At every validation, of its first batch, for each nn.Tanh and nn.Sigmoid the share of saturated outputs
      (`saturation/<layer>`), for each nn.ReLU the share of dead units (`dead/<layer>`), and the distribution of all of
      them (`activations/<layer>`).
    - As training ends, the model's own pictures, if it has a method `figures() -> Mapping[str, Figure]`: by tag,
      figures of matplotlib that were not made by pyplot. They are written to the run directory as well.

    With other loggers each gets what it takes. Training is not touched: weights and losses come out the same, bit for
    bit. What cannot be made or logged is left out with a warning.

    Args:
        histograms: show the distribution of every weight and its gradient as well, at every validation
            (`weights/<name>`, `gradients/<name>`: of the latest optimizer step, as it was taken, so after clipping;
            under manual optimization as the step's batch leaves it, so set it to zero before backward).
            StepsPerExecution then keeps the gradients of every step, which costs a little time.
        activations: look at the hidden layers.
        charts: more charts for Custom Scalars: by title, a list of regular expressions of tags.

    Raises:
        ValueError: a chart without tags, or with a tag that is no regular expression.
    """

    def __init__(
        self, histograms: bool = False, activations: bool = True, charts: dict[str, list[str]] | None = None
    ) -> None:
        self.histograms = histograms
        self.activations = activations
        self.layout = layout(charts or {})
        self.reads_gradients = histograms  # for StepsPerExecution: whether it has to keep them
        self.per_execution = not histograms  # and whether to call this one where an execution ends only
        self._steps_seen = 0
        self._watch: ActivationWatch | None = None
        self._gradients: dict[str, Tensor] = {}  # of the latest optimizer step
        self._warned: set[str] = set()  # what has failed so far

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            self._watch, self._gradients, self._warned = None, {}, set()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._steps_seen = trainer.global_step
        directory = run_directory(trainer)  # in every process: they have to agree
        if trainer.is_global_zero:
            failed = send_layout(trainer, self.layout)
            failed |= attempt("reading config.yaml", lambda: self._send_config(trainer, directory))
            self._tell(failed)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        # while gradients accumulate, those of the latest step are kept
        if self.histograms and trainer.global_step != self._steps_seen:
            self._gradients = {name: p.grad for name, p in pl_module.named_parameters() if p.grad is not None}
            # a validation may come within the next step, which writes into them after zero_grad(set_to_none=False)
            accumulate: int = trainer.accumulate_grad_batches
            if accumulate > 1 or not pl_module.automatic_optimization:
                self._gradients = {name: gradient.clone() for name, gradient in self._gradients.items()}
        self._steps_seen = trainer.global_step

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        first = batch_idx == dataloader_idx == 0
        if first and self.activations and is_of_fit(trainer) and trainer.is_global_zero:
            self._watch = ActivationWatch(pl_module)

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if self._watch is not None:
            self._watch.end()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not is_of_fit(trainer) or not trainer.is_global_zero:
            return
        step, failed = scalar_step(trainer), Failed()
        distributions: dict[str, Tensor] = {}
        if self._watch is not None:
            watch, self._watch = self._watch, None
            distributions, failed = watch.values(), watch.failed
            if shares := watch.shares():
                failed |= send_scalars(trainer, shares, step)
        if self.histograms:
            failed |= attempt("reading the weights", lambda: distributions.update(self._weights(pl_module)))
        for tag, values in distributions.items():
            of_tag = send_histogram(trainer, values, tag, step)
            failed |= {f"the histogram {tag} for {logger}": error for logger, error in of_tag.items()}
        self._tell(failed)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        directory = run_directory(trainer)  # in every process: they have to agree
        trial: bool = trainer.fast_dev_run  # type: ignore[attr-defined]  # set from outside the class
        if trainer.is_global_zero and not trial and hasattr(pl_module, "figures"):
            self._tell(attempt("drawing figures()", lambda: self._draw(trainer, pl_module, directory)))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if self._watch is not None:
            self._watch.end()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._gradients = {}

    def _weights(self, pl_module: LightningModule) -> dict[str, Tensor]:
        weights = {f"weights/{name}": weight for name, weight in pl_module.named_parameters()}
        gradients = {f"gradients/{name}": gradient for name, gradient in self._gradients.items()}
        return {tag: evenly(values) for tag, values in (weights | gradients).items() if values.numel()}

    def _send_config(self, trainer: Trainer, directory: str) -> None:
        files, config = get_filesystem(directory), f"{directory}/config.yaml"
        if files.isfile(config):
            text = files.cat_file(config).decode()
            self._tell(send_text(trainer, f"```yaml\n{text}\n```", "config", 0))

    def _draw(self, trainer: Trainer, pl_module: Any, directory: str) -> None:
        with undisturbed(pl_module):
            figures = pl_module.figures()
        for tag, figure in figures.items():
            self._tell(publish(trainer, figure, tag, logged_step(trainer), directory))

    def _tell(self, failed: Failed) -> None:
        tell("Dashboard", failed, self._warned)
