"""Pictures of an embedding while it is trained, and a film of them at the end."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from charlm.callbacks.embedding_pca.components import on_axes, principal_components
from charlm.callbacks.embedding_pca.frames import Frames
from charlm.callbacks.embedding_pca.output import Output, of
from charlm.callbacks.embedding_pca.probe import Probe, told_apart
from charlm.callbacks.embedding_pca.scatter import embedding_figure
from charlm.callbacks.embedding_pca.table import Rows, choose_rows, find_table, get_table
from charlm.callbacks.internals.lightning import LightningModule, Trainer, rank_zero_warn
from charlm.callbacks.internals.trainer_attributes import callbacks_of, is_trial
from charlm.callbacks.shared.base_callback import BaseCallback
from charlm.callbacks.shared.fonts import missing_fonts
from charlm.callbacks.shared.logger_adapters import Failed, attempt, run_directory, send_scalars, tell
from charlm.callbacks.shared.progress import logged_step


class EmbeddingPCA(BaseCallback):
    """Watch an embedding being learned: pictures during training, and a film of it at the end.

    The rows are drawn by their first two principal components, from the untrained to the trained table. Every logger
    that takes pictures gets them as `embedding_pca`, and the run directory has the latest one as embedding_pca.png;
    with several of these callbacks, `embedding_pca/<module>` each. The axes of each picture are as near as possible to
    those of the one before. A linear probe on all columns measures how well the rows show their kinds, such as vowels
    and consonants: the area under its ROC curve is logged as `probe/auc`, at steps that grow by a quarter, and
    `probe/auc_by_chance` is what 95 of 100 shuffled lists of kinds do not exceed.

    When training ends, the run directory and the loggers get a film (embedding_pca.gif, `embedding_pca_film`), up to
    nine of its frames side by side (`embedding_pca_frames`), the nearest rows of each row by cosine similarity
    (`embedding_neighbours`), the table in TensorBoard's projector, and embedding_pca.npz, the rows of the film as
    numbers: `steps` (F,), `tables` (F, rows, C) float32, `rows`, `labels`, `kinds`. An interrupted training leaves the
    .npz. A resumed training continues the film if the checkpoint has its frames, which may take 4 MB.

    Training is not affected: the weights are the same, bit for bit. What cannot be drawn or logged causes a warning. A
    picture takes about 0.2 s. Two components show a part of the table: trust the probe more than the picture.

    Args:
        module: dotted name of an nn.Embedding in the model, or of a parameter or buffer with two dimensions, such as
            `net.embedding`; null: the only nn.Embedding of the model that has more than one row.
        labels: a text for each row, as a list, or as one string with a character for each row; null: the
            `embedding_labels` of the model if it has any (rows beyond them are left out), else the row numbers; []: the
            row numbers.
        every_n_steps: optimizer steps between pictures; null: no pictures by steps.
        every_n_epochs: epochs between pictures; null: no pictures by epochs.
        max_rows: the most rows to draw; of larger tables a random sample, which stays the same.
        kinds: what kind of thing each labelled row is; each of the eight most frequent kinds has a colour and a marker
            of its own; null: the `embedding_kinds` of the model with its labels, else vowel, consonant and boundary
            (".") if the labels are letters; []: no kinds.
        frames: the most frames in the film; 0: no film, frames or .npz, and the probe with each picture only.
        projector_rows: the most rows for TensorBoard's projector, the first ones; 0: none.
        first_columns: draw the first two columns of the table instead of its principal components.

    Example:
        >>> import os
        >>> from charlm.callbacks import EmbeddingPCA
        >>> from lightning.pytorch import Trainer
        >>> from lightning.pytorch.demos.boring_classes import BoringModel
        >>> pca = EmbeddingPCA("layer.weight", frames=0, projector_rows=0)  # BoringModel has no embedding
        >>> Trainer(max_steps=9, logger=False, enable_progress_bar=False, callbacks=[pca]).fit(BoringModel())
        >>> os.path.exists("embedding_pca.png")
        True

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
        max_rows: int = 2000,
        kinds: list[str] | None = None,
        frames: int = 24,
        projector_rows: int = 10_000,
        first_columns: bool = False,
    ) -> None:
        for name, value, least, allowed in (
            ("every_n_steps", every_n_steps, 1, "at least 1, or None for never"),
            ("every_n_epochs", every_n_epochs, 1, "at least 1, or None for never"),
            ("max_rows", max_rows, 2, "at least 2"),
            ("frames", frames or None, 2, "at least 2, or 0 for no film"),
            ("projector_rows", projector_rows, 0, "at least 0"),
        ):
            if value is not None and value < least:
                raise ValueError(f"EmbeddingPCA's {name} must be {allowed}, not {value}")
        self.module = module
        self.labels = None if labels is None else list(labels)
        self.every_n_steps = every_n_steps
        self.every_n_epochs = every_n_epochs
        self.max_rows = max_rows
        self.kinds = kinds
        self.frames = frames
        self.projector_rows = projector_rows
        self.first_columns = first_columns
        self._reset()

    def _reset(self) -> None:
        self._name = self._directory = self._suffix = ""
        self._rows = Rows([], [], [], torch.empty(0, dtype=torch.long))
        self._frames = Frames(self._rows.drawn, (0, 0))
        self._films = bool(self.frames)  # until the table is gone or has another shape
        self._resumed_frames: dict[str, Any] = {}  # from the checkpoint
        self._last_step = 0
        self._axes: Tensor | None = None  # (C, 2), of the latest picture
        self._shown_at = self._logged_at = -1  # step of the latest picture, and x-axis value of the latest probe
        self._warned: set[str] = set()

    @property
    def state_key(self) -> str:
        return f"{type(self).__qualname__}{ {'module': self.module} }"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if stage == "fit":  # Lightning loads the state of a checkpoint after this
            self._reset()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # not in setup: the model may make its layers in its own setup or in configure_model, which come later
        self._name = find_table(pl_module, self.module)
        rows, columns = get_table(pl_module, self._name).shape
        self._rows = choose_rows(self.labels, self.kinds, pl_module, rows, self._name, self.max_rows)
        self._frames = Frames(self._rows.drawn, (len(self._rows.labels), columns))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._directory = run_directory(trainer)
        all_of_them = [callback for callback in callbacks_of(trainer) if isinstance(callback, EmbeddingPCA)]
        same = [callback for callback in all_of_them if callback._name == self._name]
        number = f"-{same.index(self) + 1}" if len(same) > 1 else ""
        self._suffix = f"/{self._name}{number}" if len(all_of_them) > 1 else ""  # tells tags and files apart
        if self._films:
            self._frames.load_state_dict(self._resumed_frames, trainer.global_step)
        if self._axes is None:  # a resumed training has shown its first picture before
            self._show(trainer, pl_module)
        self._keep(trainer, pl_module)
        self._last_step = trainer.global_step

    def next_step(self, trainer: Trainer) -> float:  # at whose end the table is needed, for StepsPerExecution
        every = self.every_n_steps or math.inf
        return min((trainer.global_step // every + 1) * every, self._frames.due if self._films else math.inf) - 1

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        step = trainer.global_step
        # periods, not remainders: several optimizers may step in one batch, and none while gradients accumulate
        if self.every_n_steps and step // self.every_n_steps > self._last_step // self.every_n_steps:
            self._show(trainer, pl_module)
        self._keep(trainer, pl_module)
        self._last_step = step

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.every_n_epochs and (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self._show(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._show(trainer, pl_module)
        self._keep(trainer, pl_module, last=True)
        self._try("at the end", "reading the table", lambda: self._end(trainer, get_table(pl_module, self._name)))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if trainer.is_global_zero and self._directory:
            self._try("after an exception", "writing the frames", lambda: self._output(trainer).frames(self._frames))
        self._directory = ""

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            self._directory = ""  # a later exception is not one of this training

    def state_dict(self) -> dict[str, Any]:
        kept = {"axes": self._axes, "frames": self._frames.state_dict(), "done": [self._shown_at, self._logged_at]}
        return {key: value for key, value in kept.items() if value is not None}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._axes, self._resumed_frames = state_dict.get("axes"), state_dict.get("frames", {})
        self._shown_at, self._logged_at = state_dict.get("done", (-1, -1))  # older checkpoints lack it

    def _keep(self, trainer: Trainer, pl_module: LightningModule, last: bool = False) -> None:
        """Keep a frame of the table if one is due, or the last. All processes read it: it may be spread over them."""

        def keep() -> Failed:
            self._frames.add(trainer.global_step, get_table(pl_module, self._name))
            probed = of(self._rows.probed, self._frames.rows)
            return self._log(trainer, told_apart(self._frames.tables[-1], probed, shuffles=0))

        if self._films and (last or trainer.global_step >= self._frames.due):
            self._films = self._try(f"from step {trainer.global_step} on", "keeping a frame", keep)

    def _show(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw and send the table, once a step. All processes read it, since it may be spread over them."""
        if self._shown_at != trainer.global_step:
            self._shown_at, name = trainer.global_step, self._name
            what = "drawing a picture"
            self._try(f"at step {self._shown_at}", what, lambda: self._draw(trainer, get_table(pl_module, name)))

    def _draw(self, trainer: Trainer, table: Tensor) -> Failed:
        if not trainer.is_global_zero:
            return {}
        rows = self._rows.drawn.sort().values
        table, labels = table[rows.to(table.device)], of(self._rows.labels, rows)
        found = principal_components(table, 2, self._axes)
        if self.first_columns:
            found = on_axes(table, torch.eye(table.shape[1], 2, dtype=torch.float64))
        self._axes = found.axes
        probe = told_apart(table, of(self._rows.probed, rows))
        title = f"{self._name}, step {trainer.global_step:,}"
        if len(rows) < len(self._rows.labels):
            title += f" ({len(rows)} of {len(self._rows.labels)} rows)"
        if (advice := missing_fonts(labels)) and advice not in self._warned:
            self._warned.add(advice)
            rank_zero_warn(f"EmbeddingPCA of {self._name}: {advice}")
        figure = embedding_figure(found, labels, title, of(self._rows.kinds, rows), probe.note() if probe else "")
        return self._log(trainer, probe) | self._output(trainer).figure(figure, "embedding_pca")

    def _log(self, trainer: Trainer, probe: Probe | None) -> Failed:
        """Log what the probe found, at most once a step; what chance reaches only where that was computed."""
        # after `loss` in the alphabet: TensorBoard's HParams opens with the first five metrics only
        step, last, tag = logged_step(trainer), self._logged_at, f"probe{self._suffix}"
        if not trainer.is_global_zero or probe is None or step <= last:
            return {}
        self._logged_at = step
        chance = {} if math.isnan(probe.by_chance) else {f"{tag}/auc_by_chance": probe.by_chance}
        return send_scalars(trainer, {f"{tag}/auc": probe.auc, **chance}, step)

    def _end(self, trainer: Trainer, table: Tensor) -> None:
        if not trainer.is_global_zero or is_trial(trainer):
            return
        to, table = self._output(trainer), table[: len(self._rows.labels)].cpu()
        self._try("at the end", "writing the frames", lambda: to.frames(self._frames))
        self._try("at the end", "drawing the film", lambda: to.film(self._frames, self.frames, self._axes))
        if len(table) == len(self._rows.labels) > 1 and table.isfinite().all():
            self._try("at the end", "listing the neighbours", lambda: to.neighbours(table, self.projector_rows))
            self._try("at the end", "writing for the projector", lambda: to.projector(table, self.projector_rows))

    def _output(self, trainer: Trainer) -> Output:
        return Output(trainer, self._directory, self._name, self._suffix, self._rows)

    def _try(self, when: str, what: str, do: Callable[[], Failed | None]) -> bool:
        """Do something that must not stop a training; warn of each failure once. Returns whether it succeeded."""
        failed: Failed = {}
        broken = attempt(what, lambda: failed.update(do() or {}))
        tell(f"EmbeddingPCA of {self._name}, {when}", failed | broken, self._warned)
        return not broken
