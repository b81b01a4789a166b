"""The file that a command writes for --out."""

from pathlib import Path

from charlm.callbacks.shared.whole_file import replacing


def write_out(file: Path, content: bytes) -> None:
    """Write the whole file or nothing, over an existing one.

    Raises:
        OSError: the file cannot be written.
    """
    try:
        with replacing(file) as stream:
            stream.write(content)
    except OSError as error:
        raise OSError(f"cannot write {file} ({error.strerror}); give another file as --out") from error
