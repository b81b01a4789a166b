"""The file that a command writes for --out."""

import os
import tempfile
from pathlib import Path


def write_out(file: Path, content: bytes) -> None:
    """Write the whole file or nothing, over an existing one.

    Raises:
        OSError: the file cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".out-", dir=file.parent) as folder:
            partial = Path(folder) / file.name
            partial.write_bytes(content)
            os.replace(partial, file)
    except OSError as error:
        raise OSError(f"cannot write {file} ({error.strerror}); give another file as --out") from error
