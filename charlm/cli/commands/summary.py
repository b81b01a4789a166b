"""`charlm summary`: settings and losses of runs, side by side."""

import math
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charlm.cli.table import Cell, Format, Table, render
from charlm.cli.terminal_text import display_width, terminal_width
from charlm.messages import did_you_mean, visible
from charlm.runs.checkpoint_facts import checkpoint_facts
from charlm.runs.directory import (
    BEST,
    find_checkpoint,
    find_files,
    is_checkpoint,
    read_results,
    refuse_closed,
    run_directory,
    whole_path,
)
from charlm.runs.load_checkpoint import Checkpoint
from charlm.runs.naming import RUNS, place_of
from charlm.runs.settings import read_settings

FACTS = ("model", "block_size", "n_embd", "n_hidden", "parameters")
LOSSES = ("train", "val", "test")
OF_TRAINING = ("steps", "best_step", "last_val", "new", "seconds")
MOST_LABELS = 12  # whose losses are shown; results.json has those of all
_OF_LIST = ("split", "split_by", "split_seed", "pad")  # without which losses on a list cannot be compared
_CUT_FIRST = ("parameters", "seconds", "last_val", "new")  # in a narrow terminal
_CUT_LAST = ("model", "lr", "milestones", "optimizer", "n_hidden", "batch_size", "schedule", "steps", "best_step")


@dataclass(frozen=True)
class Run:
    """A run in the table.

    Args:
        path: its directory.
        names: what tells its list of names from others: the fingerprint, or else the file, and how it is split.
        title: of the list, such as "names.txt (4,002 names, split_by pair)".
        facts: its settings and results, by column.
        note: of the user.
    """

    path: Path
    names: str
    title: str
    facts: Mapping[str, Cell]
    note: str


def summary(runs: list[str] | None = None, format: Format = "text", sort: str = "val", csv: bool = False) -> None:
    """Print the settings and the losses of runs in nats per character; the lowest validation loss has a *.

    There is a table for each list of names and way to split it, since other losses cannot be compared. What all its
    runs have in common is said above it. The losses are those of the best checkpoint; best_step is its step, and
    last_val the last validation loss; new is the share of new names among those sampled last in training; steps are
    optimizer steps.

    Args:
        runs: runs by directory, name or number, or directories with runs below them; by default lightning_logs.
        format: text (as wide as the terminal), markdown or csv.
        sort: the column by which to sort, such as val, run, lr or seconds.
        csv: the same as --format csv: all columns of all runs in one table.

    Raises:
        OSError: no such directory, or no run in it.
        ValueError: no column to sort by, or a name that several runs have.
    """
    places = [run for place in runs or [RUNS] for run in find_runs(place_of(place))]
    found = _sorted([read_run(run) for run in dict.fromkeys(places)], sort)
    if csv or format == "csv":
        print(render(_whole_table(found), "csv"))
        return
    lists = dict.fromkeys(run.names for run in found)
    print("\n\n".join(_of_list([run for run in found if run.names == names], format) for names in lists))


def summary_table(runs: Iterable[Path]) -> Table:
    """The table of runs with model, size and losses; the lowest val loss first, unknown losses last.

    What <run>/results.json does not have comes from the run's checkpoint. A damaged results.json is
    named on stderr.
    """
    rows = _sorted([read_run(run) for run in runs], "val")
    columns = ("model", "parameters", *LOSSES)
    names = _names(rows)
    return Table(("run", *columns), [[names[run.path], *(run.facts.get(key) for key in columns)] for run in rows])


def find_runs(place: Path) -> list[Path]:
    """The runs at or below a directory, which have a checkpoint or results, sorted by path.

    Raises:
        FileNotFoundError: no such directory, or no run in it.
    """
    results, checkpoints = find_files(place, lambda name: name == "results.json"), find_files(place, is_checkpoint)
    runs = sorted({*[file.parent for file in results], *map(run_directory, checkpoints)})
    if not runs:
        refuse_closed(place)
        missing = "holds no run" if place.is_dir() else "is not a directory"
        raise FileNotFoundError(f"{place} {missing}; train one with `charlm fit`, or give a directory with runs")
    return runs


def net_facts(checkpoint: Checkpoint) -> dict[str, Any]:
    """The `FACTS` of a net that it has, for the table and for results.json."""
    from charlm.nets.interface import parameter_count  # it imports torch, which the table does without

    net = checkpoint.net
    return {
        **{key: size for key in ("n_embd", "n_hidden") if type(size := checkpoint.hyperparameters.get(key)) is int},
        "model": checkpoint.model,
        "block_size": checkpoint.net_args.get("block_size", net.block_size),  # without the place of a label
        "parameters": parameter_count(net),
    }


