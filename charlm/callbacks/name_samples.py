"""Names, or any other strings, sampled from a model while it is trained."""

import reprlib
from collections.abc import Collection, Mapping, Sequence, Set
from itertools import zip_longest
from typing import Any

from charlm.callbacks.internals.lightning import LightningModule, Trainer, rank_zero_warn
from charlm.callbacks.shared.base_callback import BaseCallback
from charlm.callbacks.shared.evaluating import evaluating
from charlm.callbacks.shared.logger_adapters import Failed, attempt, send_scalars, send_text, tell
from charlm.callbacks.shared.markdown import cell
from charlm.callbacks.shared.progress import logged_step, scalar_step
from charlm.callbacks.shared.trainer_state import is_of_fit

_NEW = "new"
_COLUMNS = 6  # at most, so that the table fits into a page of 1,024 pixels


class NameSamples(BaseCallback):
    """Watch babble turn into names: what the model samples before the first step, at every validation and at the end.

    The seed is the same each time. Every logger that takes texts (TensorBoard, W&B and others) gets them as `samples`:
    a table with a column for this step and for some earlier ones, where a known name stands with its split. Every
    logger gets, at the step of the validation loss, the shares of new and of distinct names in a larger sample
    (`samples/new`, `samples/distinct`), and their mean length in characters beside that of the training names
    (`samples/mean_length`, `samples/mean_length_data`).

    It works with any LightningModule that samples strings by a method

        sample_names(n: int, seed: int) -> list[str]

    To tell new names from known ones, the module or its LightningDataModule has

        known_names() -> Mapping[str, Collection[str]]

    which returns the known names of each split, such as {"train": [...], "val": [...]}; the first split gives the mean
    length, unless it is a set, as of names with weights. It is called once a training. `sample_names` is called in the
    process of rank 0 only, in eval mode and without gradients. Training is not affected: the weights are the same, bit
    for bit, as the random states of torch, Python and numpy are restored. What cannot be sampled or logged is left out
    with a warning. It costs the time in which the model samples `scored` names, and the memory of the known names.

    Args:
        n: names to show, >= 1.
        seed: of the sample.
        scored: names in the sample that is measured, >= `n`; the first `n` of them are shown.

    Raises:
        ValueError: `n` < 1, or `scored` < `n`.

    Example:
        >>> from charlm.callbacks import NameSamples
        >>> from lightning.pytorch import Trainer
        >>> from lightning.pytorch.demos.boring_classes import BoringModel
        >>> class Babbler(BoringModel):
        ...     def sample_names(self, n, seed):
        ...         return [f"ba{'ba' * (seed + i)}" for i in range(n)]
        >>> names = NameSamples(2, scored=10)
        >>> Trainer(max_steps=9, enable_progress_bar=False, callbacks=[names]).fit(Babbler())
    """

    def __init__(self, n: int = 20, *, seed: int = 0, scored: int = 500) -> None:
        if n < 1:
            raise ValueError(f"NameSamples's n is {n}; show at least 1 name")
        if scored < n:
            raise ValueError(f"NameSamples's scored is {scored}, less than the {n} names shown; give {n} or more")
        self.n = n
        self.seed = seed
        self.scored = scored
        self.progress_columns: dict[str, str] = {}  # for StepProgressBar
        self._can_sample = False  # whether the model has sample_names
        self._known: dict[str, frozenset[str]] | None = None  # by split; None until they have been asked for
        self._length: float | None = None  # mean length of the names of the first split
        self._shown_at: int | None = None
        self._columns: list[tuple[int, list[str]]] = []  # the step of a sample, and the cells of its column
        self._warned: set[str] = set()

    def state_dict(self) -> dict[str, Any]:
        return {"columns": self._columns, "shown_at": self._shown_at}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._columns = [(step, list(cells)) for step, cells in state_dict["columns"]]
        self._shown_at = state_dict.get("shown_at")  # which older checkpoints lack

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if stage != "fit":
            return
        self._known, self._length, self._shown_at, self._columns, self._warned = None, None, None, [], set()
        self.progress_columns = {}
        self._can_sample = hasattr(pl_module, "sample_names")
        if not self._can_sample:
            rank_zero_warn(
                f"NameSamples shows nothing, because {type(pl_module).__name__} has no method sample_names(n, seed)"
                " that returns a list of strings; add one, or remove the callback"
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step == 0:  # a resumed training has shown its first names before
            self._show(trainer, pl_module, scalar_step(trainer))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if is_of_fit(trainer):
            self._show(trainer, pl_module, scalar_step(trainer))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._shown_at != trainer.global_step:
            self._show(trainer, pl_module, logged_step(trainer))

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._known = None  # frees the memory of what may be many names

    def _show(self, trainer: Trainer, pl_module: LightningModule, step: int) -> None:
        self._shown_at = trainer.global_step
        if not self._can_sample or not trainer.is_global_zero:
            return
        failed: Failed = {}
        if self._known is None:
            self._known = {}
            failed |= attempt("known_names", lambda: self._ask_known(trainer, pl_module))
        names: list[str] = []
        failed |= attempt("sample_names", lambda: self._draw(pl_module, names))
        if names:
            origins = [self._origin(name) for name in names] if self._known else []
            scalars = self._measured(names, origins)
            if origins:
                self.progress_columns = {"new": f"{scalars['samples/new']:.0%}"}
            failed |= send_scalars(trainer, scalars, step)
            self._keep(step, names[: self.n], origins)
            failed |= send_text(trainer, self._text(len(names), scalars), "samples", step)
        tell(f"NameSamples, after {trainer.global_step} steps", failed, self._warned)

    def _ask_known(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the known names as sets: a thousand look-ups in a list of ten thousand take a second."""
        owners = (pl_module, getattr(trainer, "datamodule", None))
        owner: Any = next((owner for owner in owners if hasattr(owner, "known_names")), None)
        with evaluating(pl_module):
            known: Mapping[str, Collection[str]] = {} if owner is None else owner.known_names()
        first = next(iter(known.values()), [])
        length = _mean_length(first) if first and not isinstance(first, Set) else None  # with its repetitions
        self._known = {split: frozenset(names) for split, names in known.items()}
        self._length = length  # last, so that a failure above leaves no length without its split

    def _draw(self, pl_module: Any, names: list[str]) -> None:
        with evaluating(pl_module):
            drawn = pl_module.sample_names(self.scored, self.seed)
        if not isinstance(drawn, list | tuple) or not all(isinstance(name, str) for name in drawn):
            raise ValueError(f"it must return a list of strings, not {reprlib.repr(drawn)}")
        if not drawn:
            raise ValueError(f"it returned no names instead of {self.scored}")
        names += drawn

    def _origin(self, name: str) -> str:
        known = self._known or {}
        return next((f"in {split}" for split, names in known.items() if name in names), _NEW)

    def _measured(self, names: Sequence[str], origins: Sequence[str]) -> dict[str, float]:
        scalars = {"samples/distinct": len(set(names)) / len(names), "samples/mean_length": _mean_length(names)}
        if origins:
            scalars["samples/new"] = origins.count(_NEW) / len(origins)
        if self._length is not None:
            scalars["samples/mean_length_data"] = self._length
        return scalars

    def _keep(self, step: int, names: Sequence[str], origins: Sequence[str]) -> None:
        """Add a column for these names; of too many columns, leave out the one whose neighbours are closest."""
        told = [f" ({origin})" if origin != _NEW else "" for origin in origins] or [""] * len(names)
        cells = [cell(name) + origin for name, origin in zip(names, told, strict=False)]
        self._columns = [*(column for column in self._columns if column[0] < step), (step, cells)]
        if len(self._columns) > _COLUMNS:
            steps = [step for step, _ in self._columns]
            del self._columns[min(range(1, _COLUMNS), key=lambda i: steps[i + 1] - steps[i - 1])]

    def _text(self, count: int, scalars: Mapping[str, float]) -> str:
        """A sentence with the numbers, and the names as a Markdown table with the steps as columns."""
        step, shown = self._columns[-1]
        new = f"{scalars['samples/new']:.0%} new, " if "samples/new" in scalars else ""
        data = f" ({self._length:.1f} in {next(iter(self._known or {}))})" if self._length is not None else ""
        numbers = (
            f"Step {step:,}: of {count:,} names sampled with seed {self.seed}, {new}{scalars['samples/distinct']:.0%}"
            f" distinct, {scalars['samples/mean_length']:.1f} characters long on average{data}. The first {len(shown)},"
            " by step:"
        )
        rows = zip_longest(*(cells for _, cells in self._columns), fillvalue="")
        header = [f"| {' | '.join(f'{step:,}' for step, _ in self._columns)} |", "| --- " * len(self._columns) + "|"]
        return "\n".join([numbers, "", *header, *(f"| {' | '.join(row)} |" for row in rows)])


def _mean_length(names: Collection[str]) -> float:
    return sum(map(len, names)) / len(names)
