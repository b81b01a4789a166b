"""Which files RunCheckpoint finds in its folder, and whether they are of the training that goes on."""

import os
from pathlib import Path
from typing import Any, NamedTuple

from charlm.callbacks.shared.archive import foreign_names, read_archive

Best = tuple[float, int]  # value and step


def files_of(callback: Any) -> set[str]:
    """The real paths of the files that RunCheckpoint or a ModelCheckpoint writes under fixed names."""
    if hasattr(callback, "fixed_names"):
        folder, names = callback.folder, callback.fixed_names
    else:
        folder, last = getattr(callback, "dirpath", None), getattr(callback, "save_last", None)
        names = [f"{getattr(callback, 'filename', None)}.ckpt", *["last.ckpt"] * bool(last)]
    return {os.path.realpath(os.path.join(folder, name)) for name in names} if folder else set()


def own_files(
    folder: Path, key: str, checkpoint: dict[str, Any], path: str | os.PathLike[str]
) -> tuple[str, Best | None, int]:
    """What RunCheckpoint finds in its folder of the training that goes on.

    A file is of this training if it has the same identifier and is not of a later step, from which training went back.
    Beside the last.ckpt that it goes on from, a later best.ckpt was written just before a kill.

    Args:
        folder: the folder of RunCheckpoint.
        key: its `state_key`.
        checkpoint: the loaded one, from which training goes on.
        path: its file, as Lightning was given it.

    Returns:
        The identifier of the training ("" if the checkpoint has none, or training goes back to before its best.ckpt),
        the value and step of its best.ckpt (None if there is none), the step of its last.ckpt (-1 if there is none).
    """
    began = _saved_in(checkpoint, key)
    given = os.path.expanduser(os.fspath(path).removeprefix("file://"))
    is_last = os.path.realpath(given) == os.path.realpath(folder / "last.ckpt")
    last = began if is_last else _read(folder / "last.ckpt", key)
    is_own = is_last or (last.training == began.training != "" and last.step <= began.step)
    best = _own_best(folder / "best.ckpt", key, began, is_last)
    return began.training if is_last or best else "", best, last.step if is_own else -1


class _Saved(NamedTuple):
    """What a checkpoint says: its step, the training's identifier, the best value so far."""

    step: int = -1
    training: str = ""
    best: Best | None = None


def _own_best(file: Path, key: str, began: _Saved, is_last: bool) -> Best | None:
    kept = _read(file, key)
    if kept.training:
        is_own = kept.training == began.training and (is_last or kept.step <= began.step)
        return kept.best if is_own else None
    if is_last and foreign_names(file):  # not to be read
        return began.best
    is_that = began.best is not None and kept.step == began.best[1]  # of weights alone, or of an earlier version
    return began.best if is_that and kept.best in (None, began.best) else None


def _read(file: Path, key: str) -> _Saved:
    """Nothing where the file is missing, damaged, or cannot be read without running its code."""
    try:
        return _saved_in(read_archive(file, map_location="meta"), key)  # tensors without their numbers
    except (OSError, ValueError):
        return _Saved()


def _saved_in(checkpoint: Any, key: str) -> _Saved:
    checkpoint = checkpoint if isinstance(checkpoint, dict) else {}
    states, step = checkpoint.get("callbacks"), checkpoint.get("global_step")
    state = states.get(key) if isinstance(states, dict) else None
    kept: dict[str, Any] = state if isinstance(state, dict) else {}
    training, value, of_step = kept.get("training"), kept.get("value"), kept.get("step")
    return _Saved(
        step if type(step) is int else -1,
        training if type(training) is str else "",
        (value, of_step) if type(value) is float and type(of_step) is int else None,
    )
