"""The directories of runs: where their checkpoints are, and the results kept in them. Needs no torch."""

import json
import os
import re
from pathlib import Path
from typing import Any


def find_checkpoint(
    where: str | Path | None = None, root: str | Path = "lightning_logs", prefer: tuple[str, ...] = ("best", "last")
) -> Path:
    """The checkpoint file that is meant.

    In a run it is the newest `best*.ckpt`, else the newest `last*.ckpt`, else the newest one; of several runs, the one
    whose checkpoints changed last.

    Args:
        where: a file; a run directory, its checkpoints directory or one of several runs; None: the newest in `root`.
        root: where runs are kept.
        prefer: how the names of the files of a run begin, the wanted ones first.

    Raises:
        FileNotFoundError: there is none.
        ValueError: an address instead of a path.
    """
    if where is not None and re.match(r"[A-Za-z]\w+:/", str(where)):
        raise ValueError(f"{where} is an address; charlm loads local files only: download it first and pass its path")
    place = Path(root if where is None else where)
    if place.is_file():
        return place
    files = sorted(file for file in place.rglob("*.ckpt") if not file.name.startswith("."))
    if not files:
        if where is None:
            raise FileNotFoundError(f"no run under {root}; train one with `charlm fit`, or give a checkpoint file")
        missing = "has no checkpoint (*.ckpt) in it" if place.is_dir() else "does not exist"
        raise FileNotFoundError(f"{place} {missing}; pass a .ckpt file or the directory of a run")
    newest = max(files, key=os.path.getmtime)
    siblings = [file for file in files if file.parent == newest.parent]
    for stem in prefer:
        if named := [file for file in siblings if file.name.startswith(stem)]:
            return max(named, key=os.path.getmtime)
    return newest


def run_directory(checkpoint: Path) -> Path:
    """The run a checkpoint belongs to: the directory above its `checkpoints`, else the one it lies in."""
    return checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint.parent


def read_results(run: Path) -> dict[str, Any]:
    """The final losses in <run>/results.json, nats per character; {} where there are none.

    Raises:
        ValueError: the file is not what `write_results` writes.
    """
    file = run / "results.json"
    try:
        return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}
    except (TypeError, ValueError):
        raise ValueError(f"{file} is not a table of results in JSON; delete it, or write it again") from None


def write_results(run: Path, losses: dict[str, Any]) -> None:
    """Write <run>/results.json, whole or not at all.

    Args:
        run: the run directory.
        losses: "train", "val" and "test" in nats per character, "checkpoint" (its name) and "step". More is welcome:
            the facts of commands/summary.py, if they stand here, spare `charlm summary` opening the checkpoint.
    """
    run.mkdir(parents=True, exist_ok=True)
    partial = run / ".results.json.partial"
    partial.write_text(json.dumps(losses, indent=2) + "\n", encoding="utf-8")
    os.replace(partial, run / "results.json")
