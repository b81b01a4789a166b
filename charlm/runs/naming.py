"""What runs are called: a number that no other run has, and a few words, as in 007-mlp-lr0.3. Needs no torch."""

import re
from collections.abc import Iterator
from pathlib import Path

RUNS = "lightning_logs"
"""The directory of all runs."""

_RUN = re.compile(r"version_(\d+)|(\d{3,})(?:-(.+))?")  # an older charlm called its runs version_N
_NAME = re.compile(r"(?=.*[^\W\d_])[\w.-]{0,39}\w")
_TAKEN = ("auto", "last", "best", "null", "true", "false", "checkpoints")  # by --resume, --ckpt_path and YAML


def claim_run(root: Path, words: str) -> str:
    """Create the directory of a new run in `root`, and return its name; its number is 1 or more.

    Processes that do so at the same time get different numbers: mkdir lets only one of them make a directory with the
    bare number, which then gets its words too.

    Args:
        root: the directory of all runs; created if missing.
        words: what follows the number.

    Raises:
        OSError: no directory can be made there.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        number = max((of_run for of_run, _, _ in _numbered(root)), default=0) + 1
        while not _is_claimed(root, number):
            number += 1
        (root / f"{number:03}").rename(root / f"{number:03}-{words}")
    except OSError as error:
        cause = "is a file" if root.is_file() else f"cannot take another run ({error.strerror})"
        raise OSError(f"{root} {cause}; move it, or give another folder as --trainer.default_root_dir") from None
    return f"{number:03}-{words}"


def find_run(named: str, root: str | Path = RUNS) -> Path | None:
    """The run in `root` with this name, number, or name without its number; None: there is none.

    Args:
        named: such as "007-mlp-lr0.3", "7" or "mlp-lr0.3"; "version_7" and "7" for the runs of an older charlm.
        root: the directory of all runs.

    Raises:
        ValueError: several runs are meant.
    """
    if named in ("", "..") or Path(named).name != named:
        return None
    if (exact := Path(root) / named).is_dir():
        return exact
    number = int(named) if named.isdecimal() else -1
    found = sorted(
        run for of_run, words, run in _numbered(Path(root)) if words and (of_run == number or words == named)
    )
    if len(found) > 1:
        listed = ", ".join(run.name for run in found)
        raise ValueError(f"{named} may be any of the runs {listed}; give its whole name")
    return next(iter(found), None)


def place_of(named: str | Path, root: str | Path = RUNS) -> Path:
    """The path that is given, or where there is none, the run in `root` with this name or number.

    Raises:
        ValueError: several runs are meant.
    """
    place = Path(named)
    return place if place.exists() else find_run(str(named), root) or place


def words_of(run: Path) -> str:
    """The name of a run without its number: "mlp-lr0.3" for 007-mlp-lr0.3, "" for version_7."""
    return match[3] or "" if (match := _RUN.fullmatch(run.name)) else ""


def check_name(name: str) -> None:
    """Refuse a --name that could not be the name of a directory, or that would mean another run.

    Raises:
        ValueError: such a name.
    """
    if not _NAME.fullmatch(name) or name in _TAKEN or _RUN.fullmatch(name):
        raise ValueError(
            f"--name is {name!r:.100}; give at most 40 letters, digits, dots, dashes and underscores, with a letter"
            f" among them, that do not end in a dot or dash, and none of {', '.join(_TAKEN)}"
        )


def _numbered(root: Path) -> Iterator[tuple[int, str, Path]]:
    """The number, the words and the directory of each run; the words of version_N are its name."""
    for folder in root.iterdir() if root.is_dir() else ():
        if match := _RUN.fullmatch(folder.name):
            yield int(match[1] or match[2]), folder.name if match[1] else match[3] or "", folder


def _is_claimed(root: Path, number: int) -> bool:
    """Whether this process has made the directory of the bare number, and no run has the number already."""
    claimed = root / f"{number:03}"
    try:
        claimed.mkdir()
    except FileExistsError:
        return False
    if any(of_run == number for of_run, words, _ in _numbered(root) if words):  # it got its words just before
        claimed.rmdir()
        return False
    return True
