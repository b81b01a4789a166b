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
    """Give a stream that replaces a file once its content is whole, or that writes to a pipe or device, as /dev/null.

    Raises:
        OSError: the file cannot be written.
    """
    try:
        with open(out, "wb") if _is_written_to(Path(out)) else replacing(Path(out)) as stream:
            yield stream
    except OSError as error:
        raise OSError(f"cannot write {out} ({error.strerror}); give another file as --out") from error


def _is_written_to(file: Path) -> bool:
    """Whether it is something that a new file must not take the place of; a link is so in /dev only, as /dev/stdout."""
    try:
        mode = file.lstat().st_mode
    except OSError:
        return False
    in_dev = stat.S_ISLNK(mode) and file.absolute().parts[1:2] == ("dev",)
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode) or stat.S_ISDIR(mode) or in_dev
