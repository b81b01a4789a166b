"""`charlm plot`: the loss curves of runs in one picture."""

import io
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from charlm.cli.out_file import write_out
from charlm.runs.curves import MOST_RUNS, Curve, loss_curves
from charlm.runs.directory import refuse_closed, whole_path
from charlm.runs.events import Drop, Scalars, is_rate, rate_drops
from charlm.runs.logged import find_logged_runs, last_logged, read_logged
from charlm.runs.naming import RUNS, place_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TAGS = ("loss/train", "loss/val")
_LEFT_OUT = {"pgf", "raw", "rgba"}  # formats of matplotlib that need LaTeX, or are pixels without a size


def plot(runs: list[str] | None = None, out: str = "loss.png", train: str = _TAGS[0], val: str = _TAGS[1]) -> None:
    """Draw the loss curves of runs in one picture: train thin, val thick, its lowest point, and where the rate drops.

    It reads the event files of TensorBoard and the metrics.csv of CSVLogger, also of other programs and of runs that
    are still training.

    Args:
        runs: runs by directory, name or number, or directories with runs below them; by default the newest run in
            lightning_logs.
        out: the file to write, whose ending is the format: png, svg, pdf and others; an existing file is overwritten.
        train: the tag of the training loss.
        val: the tag of the validation loss.

    Raises:
        OSError: no such directory, or no run in it.
        ValueError: an unknown format, a run without losses, or too many runs for one picture.
    """
    file = Path(out)
    kind = file_format(file)
    figure = picture_of(chosen_runs(runs), train, val, named=list(map(place_of, runs or [])))
    write_out(file, file_of(figure, kind))
    print(file)


def picture_of(
    runs: Sequence[Path],
    train: str = _TAGS[0],
    val: str = _TAGS[1],
    named: Sequence[Path] | None = None,
    panels: Mapping[Path, str] | None = None,
) -> "Figure":
    """The loss curves of runs as a Figure; a run without any is left out with a message on stderr.

    Args:
        runs: different directories of runs.
        train: the tag of the training loss.
        val: the tag of the validation loss.
        named: the runs that must have curves; None: all.
        panels: for each run the title of its panel, where losses cannot be compared; None: one panel.

    Raises:
        ValueError: a run of `named` has no curves, or none has; or no run has a tag that is not the usual one.
    """
    read = {run: _read(run, (train, val)) for run in runs}
    _check_tags(read, (train, val))
    curves = _curves(read, {"train": train, "val": val}, runs if named is None else named)
    names = distinct_names(list(curves))
    unit = " (nats per character)" * all(map(_is_charlms, curves))
    return loss_curves(
        {names[run]: of_run for run, of_run in curves.items()},
        {names[run]: _annotations(read[run]) for run in curves},
        f"loss{unit}" if (train, val) == _TAGS else f"{train}, {val}",
        best="loss" in val,
        panels=None if panels is None else {names[run]: panels[run] for run in curves},
    )


def file_of(figure: "Figure", kind: str) -> bytes:
    """A figure as a file of a format that `file_format` knows."""
    picture = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # letters without a font are drawn as boxes
        figure.savefig(picture, format=kind)
    return picture.getvalue()


def distinct_names(runs: Sequence[Path]) -> dict[Path, str]:
    """The name of each directory, with as many of its parents as it takes to make the names different.

    Args:
        runs: different directories.
    """
    parts = {run: whole_path(run).parts for run in runs}
    names = {}
    for run, own in parts.items():
        depth = 1
        while any(other[-depth:] == own[-depth:] for each, other in parts.items() if each is not run):
            depth += 1
        names[run] = "/".join(own[-depth:])
    return names


def spell_drops(drops: Sequence[Drop]) -> str:
    """The label of a step at which the learning rate drops, such as "lr 0.1 → 0.01 at 15,000".

    Args:
        drops: the drop of each parameter group at this step; the label says what they have in common.
    """
    step, before, after = drops[0]
    if len({f"{before:.3g} {after:.3g}" for _, before, after in drops}) == 1:
        return f"lr {before:.3g} → {after:.3g} at {step:,}"
    same = len({f"{after / before:.3g}" for _, before, after in drops}) == 1
    return f"lr times {after / before:.3g} at {step:,}" if same else f"lr drops at {step:,}"


