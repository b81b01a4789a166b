"""From a file to clean names. Works on the whole text at once: a list of ten million names takes seconds."""

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from charlm.data.download import download, is_address
from charlm.tokenizer import UNPRINTABLE

BUNDLED = Path(__file__).with_name("names.txt")

_SPACES = "\t \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
# possessive, and tried at the start of a run only: else a long run of inner space takes quadratic time
_OUTER_SPACE = re.compile(f"(?m)^[{_SPACES}]++|(?<![{_SPACES}])[{_SPACES}]++$")
_UNTRIMMED = re.compile(f"(?m)^[{_SPACES}].*$|^.*[{_SPACES}]$")
_MARKS = {"Mn", "Mc", "Me"}


@dataclass(frozen=True)
class Corpus:
    r"""A clean list of names.

    Args:
        text: the names in the order of the file, each ended by "\n"; NFC, without blank lines or outer white space.
        source: the file they came from.
        note: what was dropped or changed on reading, one sentence; "" where nothing was.
    """

    text: str
    source: str
    note: str = ""

    def __len__(self) -> int:
        return self.text.count("\n")

    def names(self) -> list[str]:
        """The names as a list, repeated ones included."""
        return self.text[:-1].split("\n")

    @cached_property
    def sha256(self) -> str:
        """A fingerprint of the clean names: the same for CRLF and LF, with a BOM or without."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def read_corpus(
    path: str | Path | None = None, *, lowercase: bool = False, max_length: int = 64, alphabet: str | None = None
) -> Corpus:
    """Read a list of names: UTF-8, one name a line. BOM, CRLF and blank lines are accepted, outer white space is cut.

    Args:
        path: a file; as text also an http(s) address or "makemore" (the course's names.txt), downloaded once; None: the
            bundled names.
        lowercase: turn all names to lower case.
        max_length: the longest name accepted, in characters, >= 1.
        alphabet: the characters accepted; None: any.

    Raises:
        OSError: no such file, a directory, or no permission to read it; no network.
        ValueError: bytes that are not UTF-8, control or invisible characters, characters outside `alphabet`, a longer
            name, or no name at all; the message gives the line. Or `max_length` < 1.
    """
    if max_length < 1:
        raise ValueError(f"max_length is {max_length}; it must be at least 1 character")
    file = BUNDLED if path is None else download(path) if is_address(path) else Path(path)
    text = _lines(_decode(_read(file), file), lowercase)
    text, trimmed = _trim(text)
    _refuse_characters(text, file)
    _refuse_long(text, max_length, file)
    _refuse_lone_marks(text, file)
    _refuse_strangers(text, alphabet, file)
    lines = text.count("\n")
    text = re.sub(r"\n{2,}", "\n", text).lstrip("\n")
    if not text:
        raise ValueError(f"no names in {file}: it is empty or has blank lines only; give one name a line")
    blank = lines - text.count("\n")
    dropped = [f"{blank} blank lines dropped"] * bool(blank) + [f"outer white space cut in {trimmed} lines"] * bool(
        trimmed
    )
    return Corpus(text, str(file), ", ".join(dropped))


def _read(file: Path) -> bytes:
    try:
        if file.is_dir():  # first, since Windows gives a PermissionError for reading one
            raise IsADirectoryError(f"{file} is a directory; give a text file with one name a line")
        return file.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no names file {file}; give an existing file, or 'makemore'") from None
    except PermissionError:
        raise PermissionError(f"{file} may not be read by this user; change its permissions (chmod u+r)") from None


def _decode(data: bytes, file: Path) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        body = error.object  # what `start` counts in: without the BOM
        line = len(re.findall(rb"\r\n?|\n", body[: error.start])) + 1
        raise ValueError(
            f"{file}, line {line}: byte 0x{body[error.start]:02x} is not UTF-8; save the file as UTF-8 and try again"
        ) from None


def _lines(text: str, lowercase: bool) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = unicodedata.normalize("NFC", text.lower() if lowercase else text)
    return text if text.endswith("\n") else text + "\n"


def _refuse_characters(text: str, file: Path) -> None:
    bad = {ch: kind for ch in set(text) - {"\n"} if (kind := UNPRINTABLE.get(unicodedata.category(ch)))}
    if bad:
        at, ch = min((text.index(ch), ch) for ch in bad)
        raise ValueError(f"{_where(file, text, at)}: U+{ord(ch):04X} is {bad[ch]}; remove it from the line")


def _trim(text: str) -> tuple[str, int]:
    """Cut outer white space, line by line; also the number of lines that had some."""
    if not re.search(f"[{_SPACES}]", text):
        return text, 0
    changed = sum(1 for _ in _UNTRIMMED.finditer(text))
    return _OUTER_SPACE.sub("", text) if changed else text, changed


def _refuse_long(text: str, max_length: int, file: Path) -> None:
    """In bytes first, which are at least as many as the characters and quick to count."""
    ends = np.flatnonzero(np.frombuffer(text.encode(), np.uint8) == ord("\n"))
    if np.diff(ends, prepend=-1).max() - 1 > max_length and (long := re.search(f"[^\n]{{{max_length + 1},}}", text)):
        length = long.end() - long.start()
        raise ValueError(
            f"{_where(file, text, long.start())}: a name of {length} characters; at most {max_length} are"
            " accepted (data.max_length), one name a line"
        )


def _refuse_lone_marks(text: str, file: Path) -> None:
    lone = [at for ch in set(text) if unicodedata.category(ch) in _MARKS and (at := f"\n{text}".find(f"\n{ch}")) >= 0]
    if lone:
        raise ValueError(
            f"{_where(file, text, min(lone))}: U+{ord(text[min(lone)]):04X} is an accent without a letter before it;"
            " remove it"
        )


def _refuse_strangers(text: str, alphabet: str | None, file: Path) -> None:
    strangers = set(text) - set(alphabet) - {"\n"} if alphabet is not None else set()
    if strangers:
        at = min(text.index(ch) for ch in strangers)
        start = text.rfind("\n", 0, at) + 1
        name = text[start : text.index("\n", at)]
        raise ValueError(
            f"{_where(file, text, at)}: {name!r} has {text[at]!r} at position {at - start}, outside the alphabet"
            f" {alphabet!r}; clean the names file or widen data.alphabet"
        )


def _where(file: Path, text: str, at: int) -> str:
    return f"{file}, line {text.count(chr(10), 0, at) + 1}"
