"""Files that are written completely or not at all, even if the process is killed or the power fails. Plain Python."""

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM, errno.EBADF, errno.ENOSYS}


@contextmanager
def replacing(file: Path) -> Iterator[IO[bytes]]:
    """Open a stream whose content replaces `file` once it is on the disk; the folder is created if needed.

    The content goes to a file beside `file`, which is then renamed: at every moment `file` is the old one or the new
    one. If an error is raised, the old file stays. What a killed process left beside `file` is removed.

    Raises:
        OSError: the disk is full, or the folder cannot be written to.

    Example:
        >>> with replacing(Path("runs", "a.txt")) as stream:
        ...     stream.write(b"whole")
        5
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    stem = f".{file.name[:150]}."  # a file name has at most 255 bytes
    _remove_leftovers(file.parent, stem)
    partial = file.with_name(f"{stem}{os.getpid()}.partial")
    try:
        with open(partial, "xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, file)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
    _sync_folder(file.parent)


def write_text(file: Path, text: str) -> None:
    """Write a text file, in UTF-8, completely or not at all."""
    with replacing(file) as stream:
        stream.write(text.encode())


def _remove_leftovers(folder: Path, stem: str) -> None:
    """Remove partial files of processes that have ended."""
    own = re.compile(re.escape(stem) + r"(\d+)\.partial")
    with os.scandir(folder) as entries:
        found = [(entry.path, int(match[1])) for entry in entries if (match := own.fullmatch(entry.name))]
    for path, process in found:
        if process == os.getpid() or not _is_running(process):
            with suppress(OSError):
                os.unlink(path)


def _is_running(process: int) -> bool:
    if sys.platform == "win32":  # an open file cannot be removed there, so nothing needs to be known
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it belongs to another user
        pass
    return True


def _sync_folder(folder: Path) -> None:
    """Bring the new name to the disk, on file systems that can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
