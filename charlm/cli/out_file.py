"""The file that a command writes for --out."""

import os
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
    is_special = os.path.exists(out) and not os.path.isfile(out)  # root could replace /dev/null
    try:
        with open(out, "wb") if is_special else replacing(Path(os.path.realpath(out))) as stream:
            yield stream
    except OSError as error:
        raise OSError(f"cannot write {out} ({error.strerror}); give another file as --out") from error
