"""Names from the network, fetched once and kept in the user's cache directory."""

import hashlib
import os
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError

from torch.hub import download_url_to_file

MAKEMORE = "makemore"
MAKEMORE_ADDRESS = "https://raw.githubusercontent.com/karpathy/makemore/master/names.txt"
MAKEMORE_SHA256 = "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d"


def is_address(path: str) -> bool:
    """Whether `path` names something to download: "makemore" or an http(s) address."""
    return path == MAKEMORE or path.startswith(("http://", "https://"))


def cache_directory() -> Path:
    """Where downloads are kept: $XDG_CACHE_HOME/charlm, by default ~/.cache/charlm."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "charlm"


def download(source: str) -> Path:
    """The local copy of `source`, downloaded with a progress bar if there is none yet.

    Args:
        source: "makemore", which is checked against its SHA-256, or an http(s) address.

    Raises:
        OSError: no network, no such file there, or no room; the message says how to pass a file instead.
        ValueError: what came is not the course's file.
    """
    address, sha256 = (MAKEMORE_ADDRESS, MAKEMORE_SHA256) if source == MAKEMORE else (source, None)
    kept = (
        cache_directory() / f"{hashlib.sha256(address.encode()).hexdigest()[:12]}-{Path(address).name or 'names.txt'}"
    )
    if kept.is_file() and (sha256 is None or hashlib.sha256(kept.read_bytes()).hexdigest() == sha256):
        return kept
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        download_url_to_file(address, str(kept), hash_prefix=sha256, progress=True)
    except (OSError, HTTPException) as error:
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
    return kept
