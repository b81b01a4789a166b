"""Checkpoint files that are there whole or not at all, and that are read with care: a plugin for any Trainer."""

import errno
import os
import re
import secrets
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from charlm.callbacks.shared.archive import read_archive, refuse_address

if sys.platform != "win32":  # where a file that is open cannot be removed, so that nothing needs a lock
    import fcntl

_PARTIAL = re.compile(r"\..+\.\d+-[0-9a-f]{8}\.partial")
_WHAT_TO_DO = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space there, or save to another folder"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "save to a folder that you can write to"),
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR), "a folder on the way to it is a file: save to another folder"),
    errno.EFBIG: "raise the limit of file sizes (ulimit -f), or save to another folder",
}
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM, errno.EBADF, errno.ENOSYS}


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint files, safe against kill -9, a full disk, damage and files of strangers.

    A file is written beside the one that it is to replace, brought to the disk, and renamed: at every moment the old
    checkpoint is there or the new one, whole, wherever the folder for temporary files is. Lightning writes that part
    to the temporary folder, and where this is on another disk copies it over the old checkpoint. What a process that
    was killed has left in a folder is removed at the next save or load there; what a living one is writing stays.

    A file is read only if it is a local one, whole by its checksums (torch.load does not look at them), and holds
    tensors and plain values alone: no code from it runs, whatever `weights_only` says.

    Use: `Trainer(plugins=[AtomicCheckpointIO()])`.

    Raises:
        OSError: saving: disk full, no permission, a limit (Lightning takes a folder that cannot be written to for a
            success); loading: no such file. `filename` is the checkpoint's.
        ValueError: an address instead of a path; loading: a damaged or foreign file.
    """

    def __init__(self) -> None:
        self._swept: set[Path] = set()

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write the file whole or not at all; the folder is made if it is not there."""
        if storage_options is not None:
            raise TypeError("AtomicCheckpointIO writes local files, for which there are no `storage_options`")
        refuse_address(path)
        file = Path(path)
        self._sweep(file.parent)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            _replace(file, lambda stream: torch.save(checkpoint, stream))
        except OSError as error:
            raise _told(error, file) from None

    def load_checkpoint(
        self, path: str | Path, map_location: Any = lambda storage, location: storage, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a local file; it is always read as with `weights_only=True`."""
        refuse_address(path)
        self._sweep(Path(path).parent)
        content = read_archive(path, map_location=map_location)
        if not isinstance(content, dict):
            raise ValueError(f"{path} is not a Trainer's: it holds a {type(content).__name__}; pass a .ckpt file")
        return Content(content, path)

    def _sweep(self, folder: Path) -> None:
        """Remove what dead processes left, once a folder."""
        if folder in self._swept:
            return
        self._swept.add(folder)
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if _PARTIAL.fullmatch(entry.name):
                    _remove_if_dead(entry.path)


class MissingPartError(KeyError, ValueError):
    """A checkpoint lacks what is asked of it."""

    def __str__(self) -> str:
        return str(self.args[0])


class Content(dict[str, Any]):
    """A checkpoint's content, which says in a sentence what it does not have."""

    def __init__(self, content: Any = (), path: str | Path = "this") -> None:
        super().__init__(content)
        self.path = path

    def __missing__(self, key: str) -> Any:
        raise MissingPartError(f"{self.path} has no {key!r}, so it is no checkpoint of a Trainer; pass one that is")


def _replace(file: Path, write: Callable[[Any], object]) -> None:
    """Let `write` fill a new file, and put it in the place of `file` when it is on the disk."""
    partial, raw = _new_partial(file)
    stream = _Stream(raw)
    try:
        with raw:
            write(stream)
            stream.finish()
            os.replace(partial, file)  # before the lock goes with the handle
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
    _sync_folder(file.parent)


def _new_partial(file: Path) -> tuple[Path, IO[bytes]]:
    """A new file beside `file`, locked as long as it is open, with the permissions of any new file."""
    while True:
        partial = file.with_name(f".{file.name[:150]}.{os.getpid()}-{secrets.token_hex(4)}.partial")
        raw = open(partial, "xb")  # noqa: SIM115  # closed by the caller
        if _locked(raw.fileno(), wait=True) and os.fstat(raw.fileno()).st_nlink == 0:
            raw.close()  # a process that swept the folder was quicker than the lock
            continue
        return partial, raw


def _remove_if_dead(partial: str) -> None:
    """A living writer holds a lock, which ends with its process, however that ends."""
    if sys.platform == "win32":
        with suppress(OSError):
            os.unlink(partial)
        return
    with suppress(OSError), open(partial, "rb") as file:
        if _locked(file.fileno(), wait=False):
            os.unlink(partial)


def _locked(handle: int, wait: bool) -> bool:
    """Whether the lock was had; not where another process has it, or where the file system has no locks."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


class _Stream:
    """What torch.save writes to. An error waits until it has ended, since its writer in C++ would not survive it."""

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
        """Nothing: `finish` does."""

    def finish(self) -> None:
        """Bring all to the disk."""
        if self._error is not None:
            raise self._error
        self._raw.flush()
        os.fsync(self._raw.fileno())


def _sync_folder(folder: Path) -> None:
    """Bring the new name to the disk, where the operating system has a way to."""
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise


def _told(error: OSError, file: Path) -> OSError:
    """The same error, in a sentence with what it means and what to do."""
    cause = error.strerror or str(error) or type(error).__name__
    advice = _WHAT_TO_DO.get(error.errno or 0, "save to another folder")
    text = f"{cause}: this checkpoint was not written, and those before it are as they were; {advice}"
    return OSError(error.errno or errno.EIO, text, str(file))
