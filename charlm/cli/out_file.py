"""The file that a command writes for --out."""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from charlm.callbacks.shared.whole_file import replacing


def write_out(file: Path, content: bytes) -> None:
    """Write all of it to the file of --out.

    Raises:
        OSError: the file cannot be written.
    """
    with out_stream(file) as stream:
        stream.write(content)


@contextmanager
def out_stream(out: str | Path) -> Iterator[IO[bytes]]:
    """Open a stream that replaces a file once its content is complete, or that writes to a pipe or device.

    Raises:
        OSError: the file cannot be written.
    """
    try:
        with open(out, "ab") if _is_written_to(Path(out)) else replacing(Path(out)) as stream:
            yield stream
    except OSError as error:
        raise OSError(f"cannot write {out} ({error.strerror}); give another file as --out") from error


def _is_written_to(file: Path) -> bool:
    """Whether to write into what is there instead of replacing it: a pipe, a device, or a link such as /dev/stdout."""
    try:
        mode = file.lstat().st_mode
    except OSError:
        return False
    if stat.S_ISLNK(mode):
        return file.absolute().parts[1:2] == ("dev",)
    return not stat.S_ISREG(mode)