def chosen_runs(runs: list[str] | None) -> list[Path]:
    """The runs that a user named, each once; without any, the newest one.

    Raises:
        FileNotFoundError: a directory without a run.
        ValueError: too many runs for one picture.
    """
    places = list(map(place_of, runs)) if runs else [_newest(_runs(Path(RUNS)))]
    found = {run.resolve(): run for place in places for run in _runs(place)}
    if len(found) > MOST_RUNS:
        raise ValueError(f"{len(found)} runs in one picture cannot be told apart; name {MOST_RUNS} at most")
    return list(found.values())


def _newest(logged: Sequence[Path]) -> Path:
    """The newest run; `compare` and `lr-find` log in directories without a config."""
    runs = [run for run in logged if (run / "config.yaml").is_file()]
    return max(runs or logged, key=last_logged)


def _runs(place: Path) -> list[Path]:
    """The directory itself if it has event files, else all runs below it."""
    below = find_logged_runs(place)
    if not below:
        refuse_closed(place)
        missing = "holds no run with event files or a metrics.csv" if place.is_dir() else "is not a directory"
        raise FileNotFoundError(f"{place} {missing}; train one with `charlm fit`, or give a directory with runs")
    return [place] if place in below else below


def _read(run: Path, tags: tuple[str, str]) -> Scalars:
    """The losses and rates of a run; damaged files are named on stderr."""
    scalars = read_logged(run, lambda tag: tag in tags or is_rate(tag))
    for note in scalars.notes:
        print(note, file=sys.stderr)
    return scalars


def _check_tags(read: dict[Path, Scalars], tags: tuple[str, str]) -> None:
    """Refuse a tag from the command line that no run has."""
    known = sorted({tag for scalars in read.values() for tag in scalars.tags})
    for option, tag, default in zip(("train", "val"), tags, _TAGS, strict=True):
        if tag != default and tag not in known:
            raise ValueError(f"--{option} is {tag!r}, which no run has; the tags are {', '.join(known) or 'none'}")


def _curves(read: dict[Path, Scalars], tags: dict[str, str], named: Sequence[Path]) -> dict[Path, dict[str, Curve]]:
    """The curves of each run that has any. A message on stderr names runs without curves or without a training loss.

    Raises:
        ValueError: a run that the user named has no curves, or no run has any.
    """
    curves: dict[Path, dict[str, Curve]] = {}
    for run, scalars in read.items():
        of_run: dict[str, Curve] = {
            part: scalars.curves[tag]
            for part, tag in tags.items()
            if tag in scalars.curves and np.isfinite(scalars.curves[tag][1]).any()
        }
        if of_run:
            curves[run] = of_run
        if of_run and tags["train"] not in scalars.curves:
            print(
                f"{run} has no {tags['train']}, so only {tags['val']} is drawn. The training loss is logged every"
                " --trainer.log_every_n_steps steps: train for longer, or lower that number",
                file=sys.stderr,
            )
    for run in (run for run in read if run not in curves):
        if not read[run].tags and run not in named and curves:
            continue  # as the page of `charlm compare`
        known = ", ".join(read[run].tags)
        there = f"it has {known}: name two by --train and --val" if known else "it has no scalars at all"
        kind = "finite " * any(tag in read[run].curves for tag in tags.values())
        message = f"{run} has no {kind}{' or '.join(tags.values())}; {there}"
        if run in named or not curves:
            raise ValueError(message)
        print(message, file=sys.stderr)
    return curves


def _annotations(scalars: Scalars) -> dict[float, str]:
    drops = rate_drops({tag: curve for tag, curve in scalars.curves.items() if is_rate(tag)})
    return {step: spell_drops(of_step) for step, of_step in drops.items()}


def _is_charlms(run: Path) -> bool:
    """Whether `charlm fit` wrote the run, so that its losses are in nats per character."""
    config = run / "config.yaml"
    return config.is_file() and "class_path: charlm." in config.read_text(encoding="utf-8", errors="replace")


def file_format(file: Path) -> str:
    """The format of a picture by the ending of its file.

    Raises:
        ValueError: matplotlib does not know it.
    """
    from matplotlib.backend_bases import FigureCanvasBase

    known = sorted(set(FigureCanvasBase.get_supported_filetypes()) - _LEFT_OUT)
    kind = file.suffix.lower().removeprefix(".")
    if kind not in known:
        raise ValueError(f"--out {file} has no known format; end it in one of .{', .'.join(known)}")
    return kind
