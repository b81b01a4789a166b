"""A text file from disk in chunks of whole lines, with only a little of it in memory, whatever the file holds."""

import codecs
import gzip
import io
import os
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from charlm.data.cleaning import Chunk

_GZIP = b"\x1f\x8b"  # how such a file begins
_NO_TEXT = (b"PK\3\4", b"\xd0\xcf\x11\xe0", b"PAR1", b"BZh", b"\xfd7zXZ", b"7z\xbc", b"%PDF")  # ZIP, XLS, Parquet ...
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_MOST_BYTES = 1 << 22  # held of a file without line ends


def text_chunks(file: Path, size: int, encoding: str = "utf-8", replace: bool = False) -> Iterator[Chunk]:
    r"""Read the text of a file, plain or compressed by gzip, in chunks of about `size` bytes of whole lines.

    Lines may end with LF, CRLF or CR and come with "\n", the last one too. A byte order mark (BOM) is left out, and
    Excel's first line "sep=;" is blank.

    Args:
        file: the file.
        size: of a chunk.
        encoding: of the file.
        replace: give U+FFFD for bytes that are not UTF-8; for bytes that are no text in another encoding, it is given
            in any case.

    Raises:
        OSError: no such file, a directory, a pipe or a device, or it cannot be read.
        ValueError: the bytes are not UTF-8, there is no such encoding, or there are millions of bytes without a line
            end; the message gives the line. Or the file changed while it was read.
    """
    lines_before = 0
    for data in _whole_lines(file, size, _check_encoding(encoding)):
        text = _decode(data, file, lines_before, "replace" if replace else "strict")
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        if not lines_before and re.match("sep=.\n", text):
            text = text[5:]
        text = text if text.endswith("\n") else text + "\n"
        yield Chunk(file, lines_before, text)
        lines_before += text.count("\n")


def _check_encoding(encoding: str) -> str:
    """The encoding by its usual name."""
    try:
        io.TextIOWrapper(io.BytesIO(), encoding)  # refuses codecs that are not of text, too
        return codecs.lookup(encoding).name
    except (LookupError, ValueError):
        raise ValueError(
            f"`encoding` is {encoding!r}, which Python does not know; give utf-8, utf-16, cp1252, shift_jis or the like"
        ) from None


def _whole_lines(file: Path, size: int, encoding: str) -> Iterator[bytes]:
    """The text of the file in UTF-8, without a BOM."""
    try:
        _check_regular_file(file)
        with file.open("rb") as stream:
            before, head = os.fstat(stream.fileno()), stream.peek(8)
            if head.startswith(_NO_TEXT):
                raise ValueError(f"{file} is a spreadsheet, a PDF or an archive; save it as CSV, or unpack it")
            source = gzip.GzipFile(fileobj=stream) if head.startswith(_GZIP) else stream
            # a variable, since the stream is closed with the last reference to what reads it
            read = source.read if encoding == "utf-8" else _recoded(source, encoding)
            chunks = _cut_at_line_ends(read, size)
            yield next(chunks, b"").removeprefix(codecs.BOM_UTF8)
            yield from chunks
            after = os.fstat(stream.fileno())
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no names file {file}; give an existing file, or 'makemore'") from None
    except PermissionError:
        raise PermissionError(f"{file} may not be read by this user; change its permissions (chmod u+r)") from None
    except UnicodeError as error:  # such as UTF-16 without a BOM
        raise ValueError(
            f"{file} cannot be read as {encoding} ({error}); give its encoding as `encoding`, such as utf-16-le"
        ) from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise OSError(f"{file} is damaged: gzip cannot decompress it ({error}); get the file again") from None
    except OSError as error:
        if error.errno is None:  # the message is ours already
            raise
        raise OSError(f"{file} cannot be read ({error.strerror}); give a copy of it in another place") from None
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise ValueError(f"{file} changed while it was read; try again when no program writes to it")


def _recoded(source: gzip.GzipFile | io.BufferedReader, encoding: str) -> Callable[[int], bytes]:
    """Reads about so many bytes of UTF-8."""
    text = io.TextIOWrapper(source, encoding, errors="replace", newline="")
    return lambda size: text.read(size).encode()


def _check_regular_file(file: Path) -> None:
    if file.is_dir():  # first, since Windows gives a PermissionError for reading a directory
        raise IsADirectoryError(f"{file} is a directory; give a text file with one name a line")
    if not file.exists():  # also where the file's name has a NUL, which open would refuse in other words
        raise FileNotFoundError
    if not file.is_file():
        raise OSError(
            f"{file} is a pipe or a device, and the names must be readable again later;"
            " write them to a file and give that file"
        )


def _cut_at_line_ends(read: Callable[[int], bytes], size: int) -> Iterator[bytes]:
    """All bytes in pieces of whole lines; only pieces of more than `_MOST_BYTES` may end amid a line."""
    rest = b""
    while piece := read(max(size, len(rest))):  # doubling, so that a long line takes linear time
        data = rest + piece
        end = max(data.rfind(b"\n"), data.rfind(b"\r", 0, -1)) + 1  # a CR at the end may be half of a CRLF
        if len(data) > _MOST_BYTES:
            end = len(data)
        if end:
            yield data[:end]
        rest = data[end:]
    if rest:
        yield rest


def _decode(data: bytes, file: Path, lines_before: int, errors: str) -> str:
    if len(data) > _MOST_BYTES:
        raise ValueError(
            f"{file}, line {lines_before + 1}: more than {_MOST_BYTES // 2:,} bytes without a line end;"
            " give a text file with one name a line"
        )
    try:
        return data.decode(errors=errors)
    except UnicodeDecodeError as error:
        line = lines_before + len(re.findall(rb"\r\n?|\n", data[: error.start])) + 1
        raise ValueError(
            f"{file}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8, or give its"
            f" encoding, as in `encoding` {'utf-16' if data.startswith(_UTF16) else 'cp1252'}"
        ) from None
