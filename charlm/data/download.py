"""Names from the network, fetched once and kept in the user's cache directory."""

import hashlib
import os
import re
import tempfile
from http.client import HTTPException
from pathlib import Path
from typing import TypeGuard
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

MAKEMORE = "makemore"
MAKEMORE_ADDRESS = "https://raw.githubusercontent.com/karpathy/makemore/master/names.txt"
MAKEMORE_SHA256 = "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d"

_LONGEST_NAME = 80  # characters of the address that a file in the cache is named after


def is_address(path: object) -> TypeGuard[str]:
    """Whether `path` names something to download: "makemore" or an http(s) address; a `Path` is always a file."""
    return isinstance(path, str) and (path == MAKEMORE or path.startswith(("http://", "https://")))


def cache_directory() -> Path:
    """Where downloads are kept: $XDG_CACHE_HOME/charlm, by default ~/.cache/charlm."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "charlm"


def cached(source: str) -> Path | None:
    """The local copy of `source`, as for `download`, or None if there is none yet; asks nobody.

    Raises:
        OSError: the copy may not be read.
        ValueError: an address that cannot be taken apart.
    """
    address, sha256 = _expected(source)
    kept = _place(address)
    if kept.is_file() and (sha256 is None or hashlib.sha256(kept.read_bytes()).hexdigest() == sha256):
        return kept
    return None


def download(source: str) -> Path:
    """The local copy of `source`, downloaded with a progress bar if there is none yet.

    Args:
        source: "makemore", which is checked against its SHA-256, or an http(s) address, whose file is checked against
            the size that the server names.

    Raises:
        OSError: no network, no such file there, only a part of it came, or no room; the message says how to pass a file
            instead.
        ValueError: what came is not the course's file.
    """
    address, sha256 = _expected(source)
    try:
        return cached(source) or _fetch(address, sha256)
    except (OSError, HTTPException, ValueError) as error:  # ValueError: not an address at all
        if isinstance(error, HTTPError):
            error.close()  # it is the server's reply as well, and holds the connection
        reason = getattr(error, "reason", error)
        raise OSError(
            f"cannot download {address} ({reason}); pass a file that you have instead: --data.path FILE"
        ) from error
    except RuntimeError as error:
        raise ValueError(
            f"what {address} sent is not the expected file (its SHA-256 differs);"
            " pass a file that you have: --data.path FILE"
        ) from error


def _expected(source: str) -> tuple[str, str | None]:
    """The address, and the SHA-256 where it is known."""
    return (MAKEMORE_ADDRESS, MAKEMORE_SHA256) if source == MAKEMORE else (source, None)


def _place(address: str) -> Path:
    """The file in the cache: told from others by a hash, its name only for people and legal on every system."""
    name = re.sub(r"[^A-Za-z0-9._-]", "_", urlsplit(address).path.rpartition("/")[2])[-_LONGEST_NAME:]
    return cache_directory() / f"{hashlib.sha256(address.encode()).hexdigest()[:12]}-{name or 'names.txt'}"


def _fetch(address: str, sha256: str | None) -> Path:
    """Download beside the place in the cache, check, and only then move there."""
    from torch.hub import download_url_to_file  # here, so that `charlm --help` does not wait for torch

    kept = _place(address)
    kept.parent.mkdir(parents=True, exist_ok=True)
    size = None if sha256 else _size(address)
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        whole = Path(folder) / "download"
        download_url_to_file(address, str(whole), hash_prefix=sha256, progress=True)
        came = whole.stat().st_size
        if size is not None and came != size:
            raise OSError(f"{came:,} of {size:,} bytes came, try again")
        os.replace(whole, kept)
    return kept


def _size(address: str) -> int | None:
    """The bytes to come, if the server says so: torch's download does not look whether all of them came."""
    with urlopen(Request(address, headers={"User-Agent": "torch.hub"})) as reply:
        length = reply.headers.get("Content-Length")
    return int(length) if length is not None else None


def refuse_unasked(source: object, checkpoint: str) -> None:
    """Refuse to download what only a checkpoint names: a file from elsewhere could name any address.

    Args:
        source: the `path` in the checkpoint.
        checkpoint: the file, for the message.

    Raises:
        ValueError: an address other than "makemore" that is not in the cache.
    """
    if is_address(source) and source != MAKEMORE and cached(str(source)) is None:
        raise ValueError(
            f"{checkpoint} was trained on {source!r}, which is not downloaded on its word; if you trust the address,"
            " download it by `charlm fit --data.path ADDRESS` first"
        )
