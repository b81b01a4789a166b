"""TensorBoard laid out for a run: charts, config, hidden layers, weights, pictures."""

from typing import Any

from torch import Tensor

from charlm.callbacks.dashboard.activations import ActivationWatch, evenly
from charlm.callbacks.dashboard.layout import layout, with_band
from charlm.callbacks.internals.lightning import LightningModule, Trainer, get_filesystem
from charlm.callbacks.internals.trainer_attributes import is_trial
from charlm.callbacks.shared.base_callback import BaseCallback
from charlm.callbacks.shared.evaluating import evaluating
from charlm.callbacks.shared.logger_adapters import (
    Failed,
    attempt,
    run_directory,
    send_histogram,
    send_layout,
    send_scalars,
    send_text,
    tell,
)
from charlm.callbacks.shared.progress import logged_step, scalar_step
from charlm.callbacks.shared.send_figure import publish
from charlm.callbacks.shared.trainer_state import is_of_fit


class Dashboard(BaseCallback):
    """See in TensorBoard what belongs together on one chart, and which hidden units are saturated or dead.

    - Custom Scalars: the losses of train, val and test on one chart, the learning rates, the scalars of NameSamples,
      and the hidden layers. A module that logs `loss_mean/train` beside `loss/val` at each validation gets a first
      chart with val as a line and train as the edge of a band, so that one sees the run overfit.
    - Text: the run's config.yaml, if LightningCLI has written one; as `yaml` it comes after the other texts.
    - At every validation, for its first batch: the share of saturated outputs of each nn.Tanh and nn.Sigmoid
      (`saturation/<layer>`), the share of dead units of each nn.ReLU (`dead/<layer>`), and the distribution of their
      outputs (`activations/<layer>`).
    - When training ends: the model's own pictures, if it has a method `figures() -> Mapping[str, Figure]`, which
      returns matplotlib figures made without pyplot by tag. The run directory gets them as well.

    Each logger gets what it takes. Training is not affected: weights and losses are the same, bit for bit. What cannot
    be drawn or logged is left out with a warning. It costs hooks on one batch of each validation, and at most 10,000
    values of a layer or weight for its histogram. It does not start TensorBoard.

    Args:
        histograms: also show the distribution of every weight and its gradient at every validation (`weights/<name>`,
            `gradients/<name>`). The gradient is that of the latest optimizer step, after clipping; under manual
            optimization it is what the batch of that step leaves, so zero the gradients before backward.
            StepsPerExecution then keeps the gradients of every step, which takes a little time.
        activations: watch the hidden layers.
        charts: more charts for Custom Scalars: by title, a list of regular expressions for tags.

    Example:
        >>> from charlm.callbacks import Dashboard
        >>> from lightning.pytorch import Trainer
        >>> from lightning.pytorch.demos.boring_classes import BoringModel
        >>> from lightning.pytorch.loggers import TensorBoardLogger
        >>> options = {"logger": TensorBoardLogger("."), "enable_progress_bar": False, "limit_train_batches": 9}
        >>> dashboard = Dashboard(histograms=True, charts={"accuracy": ["^acc/"]})
        >>> Trainer(max_epochs=1, callbacks=[dashboard], **options).fit(BoringModel())

    Raises:
        ValueError: a chart without tags, or with an invalid regular expression.
    """

    def __init__(
        self, histograms: bool = False, *, activations: bool = True, charts: dict[str, list[str]] | None = None
    ) -> None:
        self.histograms = histograms
        self.activations = activations
        self.layout = layout(charts or {})
        self.per_execution = not histograms  # and whether to call this callback only at the end of an execution
        self._steps_seen = 0
        self._is_laid_out = False
        self._watch: ActivationWatch | None = None
        self._gradients: dict[str, Tensor] = {}  # of the latest optimizer step
        self._warned: set[str] = set()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if stage == "fit":
            self._watch, self._gradients, self._warned = None, {}, set()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._steps_seen, self._is_laid_out = trainer.global_step, False
        directory = run_directory(trainer)  # in every process: they agree on it
        if trainer.is_global_zero:
            self._tell(attempt("reading config.yaml", lambda: self._send_config(trainer, directory)))

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        # while gradients accumulate, those of the latest step stay
        if self.histograms and trainer.global_step != self._steps_seen:
            self._gradients = {name: p.grad for name, p in pl_module.named_parameters() if p.grad is not None}
            # the next step may write into them before the validation: zero_grad(set_to_none=False)
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
        if not is_of_fit(trainer):
            return
        self._lay_out(trainer)
        if not trainer.is_global_zero:
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
        self._lay_out(trainer)
        directory = run_directory(trainer)  # in every process: they agree on it
        trial = is_trial(trainer)
        if trainer.is_global_zero and not trial and hasattr(pl_module, "figures"):
            self._tell(attempt("drawing figures()", lambda: self._draw(trainer, pl_module, directory)))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if self._watch is not None:
            self._watch.end()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._gradients = {}

    def _lay_out(self, trainer: Trainer) -> None:
        """Send the charts once, as soon as it is known what the module logs."""
        metrics = trainer.callback_metrics  # in every process, since reading them may reduce them
        if not self._is_laid_out and trainer.is_global_zero:
            self._is_laid_out = True
            self._tell(send_layout(trainer, with_band(self.layout, metrics)))

    def _weights(self, pl_module: LightningModule) -> dict[str, Tensor]:
        weights = {f"weights/{name}": weight for name, weight in pl_module.named_parameters()}
        gradients = {f"gradients/{name}": gradient for name, gradient in self._gradients.items()}
        return {tag: evenly(values) for tag, values in (weights | gradients).items() if values.numel()}

    def _send_config(self, trainer: Trainer, directory: str) -> None:
        files, config = get_filesystem(directory), f"{directory}/config.yaml"
        if files.isfile(config):
            text = files.cat_file(config).decode()
            self._tell(send_text(trainer, f"```yaml\n{text}\n```", "yaml", 0))

    def _draw(self, trainer: Trainer, pl_module: Any, directory: str) -> None:
        with evaluating(pl_module):
            figures = pl_module.figures()
        for tag, figure in figures.items():
            self._tell(publish(trainer, figure, tag, logged_step(trainer), directory))

    def _tell(self, failed: Failed) -> None:
        tell("Dashboard", failed, self._warned)
