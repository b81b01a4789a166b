"""Pictures of an embedding while it is trained, and a film of them at the end."""

import math
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from charlm.callbacks.embedding_pca.components import principal_components
from charlm.callbacks.embedding_pca.ending import Destination, show_film, show_in_projector, show_neighbours
from charlm.callbacks.embedding_pca.frames import Frames
from charlm.callbacks.embedding_pca.rows import choose_rows, kinds_of, labels_of
from charlm.callbacks.embedding_pca.scatter import embedding_figure
from charlm.callbacks.embedding_pca.table import find_table, get_table
from charlm.callbacks.shared.logger_adapters import Failed, attempt, run_directory, tell
from charlm.callbacks.shared.progress import logged_step


class EmbeddingPCA(Callback):
    """Draw the rows of an embedding by their principal components and by their first two columns during training.

    The first picture shows the untrained table, the last one the trained table. Every logger that takes pictures gets
    them as `embedding_pca`, and the run directory has the latest one as embedding_pca.png; with several of these
    callbacks, `embedding_pca/<module>` each. The axes of each picture continue those of the one before: they neither
    flip nor change places, and where the variances of two components come close the axes turn gradually.

    When training ends, the run directory and the loggers get a film of the training (embedding_pca.gif, in TensorBoard
    `embedding_pca_film`), up to nine of its frames side by side (`embedding_pca_frames`), the nearest rows of each row
    by cosine similarity (`embedding_neighbours`), the table in TensorBoard's projector, and embedding_pca.npz, the rows
    of the film as numbers: `steps` (F,), `tables` (F, rows, C) float32, `rows`, `labels`, `kinds`. An interrupted
    training leaves the .npz. A resumed training continues the film if the checkpoint has its frames, which may take
    4 MB.

    The components are exact, in float64. For a table with more than 1.6 million values they are those of a random
    sample of its rows, and beyond 5e8 multiplications they are computed in float32.

    Training is not affected: the weights are the same, bit for bit. A picture takes about 0.2 s and the end about 1 s.
    What cannot be drawn or logged is left out with a warning.

    Args:
        module: dotted name of an nn.Embedding in the model, or of a parameter or buffer with two dimensions, such as
            `net.embedding`; null: the only nn.Embedding of the model.
        labels: a text for each row, as a list, or as one string with a character for each row; null: the
            `embedding_labels` of the model if it has any (rows beyond them are left out), else the row numbers; []: the
            row numbers.
        every_n_steps: optimizer steps between pictures; null: no pictures by steps.
        every_n_epochs: epochs between pictures; null: no pictures by epochs.
        dims: number of principal components, 2, or 3 in one more panel.
        max_rows: the most rows to draw; of larger tables a random sample, which stays the same.
        kinds: what kind of thing each labelled row is; each of the eight most frequent kinds has a colour and a marker
            of its own; null: the `embedding_kinds` of the model with its labels, else vowel, consonant and boundary
            (".") if the labels are letters; []: no kinds.
        frames: the most frames in the film; 0: no film, frames or .npz.
        projector_rows: the most rows for TensorBoard's projector, the first ones; 0: none.

    Raises:
        ValueError: an argument is out of range; or, before training starts, the model has no such table, or the number
            of labels or kinds is not the number of its rows.
    """

    def __init__(
        self,
        module: str | None = None,
        *,
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
                raise ValueError(f"EmbeddingPCA's {name} must be at least 1, or None for never, not {value}")
        if dims not in (2, 3):
            raise ValueError(f"EmbeddingPCA's dims must be 2 or 3, not {dims}")
        if max_rows < 2:
            raise ValueError(f"EmbeddingPCA's max_rows must be at least 2, not {max_rows}")
        if frames < 0 or frames == 1:
            raise ValueError(f"EmbeddingPCA's frames must be at least 2, or 0 for no film, not {frames}")
        if projector_rows < 0:
            raise ValueError(f"EmbeddingPCA's projector_rows must be at least 0, not {projector_rows}")
        self.module = module
        self.labels = None if labels is None else list(labels)
        self.every_n_steps = every_n_steps
        self.every_n_epochs = every_n_epochs
        self.dims = dims
        self.max_rows = max_rows
        self.kinds = kinds
        self.frames = frames
        self.projector_rows = projector_rows
        self._reset()

    def _reset(self) -> None:
        self._name = self._directory = ""
        self._rows = choose_rows([], None, 1, 1)
        self._frames = Frames(0, 0, 1, 1)
        self._resumed_frames: dict[str, Any] = {}  # from the checkpoint
        self._last_step = 0  # the latest step at which there was something to do,
        self._next_step = 0.0  # and the next one
        self._axes: Tensor | None = None  # (C, dims), of the latest picture
        self._axis_names: list[str] = []
        self._shown_at = -1  # step of the latest picture
        self._warned: set[str] = set()

    @property
    def state_key(self) -> str:
        return f"{type(self).__qualname__}{ {'module': self.module} }"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":  # Lightning loads the state of a checkpoint after this
            self._reset()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # not in setup: the model may make its layers in its own setup or in configure_model, which come later
        self._name = find_table(pl_module, self.module)
        rows, columns = get_table(pl_module, self._name).shape
        labels = labels_of(self.labels, pl_module, rows, self._name)
        kinds = kinds_of(self.kinds, pl_module, labels, self.labels is None, self._name)
        self._rows = choose_rows(labels, kinds, columns, self.max_rows)
        self._frames = Frames(self.frames, len(labels), columns, self.max_rows, trainer.is_global_zero)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._directory = run_directory(trainer)
        if self._resumed_frames:
            self._frames.load_state_dict(self._resumed_frames, trainer.global_step)
        elif self._axes is None:  # a resumed training has shown its first picture before
            self._show(trainer, pl_module)
        self._keep_if_due(trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        step = trainer.global_step
        if step < self._next_step:  # nothing to do after most steps
            return
        # periods, not remainders: several optimizers may step in one batch, and none while gradients accumulate
        if self.every_n_steps and step // self.every_n_steps > self._last_step // self.every_n_steps:
            self._show(trainer, pl_module)
        self._keep_if_due(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.every_n_epochs and (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self._show(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._show(trainer, pl_module)
        self._keep(trainer, pl_module, last=True)
        self._try("at the end", "reading the table", lambda: self._end(trainer, pl_module))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if trainer.is_global_zero and self._directory:
            self._try("after an exception", "writing the frames", lambda: self._write_frames(trainer))
        self._directory = ""

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            self._directory = ""  # a later exception is not one of this training

    def state_dict(self) -> dict[str, Any]:
        frames = self._frames.state_dict()
        return ({} if self._axes is None else {"axes": self._axes}) | ({"frames": frames} if frames else {})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._axes = state_dict.get("axes")
        self._resumed_frames = state_dict.get("frames", {})

    def _keep_if_due(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep a frame if it is time for one, and plan the next step at which there is something to do."""
        self._last_step = step = trainer.global_step
        if step >= self._frames.due:
            self._keep(trainer, pl_module)
        next_picture = (step // self.every_n_steps + 1) * self.every_n_steps if self.every_n_steps else math.inf
        self._next_step = min(next_picture, self._frames.due)

    def _keep(self, trainer: Trainer, pl_module: LightningModule, last: bool = False) -> None:
        """Keep the table as a frame of the film. All processes read it, since it may be spread over them."""

        def keep() -> None:
            self._frames.add(trainer.global_step, get_table(pl_module, self._name), last)

        if not self._try(f"from step {trainer.global_step} on", "keeping a frame", keep):
            self._frames.most = 0  # the table is gone or has another shape

    def _show(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw and send the table, once a step."""
        if self._shown_at != trainer.global_step:
            self._shown_at = trainer.global_step
            self._try(f"at step {self._shown_at}", "drawing a picture", lambda: self._draw(trainer, pl_module))

    def _draw(self, trainer: Trainer, pl_module: LightningModule) -> Failed:
        table = get_table(pl_module, self._name)  # in every process: it may be spread over them
        if not trainer.is_global_zero:
            return {}
        rows = self._rows
        table = table[rows.sample.to(table.device)]
        found = principal_components(table, self.dims, self._axes)
        self._axes, self._axis_names = found.axes, found.names
        title = f"{self._name}, step {trainer.global_step}"
        if len(rows.drawn) < len(rows.labels):
            title += f" ({len(rows.drawn)} of {len(rows.labels)} rows)"
        found = found._replace(points=found.points[rows.drawn])
        drawn = rows.sample[rows.drawn]
        labels, kinds = rows.of(rows.labels, drawn), rows.kinds and rows.of(rows.kinds, drawn)
        figure = embedding_figure(table[rows.drawn.to(table.device)], found, labels, title, kinds)
        return self._destination(trainer).figure("embedding_pca", figure)

    def _end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        table = get_table(pl_module, self._name)  # in every process: it may be spread over them
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]  # set from outside the class
            return
        to, name, rows = self._destination(trainer), self._name, self._rows
        table = table[: len(self._rows.labels)].cpu()
        tasks: dict[str, Callable[[], Failed]] = {"writing the frames": lambda: self._write_frames(trainer)}
        if self.frames and (axes := self._axes) is not None and self._axis_names:
            names, frames = self._axis_names, self._frames
            tasks["drawing the film"] = lambda: show_film(to, name, rows, frames, axes, names, self.frames)
        if len(table) > 1 and torch.stack(table.aminmax()).isfinite().all():
            tasks["listing the neighbours"] = lambda: show_neighbours(to, name, rows, table, self.projector_rows)
            tasks["writing for the projector"] = lambda: show_in_projector(to, name, rows, table, self.projector_rows)
        for what, do in tasks.items():
            self._try("at the end", what, do)

    def _write_frames(self, trainer: Trainer) -> Failed:
        if not self._frames.steps:
            return {}
        return self._destination(trainer).file(".npz", self._frames.npz(self._rows.labels, self._rows.kinds or []))

    def _destination(self, trainer: Trainer) -> Destination:
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set from outside the class
        all_of_them = [callback for callback in callbacks if isinstance(callback, EmbeddingPCA)]
        same = [callback for callback in all_of_them if callback._name == self._name]
        number = f"-{same.index(self) + 1}" if len(same) > 1 else ""
        suffix = f"/{self._name}{number}" if len(all_of_them) > 1 else ""
        return Destination(trainer, self._directory, suffix, logged_step(trainer))

    def _try(self, when: str, what: str, do: Callable[[], Failed | None]) -> bool:
        """Do something that must not stop a training; warn of each failure once. Returns whether it succeeded."""
        failed: Failed = {}
        broken = attempt(what, lambda: failed.update(do() or {}))
        tell(f"EmbeddingPCA of {self._name}, {when}", failed | broken, self._warned)
        return not broken
