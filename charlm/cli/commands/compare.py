"""`charlm compare`: a few runs side by side, in the terminal, as a picture and as a page of TensorBoard."""

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from charlm.callbacks.shared.markdown import cell as escape
from charlm.callbacks.shared.render import add_picture_file
from charlm.cli.commands.plot import chosen_runs, distinct_names, file_format, file_of, picture_of
from charlm.cli.commands.sample import first_names
from charlm.cli.commands.summary import LOSSES, OF_TRAINING, Run, read_run, shown_cell
from charlm.cli.out_file import write_out
from charlm.cli.table import Table, render
from charlm.cli.terminal_text import cut, display_width, terminal_width
from charlm.runs.directory import whole_path
from charlm.runs.events import event_files
from charlm.runs.load_checkpoint import load_checkpoint

MOST = 6  # columns that can be read in 80 cells
_RESULTS = (*LOSSES, *OF_TRAINING)


def compare(runs: list[str], n: int = 10, out: str = "compare.png") -> None:
    """Compare runs: the settings that differ, their losses, their curves in one picture, and the names they draw.

    Runs on different lists of names, or with different splits, have a panel for each, as their losses cannot be
    compared.

    The same is added to TensorBoard as a run of its own, beside the first of the runs: the picture under Images, the
    tables under Text.

    Args:
        runs: two to six runs by directory, name or number.
        n: names to draw from each run, with the same seed.
        out: the file for the picture, whose ending is the format: png, svg, pdf and others; an existing file is
            overwritten.

    Raises:
        OSError: no such run.
        ValueError: fewer than two or more than six runs, runs without losses, or an unknown format.
    """
    places = chosen_runs(runs)
    if not 2 <= len(places) <= MOST:
        raise ValueError(
            f"compare takes 2 to {MOST} runs, not {len(places)}; `charlm summary` has a table of any number"
        )
    kind = file_format(Path(out))
    found, names = [read_run(place) for place in places], list(distinct_names(places).values())
    panels = None if _one_list(found) else {run.path: run.title for run in found}
    figure = picture_of(places, panels=panels)
    of = "of the best checkpoints" if _one_list(found) else "not to be compared: the names or their splits differ"
    sections = {
        "Settings that differ": _settings(found, names),
        f"Losses in nats per character, {of}": _losses(found, names),
        f"The first {n} names drawn with seed 0": _samples(places, names, n),
    }
    sections = {title: table for title, table in sections.items() if table.rows}
    print("\n\n".join(f"{title}:\n\n{_in_terminal(table)}" for title, table in sections.items()))
    write_out(Path(out), file_of(figure, kind))
    print(f"\nPicture      {out}")
    text = "\n\n".join(f"**{title}**\n\n{_in_markdown(table)}" for title, table in sections.items())
    page = _add_to_tensorboard(places, file_of(figure, "png"), text)
    print(f"TensorBoard  {min(os.path.relpath(page), str(page), key=len)}")


def _settings(runs: Sequence[Run], names: Sequence[str]) -> Table:
    keys = dict.fromkeys(key for run in runs for key in run.facts if key not in _RESULTS)
    facts = [{**run.facts, "names": run.title} for run in runs]
    differ = [key for key in ("names", *keys) if len({of_run.get(key) for of_run in facts}) > 1]
    return Table(("", *names), [[key, *(shown_cell(key, of_run.get(key)) for of_run in facts)] for key in differ])


def _losses(runs: Sequence[Run], names: Sequence[str]) -> Table:
    """A row for each result that a run has, the val loss first."""
    keys = dict.fromkeys(key for key in ("val", *_RESULTS) if any(key in run.facts for run in runs))
    rows = [[key, *(shown_cell(key, run.facts.get(key)) for run in runs)] for key in keys]
    vals = [run.facts.get("val") for run in runs]
    known = [val for val in vals if isinstance(val, float)]
    if len(known) > 1 and _one_list(runs):
        behind = [val - min(known) if isinstance(val, float) else None for val in vals]
        rows.insert(1, ["val above the lowest", *behind])
    return Table(("", *names), rows)


def _one_list(runs: Sequence[Run]) -> bool:
    return len({run.names for run in runs}) == 1


def _samples(places: Sequence[Path], names: Sequence[str], n: int) -> Table:
    """A column for each run that has a checkpoint; the others are named on stderr."""
    columns = {}
    for place, name in zip(places, names, strict=True):
        try:
            checkpoint = load_checkpoint(place)
        except (OSError, ValueError) as error:
            print(f"no names of {name}: {error}", file=sys.stderr)
            continue
        columns[name] = [" ".join(filter(None, labelled)) for labelled in first_names(checkpoint, n)]
    return Table(tuple(columns), [list(row) for row in zip(*columns.values(), strict=True)])


def _in_terminal(table: Table) -> str:
    """The table, as wide as the terminal; long texts are cut at their ends, as names of runs begin with numbers."""
    labels = 1 if table.header[0] == "" else 0
    taken = max(display_width(str(row[0])) for row in table.rows) if labels else 0
    most = (terminal_width() - taken) // (len(table.header) - labels) - 2
    rows = [
        [*row[:labels], *(cut(cell, most) if isinstance(cell, str) else cell for cell in row[labels:])]
        for row in table.rows
    ]
    return render(Table([cut(name, most) for name in table.header], rows))


def _in_markdown(table: Table) -> str:
    rows = [[escape(cell) if isinstance(cell, str) else cell for cell in row] for row in table.rows]
    return render(Table([name and escape(name) for name in table.header], rows), "markdown")


def _add_to_tensorboard(places: Sequence[Path], png: bytes, text: str) -> Path:
    """Write the page into compare-A-B beside the first run, in place of an earlier one; return that directory."""
    from torch.utils.tensorboard import SummaryWriter

    words = [re.match(r"(\d{3,})-", whole_path(place).name) for place in places]
    called = [word[1] if word else whole_path(place).name for word, place in zip(words, places, strict=True)]
    folder = whole_path(places[0]).parent / f"compare-{'-'.join(called)}"
    earlier = event_files(folder)
    with SummaryWriter(str(folder)) as writer:
        writer.add_text("compare", text, 0)
        add_picture_file(writer.file_writer, png, "compare/losses", 0)
    for file in earlier:
        file.unlink()
    return folder
