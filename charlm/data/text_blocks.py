"""A text file from disk, block by block, each of whole lines: whatever the file is, little of it is held at a time."""

import codecs
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_LONGEST = 1 << 22  # bytes held of a file without line ends


def text_blocks(file: Path, size: int) -> Iterator[str]:
    r"""The text of a UTF-8 file in blocks of about `size` bytes, each of whole lines.

    A line ends with LF, CRLF or CR, given as "\n"; the last one gets its end where it has none. A BOM is left out.

    Raises:
        OSError: no such file, a directory, a pipe or device, or it cannot be read.
        ValueError: bytes that are not UTF-8 or millions of them without the end of a line, with the line; or the file
            changed meanwhile.
    """
    before = 0
    for data in _whole_lines(file, size):
        text = _decode(data, file, before)
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        text = text if text.endswith("\n") else text + "\n"
        yield text
        before += text.count("\n")


def _whole_lines(file: Path, size: int) -> Iterator[bytes]:
    """The bytes without a BOM."""
    try:
        _refuse_what_is_no_file(file)
        with file.open("rb") as stream:
            before = os.fstat(stream.fileno())
            blocks = _cut(stream, size)
            yield next(blocks, b"").removeprefix(codecs.BOM_UTF8)
            yield from blocks
            after = os.fstat(stream.fileno())
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no names file {file}; give an existing file, or 'makemore'") from None
    except PermissionError:
        raise PermissionError(f"{file} may not be read by this user; change its permissions (chmod u+r)") from None
    except OSError as error:
        if error.errno is None:  # said in our own words
            raise
        raise OSError(f"{file} cannot be read ({error.strerror}); give a copy of it in another place") from None
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise ValueError(f"{file} changed while it was read; start again when nothing writes to it")


def _refuse_what_is_no_file(file: Path) -> None:
    if file.is_dir():  # first, since Windows gives a PermissionError for reading one
        raise IsADirectoryError(f"{file} is a directory; give a text file with one name a line")
    if not file.exists():  # nor can it be, where its name has a NUL
        raise FileNotFoundError
    if not file.is_file():
        raise OSError(
            f"{file} is a pipe or a device, which cannot be read a second time as a model's names are;"
            " write the names to a file and give that"
        )


def _cut(stream: BinaryIO, size: int) -> Iterator[bytes]:
    """All bytes, cut behind ends of lines only; a line of more than half of `_LONGEST` may come as more than that."""
    rest = b""
    while piece := stream.read(max(size, len(rest))):  # twice as much each time: a long line takes linear time
        block = rest + piece
        end = max(block.rfind(b"\n"), block.rfind(b"\r", 0, -1)) + 1  # a CR at the end may be half of a CRLF
        if len(block) > _LONGEST:
            end = len(block)
        if end:
            yield block[:end]
        rest = block[end:]
    if rest:
        yield rest


def _decode(data: bytes, file: Path, before: int) -> str:
    if len(data) > _LONGEST:
        raise ValueError(
            f"{file}, line {before + 1}: more than {_LONGEST // 2:,} bytes without the end of a line;"
            " give a text file with one name a line"
        )
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = before + len(re.findall(rb"\r\n?|\n", data[: error.start])) + 1
        raise ValueError(
            f"{file}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8 and try again"
        ) from None
