"""`charlm summary`: hyperparameters and losses of runs, side by side."""

import math
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from charlm.cli.table import Format, Table, render
from charlm.nets.interface import parameter_count
from charlm.runs.checkpoint_facts import checkpoint_facts
from charlm.runs.checkpoint_file import Checkpoint
from charlm.runs.directory import find_checkpoint, read_results, run_directory

FACTS = ("model", "block_size", "n_embd", "n_hidden", "parameters")
LOSSES = ("train", "val", "test")
_WIDTH = 80


def summary(runs: list[str] | None = None, format: Format = "text") -> None:
    """Print a table of runs: model, sizes, and final losses in nats per character, the lowest val loss first.

    Args:
        runs: run directories, or directories with runs below them; by default lightning_logs.
        format: text (80 columns), markdown or csv.

    Raises:
        OSError: no such directory, or no run in it.
    """
    found = [run for place in runs or ["lightning_logs"] for run in find_runs(Path(place))]
    print(render(summary_table(list(dict.fromkeys(found))), format, _WIDTH))


def summary_table(runs: Iterable[Path]) -> Table:
    """The table of runs with model, sizes and final losses; the lowest val loss first, unknown losses last.

    What <run>/results.json does not have comes from the run's checkpoint. A damaged results.json is
    named on stderr.
    """
    rows = [(run, _facts(run)) for run in runs]
    rows.sort(key=lambda row: val if isinstance(val := row[1].get("val"), int | float) and val == val else math.inf)
    names = [run.resolve().name for run, _ in rows]
    shown = names if len(set(names)) == len(names) else [str(run) for run, _ in rows]
    cells = [[facts.get(column) for column in (*FACTS, *LOSSES)] for _, facts in rows]
    return Table(("run", *FACTS, *LOSSES), [[name, *row] for name, row in zip(shown, cells, strict=True)])


def find_runs(place: Path) -> list[Path]:
    """The runs at or below a directory, which have a checkpoint or results, sorted by path.

    Raises:
        FileNotFoundError: no such directory, or no run in it.
    """
    checkpoints = [run_directory(file) for file in place.rglob("*.ckpt") if not file.name.startswith(".")]
    runs = sorted({*checkpoints, *[file.parent for file in place.rglob("results.json")]})
    if not runs:
        missing = "holds no run" if place.is_dir() else "is not a directory"
        raise FileNotFoundError(f"{place} {missing}; train one with `charlm fit`, or give a directory with runs")
    return runs


def net_facts(checkpoint: Checkpoint) -> dict[str, Any]:
    """The `FACTS` of a net that it has, for the table and for results.json."""
    net = checkpoint.net
    return {
        **{key: size for key in ("n_embd", "n_hidden") if type(size := checkpoint.hyperparameters.get(key)) is int},
        "model": checkpoint.model,
        "block_size": net.block_size,
        "parameters": parameter_count(net),
    }


def _facts(run: Path) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    try:
        facts = {key: value for key, value in read_results(run).items() if isinstance(value, int | float | str)}
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
    if "parameters" not in facts:
        with suppress(OSError, ValueError):  # a run without a readable checkpoint still gets a line
            facts = {**checkpoint_facts(find_checkpoint(run)), **facts}
    return facts
