"""The course's list of names: downloaded once, checked, and kept in the user's cache directory."""

import hashlib
import os
import re
from concurrent.futures import Future
from http.client import HTTPException
from pathlib import Path
from threading import Thread
from urllib.error import HTTPError
from urllib.request import urlopen

from charlm.callbacks.shared.whole_file import replacing

MAKEMORE = "makemore"
"""The word that stands for the course's list wherever a names file is asked for."""
MAKEMORE_ADDRESS = "https://raw.githubusercontent.com/karpathy/makemore/master/names.txt"
MAKEMORE_SHA256 = "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d"

_SECONDS = 60  # for the whole download of 228 kB
_MOST_BYTES = 1 << 20  # read at most, whatever a server sends


def refuse_address(path: str | Path) -> None:
    """Refuse an internet address where a file is expected.

    Raises:
        ValueError: `path` is an address.
    """
    if isinstance(path, str) and re.match(r"\w[\w+.-]*://", path):
        raise ValueError(
            f"{path} is an address, and names are read from local files only; download the list first"
            " (curl -L -o names.txt ADDRESS), then give the file"
        )


def cache_directory() -> Path:
    """The directory that keeps downloads: $XDG_CACHE_HOME/charlm, by default ~/.cache/charlm."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "charlm"


def download_makemore() -> Path:
    """The local copy of the course's names.txt, downloaded if there is none yet or if the copy is damaged.

    Raises:
        OSError: there is no network, the server does not answer within a minute, or the cache cannot be written.
        ValueError: the downloaded file is not the course's, or only a part of it.
    """
    kept = cache_directory() / "makemore-names.txt"
    try:
        if kept.is_file() and _is_makemore(kept.read_bytes()):
            return kept
        content = _fetch(MAKEMORE_ADDRESS, _SECONDS)
        if _is_makemore(content):
            with replacing(kept) as stream:
                stream.write(content)
            return kept
    except (OSError, HTTPException) as error:
        if isinstance(error, HTTPError):
            error.close()  # the error is also the server's reply, which holds the connection
        raise OSError(
            f"cannot download {MAKEMORE_ADDRESS} ({getattr(error, 'reason', error)}); if you have a list of names,"
            " give that file instead: `path` FILE"
        ) from error
    raise ValueError(
        f"{MAKEMORE_ADDRESS} did not send the expected file (its SHA-256 differs); try again, or give a file that you"
        " have: `path` FILE"
    )


def _is_makemore(content: bytes) -> bool:
    return hashlib.sha256(content).hexdigest() == MAKEMORE_SHA256


def _fetch(address: str, seconds: float) -> bytes:
    """The content at `address`, read in a thread: a socket's timeout covers neither the name lookup nor a slow trickle.

    Raises:
        OSError: no network, no such file, or `seconds` are over.
        HTTPException: the server breaks the protocol.
    """
    content: Future[bytes] = Future()

    def read() -> None:
        try:
            with urlopen(address, timeout=seconds) as reply:
                content.set_result(reply.read(_MOST_BYTES))
        except Exception as error:
            content.set_exception(error)

    Thread(target=read, daemon=True).start()
    try:
        return content.result(timeout=seconds)
    except TimeoutError:
        raise TimeoutError(f"the server did not send the file within {seconds:g} seconds") from None
