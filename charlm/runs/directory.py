"""The directories of runs: where their checkpoints are, and the results kept in them. Needs no torch."""

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from charlm.callbacks.shared.archive import refuse_address
from charlm.callbacks.shared.whole_file import write_text
from charlm.runs.naming import RUNS, place_of

_log = logging.getLogger(__name__)
BEST, LAST = "best.ckpt", "last.ckpt"
"""The checkpoints of a run, in its folder `checkpoints`."""


def find_checkpoint(where: str | Path | None = None, root: str | Path = RUNS, prefer: str = BEST) -> Path:
    """Find the checkpoint file of a run: best.ckpt if the run has one, else last.ckpt, else the newest file.

    Args:
        where: a file; a run directory, or the name or number of a run in `root`; its checkpoints directory; or a
            directory of several runs, where the run with the most recently changed checkpoint is used; None: `root`.
        root: the directory of all runs.
        prefer: `BEST` or `LAST`, the file to use if a run has both.

    Raises:
        OSError: there is no checkpoint, or this user may not look into a directory.
        ValueError: an address instead of a path, a name that several runs have, or a run of an older charlm, whose
            files have other names.
    """
    refuse_address(where or "")
    place = Path(root) if where is None else place_of(where, root)
    if place.is_file():
        return place
    files = sorted(find_files(place, is_checkpoint))
    if not files:
        refuse_closed(place)
        if where is None:
            raise FileNotFoundError(f"no run under {root}; train one with `charlm fit`, or give a checkpoint file")
        missing = "has no checkpoint (*.ckpt) in it" if place.is_dir() else "does not exist"
        raise FileNotFoundError(f"{place} {missing}; pass a .ckpt file, or a run by its directory, name or number")
    newest = max(files, key=os.path.getmtime)
    if older := next(newest.parent.glob("best-step*-val*.ckpt"), None):
        raise ValueError(f"{newest.parent} is a run of an older charlm; pass one of its files, for instance {older}")
    named = [newest.with_name(name) for name in (prefer, BEST, LAST)]
    return next((file for file in named if file.is_file()), newest)


def is_checkpoint(name: str) -> bool:
    """Whether a file of that name is a checkpoint; one whose name begins with a dot is being written."""
    return name.endswith(".ckpt") and not name.startswith(".")


def find_files(place: Path, has: Callable[[str], bool]) -> Iterator[Path]:
    """The files at or below `place` with such a name, also in directories that are links; each directory once."""
    seen = set()
    for folder, below, files in os.walk(place, followlinks=True):
        if (real := os.path.realpath(folder)) in seen:  # a link that leads back up
            below.clear()
            continue
        seen.add(real)
        yield from (Path(folder, name) for name in files if has(name))


def refuse_closed(place: Path) -> None:
    """Call it where nothing was found at or below a directory, since glob passes over what may not be listed.

    Raises:
        PermissionError: there is a directory that this user may not list.
    """

    def refuse(error: OSError) -> None:
        if isinstance(error, PermissionError):
            raise error

    for _ in os.walk(place, onerror=refuse):
        pass


@contextmanager
def hold(run: Path) -> Iterator[None]:
    """Lock a run's directory, so that no other process trains in it; the directory is created if needed.

    The kernel releases the lock when the process ends, even after a kill. Windows and some file systems (Lustre, FUSE,
    some NFS) have no such locks: there the run trains without one, and a message says so, except on Windows.

    Raises:
        ValueError: another process has locked the directory.
    """
    run.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":
        yield
        return
    import fcntl

    directory = os.open(run, os.O_RDONLY)
    try:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another process is training in {run}; wait for its end, or start a new run") from None
        except OSError as error:  # ENOSYS, ENOLCK, EOPNOTSUPP, or EBADF where NFS wants a writable file
            _log.warning(
                "%s cannot be locked (%s), so nothing stops a second process from training in the same run; start only"
                " one at a time", run, error.strerror,
            )  # fmt: skip
        yield
    finally:
        os.close(directory)


def newest_first(root: str | Path) -> list[Path]:
    """The run directories in `root` that have a config.yaml, the one with the most recent change first."""
    runs = [config.parent for config in Path(root).glob("*/config.yaml") if config.is_file()]
    return sorted(runs, key=_last_written, reverse=True)


def _last_written(run: Path) -> float:
    return max((file.stat().st_mtime for file in find_files(run, lambda _: True) if file.is_file()), default=0.0)


def checkpoints_of(run: Path) -> list[Path]:
    """The checkpoint files of a run: the last state, then the best one."""
    return [file for name in (LAST, BEST) if (file := run / "checkpoints" / name).is_file()]


def whole_path(place: Path) -> Path:
    """The whole path of a directory or file, without `.` and `..`, and with its links by their own names."""
    return Path(os.path.abspath(place))


def run_directory(checkpoint: Path) -> Path:
    """The run directory of a checkpoint: the parent of its `checkpoints` folder, or the folder of the file."""
    return checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint.parent


def read_results(run: Path) -> dict[str, Any]:
    """Read the final losses in <run>/results.json, in nats per character; {} without such a file.

    Raises:
        ValueError: the file is damaged, or another program wrote it.
    """
    file = run / "results.json"
    try:
        return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}
    except (TypeError, ValueError, RecursionError):
        raise ValueError(f"{file} is not a table of results in JSON; delete it, or write it again") from None


def write_results(run: Path, losses: dict[str, Any]) -> None:
    """Write <run>/results.json completely or not at all.

    Args:
        run: the run directory.
        losses: "train", "val" and "test" in nats per character, "checkpoint" (its name) and "step"; more is allowed:
            with the facts that commands/summary.py shows, `charlm summary` does not have to open the checkpoint.
    """
    write_text(run / "results.json", json.dumps(losses, indent=2) + "\n")
