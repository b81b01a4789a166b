"""A Trainer plugin that writes each checkpoint completely or not at all, and reads none that could run code."""

import errno
import io
import os
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import torch

from charlm.callbacks.internals.lightning import TorchCheckpointIO, rank_zero_warn
from charlm.callbacks.shared.archive import foreign_names, read_archive, refuse_address
from charlm.callbacks.shared.whole_file import replacing

_WHAT_TO_DO = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space there, or save to another folder"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "save to a folder that you can write to"),
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR), "a folder on the way to it is a file: save to another folder"),
    errno.ENOENT: "its folder was removed meanwhile: save to another folder, or run again",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f), or save to another folder",
}
_ADVICE = (
    "; for files of your own, allow a class with torch.serialization.add_safe_globals, or read with weights_only=False"
)
_PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")
"""Entries in the state of Lightning's ModelCheckpoint, which deletes the files at these paths."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write checkpoints that survive kill -9 and a full disk, and read checkpoints from untrusted sources safely.

    A checkpoint is written next to the file that it replaces, flushed to the disk, and renamed. So at every moment the
    old checkpoint or the new one is complete. Lightning writes to the folder for temporary files first, and copies the
    content over the old checkpoint if that folder is on another disk. A partial file that a killed process left is
    removed when the same checkpoint is saved again.

    A checkpoint is read only if it is a local file with correct checksums, which torch.load ignores, and holds only
    tensors, plain values and the classes given to `torch.serialization.add_safe_globals`. No code from it runs, unless
    you ask for that with `weights_only=False`, for a file of your own. A checkpoint with other objects, such as a Path
    or an enum among the hyperparameters, is written with a warning that names them. The state of Lightning's
    ModelCheckpoint holds paths of files that it will delete. If such a path is anything but a checkpoint file, without
    `..` and links, that state is left out with a warning. Folders are never deleted.

    It is a plugin, not a callback. Saving takes as long as torch.save and the disk need; there is room for both files
    while it lasts. Cloud storage and sharded checkpoints are not for it.

    Raises:
        OSError: when saving: full disk, no permission, a limit (Lightning ignores a folder without write permission);
            when loading: no such file. `filename` is the checkpoint.
        ValueError: an address instead of a path; when loading: a damaged file, or one of another program.

    Example:
        >>> from charlm.callbacks import AtomicCheckpointIO
        >>> from lightning.pytorch import Trainer
        >>> from lightning.pytorch.demos.boring_classes import BoringModel
        >>> trainer = Trainer(max_steps=9, enable_progress_bar=False, plugins=[AtomicCheckpointIO()])
        >>> trainer.fit(BoringModel())
        >>> trainer.save_checkpoint("whole.ckpt")
    """

    _warned = False

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write the file completely or not at all; create its folder if needed; warn once if it will not be read."""
        if storage_options is not None:
            raise TypeError("AtomicCheckpointIO writes local files, for which there are no `storage_options`")
        refuse_address(path)
        file = Path(path).expanduser()
        try:
            with replacing(file) as raw:
                stream: Any = _Stream(raw)
                torch.save(checkpoint, stream)
                stream.finish()
        except OSError as error:
            raise _explained(error, file) from None
        if not self._warned and (names := foreign_names(file)):
            self._warned = True
            rank_zero_warn(
                f"{path} will not be read as it is: {_holder(checkpoint)} holds {', '.join(names[:3])}. Save plain"
                f" values instead (text, numbers, lists, tensors){_ADVICE}"
            )

    def load_checkpoint(
        self, path: str | Path, map_location: Any = lambda storage, location: storage, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a local file; with `weights_only=False`, as in `trainer.fit(..., weights_only=False)`, any object."""
        safely = weights_only is not False
        content = read_archive(os.path.expanduser(path), map_location=map_location, weights_only=safely, advice=_ADVICE)
        if not isinstance(content, dict):
            raise ValueError(f"{path} is not a Trainer's: it holds a {type(content).__name__}; pass a .ckpt file")
        return Content(_without_foreign_paths(content, path), path)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete a checkpoint file; a folder with this name stays."""
        file = os.path.expanduser(path)
        if not os.path.isdir(file):
            with suppress(FileNotFoundError):
                os.unlink(file)


class MissingPartError(KeyError, ValueError):
    """A checkpoint lacks a part that the Trainer needs."""

    def __str__(self) -> str:
        return str(self.args[0])


class Content(dict[str, Any]):
    """The content of a checkpoint; a missing entry raises an error that names it."""

    def __init__(self, content: Any = (), path: str | Path = "this") -> None:
        super().__init__(content)
        self.path = path

    def __missing__(self, key: str) -> Any:
        raise MissingPartError(f"{self.path} has no {key!r}, so no Trainer wrote it; pass a checkpoint of a Trainer")


class _Stream:
    """The stream for torch.save, which crashes if a write raises; `finish` raises the first error instead."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._error: BaseException | None = None

    def write(self, data: Any) -> int:
        if self._error is None:
            try:
                self._raw.write(data)
            except BaseException as error:
                self._error = error
        return memoryview(data).nbytes

    def flush(self) -> None:
        """Do nothing: the file is flushed once, at the end."""

    def finish(self) -> None:
        """Raise the first error."""
        if self._error is not None:
            raise self._error


def _holder(checkpoint: dict[str, Any]) -> str:
    """The first hyperparameter that is no plain value, or the checkpoint."""
    for entry in ("hyper_parameters", "datamodule_hyper_parameters"):
        for name, value in (checkpoint.get(entry) or {}).items():
            torch.save(value, stream := io.BytesIO())
            stream.seek(0)
            if foreign_names(stream):
                return f"the hyperparameter {name!r}"
    return "it"


def _without_foreign_paths(content: dict[str, Any], path: str | Path) -> dict[str, Any]:
    """Leave out the states of callbacks with paths that are not plain paths of checkpoint files."""
    states = content.get("callbacks")
    if not isinstance(states, dict):
        return content
    foreign = [name for name, state in states.items() if isinstance(state, dict) and not _has_own_paths(state)]
    for name in foreign:
        rank_zero_warn(f"{path}: the state of {name!a:.80} has paths of other files and is left out")
    return {**content, "callbacks": {name: state for name, state in states.items() if name not in foreign}}


def _has_own_paths(state: dict[Any, Any]) -> bool:
    best = state.get("best_k_models", {})
    paths = [state.get(key, "") for key in _PATHS] + (list(best) if isinstance(best, dict) else [best])
    return all(isinstance(path, str) and (path == "" or _is_checkpoint_file(path)) for path in paths)


def _is_checkpoint_file(path: str) -> bool:
    """Whether a path ends in .ckpt and has no `..` and no link in it; Lightning compares paths as text."""
    return "\0" not in path and os.path.realpath(path) == path and path.endswith(".ckpt") and not os.path.isdir(path)


def _explained(error: OSError, file: Path) -> OSError:
    """The same error with an explanation and advice."""
    cause = error.strerror or str(error) or type(error).__name__
    advice = _WHAT_TO_DO.get(error.errno or 0, "save to another folder")
    before = ", and the one before it is as it was" if os.path.isfile(file) else ""
    text = f"{cause}: this checkpoint was not written{before}; {advice}"
    return OSError(error.errno or errno.EIO, text, str(file))
