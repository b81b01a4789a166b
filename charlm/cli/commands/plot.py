"""`charlm plot`: the loss curves of runs in one picture."""

import io
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from charlm.runs.curves import MOST_RUNS, Curve, loss_curves
from charlm.runs.events import Drop, Scalars, find_event_runs, is_rate, last_written, rate_drops, read_scalars

_TAGS = ("loss/train", "loss/val")
_LEFT_OUT = {"pgf", "raw", "rgba"}  # of matplotlib's formats: one needs LaTeX, two are pixels without a size


def plot(runs: list[str] | None = None, out: str = "loss.png", train: str = _TAGS[0], val: str = _TAGS[1]) -> None:
    """Draw the loss curves of runs in one picture: train thin, val thick, and where the learning rate drops.

    It reads the events files that TensorBoard reads, also those of runs that are not charlm's, and of runs that are
    still going on.

    Args:
        runs: run directories, or directories with runs below them; by default the newest run in lightning_logs.
        out: the file to write, over the one before; its suffix is the format: png, svg, pdf and others.
        train: the tag of the losses in training.
        val: the tag of the losses on other data.

    Raises:
        OSError: no such directory, or no run in it.
        ValueError: a format that is not known, a run without losses, or more runs than can be told apart.
    """
    file = Path(out)
    kind = _format(file)
    read = {run: _read(run, (train, val)) for run in _chosen(runs)}
    _check_tags(read, (train, val))
    curves = _curves(read, {"train": train, "val": val}, [Path(run) for run in runs or []])
    names = distinct_names(list(curves))
    unit = " (nats per character)" * all(map(_is_charlms, curves))
    figure = loss_curves(
        {names[run]: of_run for run, of_run in curves.items()},
        {names[run]: _marks(read[run]) for run in curves},
        f"loss{unit}" if (train, val) == _TAGS else f"{train}, {val}",
    )
    picture = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a letter that no font has is drawn as a box
        figure.savefig(picture, format=kind)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture.getvalue())
    except OSError as error:
        raise OSError(f"cannot write {file} ({error.strerror}); give another file as --out") from error
    print(file)


def distinct_names(runs: Sequence[Path]) -> dict[Path, str]:
    """The name of each directory, with as many of those above it as it takes to tell equal ones apart.

    Args:
        runs: different directories.
    """
    parts = {run: run.resolve().parts for run in runs}
    names = {}
    for run, own in parts.items():
        depth = 1
        while any(other[-depth:] == own[-depth:] for each, other in parts.items() if each is not run):
            depth += 1
        names[run] = "/".join(own[-depth:])
    return names


def spell_drops(drops: Sequence[Drop]) -> str:
    """What happens at a step, such as "lr 0.1 → 0.01 at 15,000"; of several groups what all have in common.

    Args:
        drops: of each group that has one there.
    """
    step, before, after = drops[0]
    if len({f"{before:.3g} {after:.3g}" for _, before, after in drops}) == 1:
        return f"lr {before:.3g} → {after:.3g} at {step:,}"
    same = len({f"{after / before:.3g}" for _, before, after in drops}) == 1
    return f"lr times {after / before:.3g} at {step:,}" if same else f"lr drops at {step:,}"


def _chosen(runs: list[str] | None) -> list[Path]:
    """The runs that are meant, each once.

    Raises:
        FileNotFoundError: a directory without one.
        ValueError: more than can be told apart.
    """
    places = [Path(run) for run in runs] if runs else [max(_runs(Path("lightning_logs")), key=last_written)]
    found = {run.resolve(): run for place in places for run in _runs(place)}
    if len(found) > MOST_RUNS:
        raise ValueError(f"{len(found)} runs in one picture cannot be told apart; name {MOST_RUNS} at most")
    return list(found.values())


def _runs(place: Path) -> list[Path]:
    """The runs of a directory: itself if it has events files, else all below it."""
    below = find_event_runs(place)
    if not below:
        missing = "holds no run with events files" if place.is_dir() else "is not a directory"
        raise FileNotFoundError(f"{place} {missing}; train one with `charlm fit`, or give a directory with runs")
    return [place] if place in below else below


def _read(run: Path, tags: tuple[str, str]) -> Scalars:
    """The losses and rates of a run; what is damaged is named on stderr."""
    scalars = read_scalars(run, lambda tag: tag in tags or is_rate(tag))
    for note in scalars.notes:
        print(note, file=sys.stderr)
    return scalars


def _check_tags(read: dict[Path, Scalars], tags: tuple[str, str]) -> None:
    """Refuse a tag that was asked for and that no run has.

    Raises:
        ValueError: there is one.
    """
    known = sorted({tag for scalars in read.values() for tag in scalars.tags})
    for option, tag, default in zip(("train", "val"), tags, _TAGS, strict=True):
        if tag != default and tag not in known:
            raise ValueError(f"--{option} is {tag!r}, which no run has; there are {', '.join(known) or 'no scalars'}")


def _curves(read: dict[Path, Scalars], tags: dict[str, str], named: Sequence[Path]) -> dict[Path, dict[str, Curve]]:
    """The curves of every run that has some; what was found without any, beside others, is named on stderr.

    Raises:
        ValueError: one that was named has none, or none has any.
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
    for run in (run for run in read if run not in curves):
        known = ", ".join(read[run].tags)
        there = f"it has {known}: name two by --train and --val" if known else "it has no scalars at all"
        kind = "finite " * any(tag in read[run].curves for tag in tags.values())
        message = f"{run} has no {kind}{' or '.join(tags.values())}; {there}"
        if run in named or not curves:
            raise ValueError(message)
        print(message, file=sys.stderr)
    return curves


def _marks(scalars: Scalars) -> dict[float, str]:
    drops = rate_drops({tag: curve for tag, curve in scalars.curves.items() if is_rate(tag)})
    return {step: spell_drops(of_step) for step, of_step in drops.items()}


def _is_charlms(run: Path) -> bool:
    """Whether it was `charlm fit` that wrote it, whose losses are in nats per character."""
    config = run / "config.yaml"
    return config.is_file() and "class_path: charlm." in config.read_text(encoding="utf-8", errors="replace")


def _format(file: Path) -> str:
    from matplotlib.backend_bases import FigureCanvasBase

    known = sorted(set(FigureCanvasBase.get_supported_filetypes()) - _LEFT_OUT)
    kind = file.suffix.lower().removeprefix(".")
    if kind not in known:
        raise ValueError(f"--out {file} says no format that can be written; end it in one of .{', .'.join(known)}")
    return kind
