"""Pictures of an embedding as it is learned, and what is left of it when that is over."""

import math
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from charlm.callbacks.embedding_pca.components import Components, principal_components
from charlm.callbacks.embedding_pca.ending import Ending, show_ending, trying, write_frames
from charlm.callbacks.embedding_pca.figure import embedding_figure
from charlm.callbacks.embedding_pca.frames import Frames
from charlm.callbacks.embedding_pca.rows import choose_rows, kinds_of, labels_of
from charlm.callbacks.embedding_pca.table import find_table, get_table
from charlm.callbacks.shared.loggers import Failed, attempt, run_directory, tell
from charlm.callbacks.shared.progress import logged_step
from charlm.callbacks.shared.publish import publish


class EmbeddingPCA(Callback):
    """Draw an embedding's rows by their principal components and by their first two columns, as training goes on.

    The first picture shows the untrained table, the last one the trained one. They go to every logger that takes
    pictures (TensorBoard, W&B and others) under the tag `embedding_pca`, and the latest is kept in the run directory as
    embedding_pca.png; with several of these callbacks, `embedding_pca/<module>` each. Each picture's axes go on from
    those of the one before: none flips or changes places, and where two components come close in variance they turn
    over slowly; what the axes are then stands beside them.

    When training ends, there are besides, in the run directory and the loggers that take them:
    embedding_pca.gif, a film of the training (TensorBoard: `embedding_pca_film`), and up to nine of its frames side by
    side (`embedding_pca_frames`), both on the axes of the last step; a table of the nearest rows of each row, by the
    cosine (`embedding_neighbours`); the table in TensorBoard's projector; and embedding_pca.npz, the film's rows as
    numbers: `steps` (F,), `tables` (F, rows, C) float32, `rows`, `labels`, `kinds`. The frames are spread evenly over
    the training, twice `frames` at most and 64 MB, of fewer rows and then of fewer steps where they would take more; an
    interrupted training leaves the .npz. A resumed one goes on with the frames of the checkpoint, which holds up to
    4 MB of them; larger ones begin anew.

    The components are the exact ones, in float64, of all rows that have a label. Of a table with more than 1.6 million
    values (and more than `max_rows` rows) they are those of so many rows as have these values, such as 2,083 rows of
    768 columns: a random choice by a generator of its own, the same each time; and beyond 5e8 multiplications they
    are computed in float32. Where a few components stand out, the axes from it hold more than nine tenths of the
    variance that the exact ones hold.

    Training is not touched: the weights come out the same, bit for bit. A picture takes about 0.2 s, so ask for fewer
    where epochs are as short as that, and the end about 1 s. What cannot be drawn or logged is left out with a warning.

    Args:
        module: dotted name of an nn.Embedding in the model, or of a parameter or buffer with two dimensions, such as
            `net.embedding`; null: the only nn.Embedding there is.
        labels: a text for each row, as a list, or as one string with a character for each row; null: the model's own
            `embedding_labels` if it has any (rows beyond them are left out), else the row numbers; []: the row numbers.
        every_n_steps: draw whenever that many more optimizer steps are done; null: not by steps.
        every_n_epochs: draw after every so many epochs; null: not by epochs.
        dims: number of principal components, 2 or 3 (in a panel more).
        max_rows: the most rows to draw, a random choice that stays the same.
        kinds: what kind of thing each labelled row is, drawn in a colour and with a marker of its own, the eight most
            frequent ones; null: the model's own `embedding_kinds` beside its labels, else vowel, consonant and boundary
            (".") where the labels are letters; []: none.
        frames: how many frames the film has at most; 0: no film, frames or .npz.
        projector_rows: the most rows, the first ones, for TensorBoard's projector; 0: none.

    Raises:
        ValueError: an argument out of range, or, before training starts, no such table, or labels or kinds that do not
            fit it.
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
        kinds: list[str] | None = None,
        frames: int = 40,
        projector_rows: int = 10_000,
    ) -> None:
        for name, value in {"every_n_steps": every_n_steps, "every_n_epochs": every_n_epochs}.items():
            if value is not None and value < 1:
                raise ValueError(f"EmbeddingPCA's {name} is a number from 1 on, or None for never, not {value}")
        if dims not in (2, 3):
            raise ValueError(f"EmbeddingPCA's dims is 2 or 3, not {dims}")
        if max_rows < 2:
            raise ValueError(f"EmbeddingPCA's max_rows is a number from 2 on, not {max_rows}")
        if frames < 0 or frames == 1:
            raise ValueError(f"EmbeddingPCA's frames is a number from 2 on, or 0 for no film, not {frames}")
        if projector_rows < 0:
            raise ValueError(f"EmbeddingPCA's projector_rows is a number from 0 on, not {projector_rows}")
        self.module = module
        self.labels = None if labels is None else list(labels)
        self.every_n_steps = every_n_steps
        self.every_n_epochs = every_n_epochs
        self.dims = dims
        self.max_rows = max_rows
        self.kinds = kinds
        self.frames = frames
        self.projector_rows = projector_rows
        self._axes: Tensor | None
        self._resumed: dict[str, Any]
        self._start_afresh()

    @property
    def state_key(self) -> str:
        return self._generate_state_key(module=self.module)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":  # a checkpoint's state is loaded after this
            self._start_afresh()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # not in setup: the model may make its layers in its own setup or in configure_model, which come later
        self._name = find_table(pl_module, self.module)
        rows, columns = get_table(pl_module, self._name).shape
        labels = labels_of(self.labels, pl_module, rows, self._name)
        kinds = kinds_of(self.kinds, pl_module, labels, self.labels is None, self._name)
        self._rows = choose_rows(labels, kinds, columns, self.max_rows)
        self._kept = Frames(self.frames, len(labels), columns, self.max_rows, trainer.is_global_zero)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._resumed:
            self._kept.load_state_dict(self._resumed, trainer.global_step)
        self._directory = run_directory(trainer)
        if not self._resumed:  # a training that goes on has shown what it starts from
            self._show(trainer, pl_module)
        if trainer.global_step >= self._kept.due:
            self._keep(trainer, pl_module)
        self._wait(trainer.global_step)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        step = trainer.global_step
        if step < self._due:  # of most steps this is all that is done
            return
        # compared by periods: several optimizers may step in one batch, and none while gradients accumulate
        if self.every_n_steps and step // self.every_n_steps > self._steps_seen // self.every_n_steps:
            self._show(trainer, pl_module)
        if step >= self._kept.due:
            self._keep(trainer, pl_module)
        self._wait(step)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.every_n_epochs and (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self._show(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._show(trainer, pl_module)
        self._keep(trainer, pl_module, last=True)
        failed = trying("showing it", lambda: self._end(trainer, pl_module))
        tell(f"EmbeddingPCA has not all of {self._name}'s end", failed, self._warned)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if trainer.is_global_zero and self._directory:
            ending = self._ending(trainer, torch.empty(0, 0))
            failed = trying("keeping its frames", lambda: write_frames(trainer, ending))
            tell(f"EmbeddingPCA has no frames of {self._name}", failed, self._warned)
        self._directory = ""

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            self._directory = ""  # what fails from now on is not this training

    def state_dict(self) -> dict[str, Any]:
        kept = self._kept.state_dict()
        return ({} if self._axes is None else {"axes": self._axes}) | ({"frames": kept} if kept else {})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._axes = state_dict.get("axes")
        self._resumed = state_dict.get("frames", {})

    def _start_afresh(self) -> None:
        self._name = self._directory = ""
        self._rows = choose_rows([], None, 1, 1)
        self._kept = Frames(0, 1, 1, 1)
        self._resumed = {}  # the frames of the run that this one goes on with
        self._steps_seen = 0
        self._due = 0.0  # the step at which there is something to do
        self._axes = None  # (C, dims), of the latest picture
        self._axis_names: list[str] = []  # what they are
        self._shown_at = -1  # step of the latest picture
        self._warned: set[str] = set()  # what has failed so far

    def _ending(self, trainer: Trainer, table: Tensor) -> Ending:
        drawn = (self._axes, self._axis_names) if self._axis_names else (None, [])
        told = (self._name, self._suffix(trainer))
        return Ending(*told, table, self._rows, self._kept, *drawn, logged_step(trainer), self._directory)

    def _wait(self, step: int) -> None:
        self._steps_seen = step
        picture = (step // self.every_n_steps + 1) * self.every_n_steps if self.every_n_steps else math.inf
        self._due = min(picture, self._kept.due)

    def _suffix(self, trainer: Trainer) -> str:
        """What tells apart the tags and files of several of these callbacks."""
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set from outside the class
        all_of_them = [callback for callback in callbacks if isinstance(callback, EmbeddingPCA)]
        same = [callback for callback in all_of_them if callback._name == self._name]
        number = f"-{same.index(self) + 1}" if len(same) > 1 else ""
        return f"/{self._name}{number}" if len(all_of_them) > 1 else ""

    def _keep(self, trainer: Trainer, pl_module: LightningModule, last: bool = False) -> None:
        """Keep the table as it is, for the film; where that fails, this was the last attempt."""
        step = trainer.global_step
        # in every process: they may have to talk to each other
        failed = attempt("keeping it", lambda: self._kept.add(step, get_table(pl_module, self._name), last))
        if failed:
            self._kept.most = 0
        tell(f"EmbeddingPCA has no frames of {self._name} from step {step} on", failed, self._warned)

    def _show(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw and send the table as it is, unless that was done at this very step."""
        if self._shown_at == trainer.global_step:
            return
        self._shown_at = trainer.global_step
        failed = trying("drawing it", lambda: self._draw(trainer, pl_module))
        tell(f"EmbeddingPCA has no picture of {self._name} for step {trainer.global_step}", failed, self._warned)

    def _end(self, trainer: Trainer, pl_module: LightningModule) -> Failed:
        table = get_table(pl_module, self._name)  # in every process: they may have to talk to each other
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]  # set from outside the class
            return {}
        table = table[: len(self._rows.labels)].cpu()
        return show_ending(trainer, self._ending(trainer, table), self.frames, self.projector_rows)

    def _draw(self, trainer: Trainer, pl_module: LightningModule) -> Failed:
        table = get_table(pl_module, self._name)  # in every process: they may have to talk to each other
        if not trainer.is_global_zero:
            return {}
        rows = self._rows
        table = table[rows.sample.to(table.device)]
        components = principal_components(table, self.dims, self._axes)
        self._axes, self._axis_names = components.axes, components.names
        title = f"{self._name}, step {trainer.global_step}"
        if len(rows.drawn) < len(rows.labels):
            title += f" ({len(rows.drawn)} of {len(rows.labels)} rows)"
        drawn = Components(*components[:2], components.points[rows.drawn], components.names)
        labels, kinds = rows.of_drawn(rows.labels), rows.kinds and rows.of_drawn(rows.kinds)
        figure = embedding_figure(table[rows.drawn.to(table.device)], drawn, labels, title, kinds)
        return publish(trainer, figure, f"embedding_pca{self._suffix(trainer)}", logged_step(trainer), self._directory)
