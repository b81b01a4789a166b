"""A checkpoint file, checked before torch reads it. Plain torch: no Lightning.

torch.load(weights_only=True) runs no code, but it ignores the checksums in the file. Here a file is read only if it is
the archive that torch.save writes, complete and unchanged.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

_AGAIN = "copy it again, or use another checkpoint of the run"
_WHOSE = "a Trainer's"


def read_archive(
    path: str | Path, whose: str = _WHOSE, map_location: Any = "cpu", weights_only: bool = True, advice: str = ""
) -> Any:
    """What torch.save wrote to a local file; no code from the file runs, whatever the environment says.

    Args:
        path: a local file.
        whose: what such a file is, for the messages: "a Trainer's".
        map_location: as for torch.load.
        weights_only: False: read any object, for which code from the file may run.
        advice: a sentence on other classes than those of torch, for the message where the file has some.

    Raises:
        OSError: no such file, or no permission to read it.
        ValueError: an address, a damaged or foreign file.
    """
    import torch

    refuse_address(path)
    with open(path, "rb") as file:
        _check(file, path)
        file.seek(0)
        if not weights_only:
            return torch.load(file, map_location=map_location, weights_only=False)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what torch has to say on odd contents
                return torch.load(file, map_location=map_location, weights_only=True)
        except Exception:  # a foreign file can fail in any way, and torch's own text advises to drop the protection
            names = foreign_names(path)
        found = f" ({names[0]}){advice}" if names else ""
        refused = "will not be read" if found and advice else f"is not {whose}"
        raise ValueError(
            f"{path} {refused}: it holds more than tensors and plain values; none of it ran{found}"
        ) from None


def refuse_address(path: str | Path) -> None:
    """Local files only.

    Raises:
        ValueError: an address.
    """
    if re.match(r"[A-Za-z][\w+.-]+:+/", str(path)):
        raise ValueError(
            f"{path} is an address; checkpoints are read and written as local files only: download it first and pass"
            " its path, or write to a folder of this machine"
        )


def _check(file: IO[bytes], path: str | Path) -> None:
    head = file.read(512)
    if not head:
        raise ValueError(f"{path} is empty (0 bytes); {_AGAIN}")
    if not zipfile.is_zipfile(file):
        if head.startswith(b"PK"):
            raise ValueError(f"{path} is cut short, its end is missing; {_AGAIN}")
        kind = "a web page or the like" if head.lstrip().startswith(b"<") else "some other file"
        raise ValueError(f"{path} is {kind}, not a checkpoint; pass a .ckpt file that a training wrote")
    try:
        is_whole = _is_whole(file)
    except Exception:  # zipfile raises half a dozen unrelated types for a damaged directory
        is_whole = False
    if not is_whole:
        raise ValueError(f"{path} is damaged, or torch.save did not write it; {_AGAIN}")


def _is_whole(file: IO[bytes]) -> bool:
    """Whether all parts of the archive are as torch.save writes them, with the right checksums."""
    with zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
        return (
            all(part.compress_type == zipfile.ZIP_STORED for part in parts)
            and not any(part.external_attr for part in parts)  # torch would read a part marked as a folder as empty
            and archive.testzip() is None
        )


def foreign_names(file: str | Path | IO[bytes]) -> list[str]:
    """The classes and functions in a file that `weights_only=True` refuses, if that can be told; nothing is read."""
    import torch

    with suppress(Exception):
        names = torch.serialization.get_unsafe_globals_in_checkpoint(file)
        return [f"{ascii(name)[1:-1]:.80}" for name in sorted(names)]
    return []
