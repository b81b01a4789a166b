"""Pictures of an embedding as it is learned."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from charlm.callbacks.embedding_figure import embedding_figure
from charlm.callbacks.embedding_table import find_table, get_table
from charlm.callbacks.outlets import run_directory, tell
from charlm.callbacks.pca import principal_components
from charlm.callbacks.pictures import publish
from charlm.callbacks.progress import logged_step


class EmbeddingPCA(Callback):
    """Draw an embedding's rows by their principal components and by their first two columns, as training goes on.

    The first picture shows the untrained table, the last one the trained one. They go to every logger that takes
    pictures (TensorBoard, W&B and others) under the tag `embedding_pca`, and the latest is kept in the run directory as
    embedding_pca.png; with several of these callbacks, `embedding_pca/<module>` each. Each picture's axes point the way
    they did in the one before. Where the labels are letters, vowels, consonants and the boundary (".") are told apart.

    Training is not touched: the weights come out the same, bit for bit. A picture takes about 0.2 s, so ask for fewer
    where epochs are as short as that. One that cannot be drawn or logged is left out with a warning.

    Args:
        module: dotted name of an nn.Embedding in the model, or of a parameter or buffer with two dimensions, such as
            `net.embedding`; null: the only nn.Embedding there is.
        labels: a text for each row, as a list, or as one string with a character for each row; null: the model's own
            `embedding_labels` if it has any (rows beyond them are left out), else the row numbers; []: the row numbers.
        every_n_steps: draw whenever that many more optimizer steps are done; null: not by steps.
        every_n_epochs: draw after every so many epochs; null: not by epochs.
        dims: number of principal components, 2 or 3 (in a panel more).
        max_rows: the most rows to draw, a random choice that stays the same; the components are those of all
            rows that have a label.

    Raises:
        ValueError: an argument out of range, or, before training starts, no such table or labels that do not fit it.
    """

    reads_gradients = False  # StepsPerExecution need not keep them for it

    def __init__(
        self,
        module: str | None = None,
        labels: list[str] | str | None = None,
        every_n_steps: int | None = None,
        every_n_epochs: int | None = 1,
        dims: int = 2,
        max_rows: int = 2000,
    ) -> None:
        for name, value in {"every_n_steps": every_n_steps, "every_n_epochs": every_n_epochs}.items():
            if value is not None and value < 1:
                raise ValueError(f"EmbeddingPCA's {name} is a number from 1 on, or None for never, not {value}")
        if dims not in (2, 3):
            raise ValueError(f"EmbeddingPCA's dims is 2 or 3, not {dims}")
        if max_rows < 2:
            raise ValueError(f"EmbeddingPCA's max_rows is a number from 2 on, not {max_rows}")
        self.module = module
        self.labels = None if labels is None else list(labels)
        self.every_n_steps = every_n_steps
        self.every_n_epochs = every_n_epochs
        self.dims = dims
        self.max_rows = max_rows
        self._name = ""
        self._row_labels: list[str] = []
        self._steps_seen = 0
        self._axes: Tensor | None = None  # (C, dims), of the latest picture
        self._shown_at: int | None = None  # step of the latest picture
        self._warned: set[str] = set()  # what has failed so far

    @property
    def state_key(self) -> str:
        return self._generate_state_key(module=self.module)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":  # a checkpoint's state is loaded after this
            self._start_afresh()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # not in setup: the model may make its layers in its own setup or in configure_model, which come later
        self._name = find_table(pl_module, self.module)
        self._row_labels = self._labels_for(pl_module, len(get_table(pl_module, self._name)))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._steps_seen = trainer.global_step
        self._show(trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        # compared by periods: several optimizers may step in one batch, and none while gradients accumulate
        if self.every_n_steps and trainer.global_step // self.every_n_steps > self._steps_seen // self.every_n_steps:
            self._show(trainer, pl_module)
        self._steps_seen = trainer.global_step

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.every_n_epochs and (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self._show(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._show(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        return {} if self._axes is None else {"axes": self._axes}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._axes = state_dict["axes"]

    def _start_afresh(self) -> None:
        self._axes = None
        self._shown_at = None
        self._warned = set()

    def _labels_for(self, pl_module: LightningModule, rows: int) -> list[str]:
        """The labels of the rows to draw; rows without one come last and are not drawn."""
        labels = self.labels
        if labels is None:
            labels = list(getattr(pl_module, "embedding_labels", None) or [])
            if len(labels) > rows:
                raise ValueError(
                    f"{type(pl_module).__name__}.embedding_labels has {len(labels)} labels for the {rows} rows of"
                    f" {self._name}; pass EmbeddingPCA labels of that table's own, or [] for the row numbers"
                )
        elif labels and len(labels) != rows:
            raise ValueError(
                f"EmbeddingPCA has {len(labels)} labels for the {rows} rows of {self._name}; give one a row"
            )
        return [str(label) for label in labels or range(rows)]

    def _show(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw and send the table as it is, unless that was done at this very step."""
        if self._shown_at == trainer.global_step:
            return
        self._shown_at = trainer.global_step
        # both in every process: they may have to talk to each other
        directory = run_directory(trainer)
        table = get_table(pl_module, self._name)
        if not trainer.is_global_zero:
            return
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set from outside the class
        several = sum(isinstance(callback, EmbeddingPCA) for callback in callbacks) > 1
        tag = f"embedding_pca/{self._name}" if several else "embedding_pca"
        try:
            table = table[: len(self._row_labels)]
            components = principal_components(table, self.dims, self._axes)
            self._axes = components.axes
            title = f"{self._name}, step {trainer.global_step}"
            figure = embedding_figure(table, components, self._row_labels, title, self.max_rows)
            failed = publish(trainer, figure, tag, logged_step(trainer), directory)
        except Exception as error:  # no picture is worth a training
            failed = {"drawing it": error}
        tell(f"EmbeddingPCA has no picture of {self._name} for step {trainer.global_step}", failed, self._warned)