def read_run(path: Path) -> Run:
    """The settings and results of a run, from its results.json, its config.yaml and its checkpoint."""
    results: dict[str, Any] = {}
    try:
        results = read_results(path)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
    if not {"parameters", "sha256"} <= results.keys():
        with suppress(OSError, ValueError):  # a run without a readable checkpoint still gets a line
            file = find_checkpoint(path)
            facts = checkpoint_facts(file)
            results = {**facts, "step": facts.get("step") if file.name == BEST else None, **results}
    logged = results.get("settings")
    settings = {**read_settings(path), **(logged if isinstance(logged, dict) else {})}
    title = str(settings.pop("data.path", "")) or ("charlm's own list" if settings else "a list that is not known")
    names, count = results.get("sha256"), results.get("names")
    of_split = [f"{key} {settings[f'data.{key}']}" for key in _OF_LIST if f"data.{key}" in settings]
    of_list = [f"{count:,} names"] if isinstance(count, int) else []
    of_list += of_split
    results["steps"], results["best_step"] = results.get("ended"), results.get("step")
    known = {key: results[key] for key in (*FACTS, *LOSSES, *OF_TRAINING) if key in results}
    by_label = results.get("val_by_label")
    by_label = by_label if isinstance(by_label, dict) and len(by_label) <= MOST_LABELS else {}
    labelled = {f"val {label}": loss for label, loss in by_label.items()}
    every = {**dict.fromkeys(FACTS), **_by_last_word(settings), **known, **labelled}
    return Run(
        path,
        ", ".join([names if isinstance(names, str) else title, *of_split]),
        f"{title} ({', '.join(of_list)})" if of_list else title,
        {key: value for key, value in every.items() if isinstance(value, int | float | str)},
        str(results.get("note") or ""),
    )


def _by_last_word(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings by the last word of their names, where no other one has it: lr for model.lr."""
    words = [key.rpartition(".")[2] for key in settings]
    return {word if words.count(word) == 1 else key: settings[key] for word, key in zip(words, settings, strict=True)}


def _sorted(runs: list[Run], column: str) -> list[Run]:
    known = ("run", *dict.fromkeys((*LOSSES, *OF_TRAINING, *(key for run in runs for key in run.facts))))
    if column not in known:
        raise ValueError(f"--sort is {column!r}; the columns are {', '.join(known)}{did_you_mean(column, known)}")

    def order(run: Run) -> tuple[bool, float, str]:
        value = run.path.name if column == "run" else run.facts.get(column)
        number = float(value) if isinstance(value, int | float) and not math.isnan(value) else math.inf
        return value is None or value != value, number, str(value)

    return sorted(runs, key=order)


def _names(runs: Sequence[Run]) -> dict[Path, str]:
    """The name of each run, or its path where several have the name."""
    names = [whole_path(run.path).name for run in runs]
    return {run.path: name if names.count(name) == 1 else str(run.path) for run, name in zip(runs, names, strict=True)}


def _whole_table(runs: Sequence[Run]) -> Table:
    first = (*FACTS, *LOSSES, *OF_TRAINING)
    settings = dict.fromkeys(key for run in runs for key in run.facts if key not in first)
    names = _names(runs)
    rows = [
        [names[run.path], *(_exact(run.facts.get(key)) for key in (*first, *settings)), run.title, run.note or None]
        for run in runs
    ]
    return Table(("run", *first, *settings, "data", "note"), rows)


def _of_list(runs: Sequence[Run], format: Format) -> str:
    """The runs on one list of names: what they have in common, a table of the rest, and their notes."""
    names = _names(runs)
    columns = dict.fromkeys(key for run in runs for key in run.facts if key not in _OF_LIST)
    same = [key for key in columns if key not in LOSSES and len({run.facts.get(key) for run in runs}) == 1]
    differ = [key for key in columns if key not in (*same, *LOSSES, *OF_TRAINING)]
    shown = [*differ, *(key for key in OF_TRAINING if key in columns and key not in same), *LOSSES]
    lowest = min((val for run in runs if isinstance(val := run.facts.get("val"), float)), default=None)

    def table(keys: Sequence[str]) -> Table:
        header = ["run", *keys, *[""] * (lowest is not None)]
        marks = [["*" if run.facts.get("val") == lowest else ""] * (lowest is not None) for run in runs]
        rows = [[names[run.path], *(shown_cell(key, run.facts.get(key)) for key in keys)] for run in runs]
        return Table(header, [[*row, *mark] for row, mark in zip(rows, marks, strict=True)])

    left_out, width = [], terminal_width()
    if format == "text":
        others = [key for key in reversed(shown) if key not in (*_CUT_FIRST, *_CUT_LAST, *LOSSES)]
        order = [key for key in (*_CUT_FIRST, *others, *reversed(_CUT_LAST)) if key in shown]
        while order and _narrowest(table(shown)) > width:
            shown.remove(order[0])
            left_out.append(order.pop(0))
    common = ", ".join(f"{key} {_spelled(shown_cell(key, runs[0].facts.get(key)))}" for key in same)
    title = f"{runs[0].title}: {common}" if common else runs[0].title
    text = render(table(shown), format, width if format == "text" else None)
    notes = [f"{names[run.path]}: {visible(run.note)}" for run in runs if run.note]
    notes += [f"Not shown here: {', '.join(left_out)}; --csv has all columns"] * bool(left_out)
    above, below = (
        [line for part in parts for line in textwrap.wrap(part, width)] for parts in ([visible(title)], notes)
    )
    return "\n".join([*above, "", text, *([""] if below else []), *below])


def _narrowest(table: Table) -> int:
    """The width of a table whose columns are one space apart; they are two apart if there is room."""
    return max(map(display_width, render(table).splitlines())) - len(table.header) + 1


def shown_cell(key: str, value: Cell) -> Cell:
    """A cell of the table: losses have four decimals, shares of names are percentages, other numbers as they are."""
    if key in (*LOSSES, "last_val") or not isinstance(value, float):
        return value
    return f"{value:.0%}" if key == "new" else f"{value:.0f}" if key == "seconds" else f"{value:.4g}"


def _spelled(value: Cell) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}" if isinstance(value, float) else str(value)


def _exact(value: Cell) -> Cell:
    return f"{value:.6g}" if isinstance(value, float) else value
