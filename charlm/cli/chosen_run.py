"""The checkpoint that a command works on."""

import sys
from pathlib import Path

from charlm.runs.directory import run_directory
from charlm.runs.load_checkpoint import Checkpoint, load_checkpoint
from charlm.runs.naming import place_of


def load_chosen(named: str | None) -> Checkpoint:
    """Load the checkpoint that the user named, or that of the newest run, which is then named on standard error.

    Args:
        named: a file, a run by directory, name or number, a directory of several runs, or None for all runs.

    Raises:
        OSError, ValueError: as `load_checkpoint`.
    """
    checkpoint = load_checkpoint(named)
    run = run_directory(checkpoint.path)
    if named is None or place_of(named) not in (checkpoint.path, checkpoint.path.parent, run):
        shown = run if run != Path() else checkpoint.path
        print(f"From the newest run, {shown} ({checkpoint.model}, step {checkpoint.step:,})", file=sys.stderr)
    return checkpoint
