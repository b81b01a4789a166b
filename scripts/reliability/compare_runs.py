"""What differs between two runs that have to be the same: checkpoints, reports, curves, other files, to the bit."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing import event_accumulator, plugin_event_accumulator

from charlm.runs.directory import read_results

Points = dict[tuple[str, str], tuple[tuple[int, str], ...]]
"""Step and value of each point, by a reader's kind of value and the tag."""

_OF_ONE_RUN = ("RunFacts/seconds", "charlm/saved", "summary/seconds", "']/training")  # times, a random identifier
_FROM_CHECKPOINT = ("/datamodule_hyper_parameters/alphabet", "/datamodule_hyper_parameters/labels")  # on a resume


def run_in(folder: Path) -> Path:
    """The directory of the only run of a folder."""
    configs = list(folder.glob("lightning_logs/*/config.yaml"))
    if len(configs) != 1:
        raise SystemExit(f"{folder} holds {len(configs)} runs instead of one")
    return configs[0].parent


def differences(expected: Path, found: Path) -> list[str]:
    """What is not the same in two runs, but for the times and identifiers; an empty list if nothing differs."""
    different = []
    for name in ("last.ckpt", "best.ckpt"):
        one, other = (_entries_of(run / "checkpoints" / name) for run in (expected, found))
        different += [f"{name} {key}" for key in sorted({*one, *other}) if not _equal(one.get(key), other.get(key))]
    one, other = ({**read_results(run), "seconds": None} for run in (expected, found))
    different += [f"results.json {key}" for key in sorted({*one, *other}) if one.get(key) != other.get(key)]
    one, other = (_other_files(run) for run in (expected, found))
    different += [name for name in sorted({*one, *other}) if one.get(name) != other.get(name)]
    return different + [" ".join(tag) for tag in sorted(other_points(points(expected), points(found)))]


def other_points(expected: Points, found: Points) -> set[tuple[str, str]]:
    """The tags with other points, or with a point more often.

    Less often is no fault: Lightning logs `epoch` with the training loss and with the validation's, twice at one step.
    """
    both = {tag: (expected.get(tag, ()), found.get(tag, ())) for tag in {*expected, *found}}
    return {tag for tag, (one, other) in both.items() if set(one) != set(other) or Counter(other) - Counter(one)}


def points(run: Path) -> Points:
    """What each of TensorBoard's readers gives, without the times."""
    every = dict.fromkeys(("scalars", "images", "tensors", "histograms"), 0)  # no sample of them
    found = {}
    for reader in (event_accumulator, plugin_event_accumulator):
        events = reader.EventAccumulator(str(run), size_guidance=every).Reload()
        name = reader.__name__.rpartition(".")[2]
        for kind, tags in events.Tags().items():
            for tag in {*tags}.difference(_OF_ONE_RUN) if kind in every else ():
                values = getattr(events, kind.capitalize())(tag)
                found[f"{name} {kind}", tag] = tuple((v.step, repr({**vars(v), "wall_time": None})) for v in values)
    return found


def _other_files(run: Path) -> dict[str, bytes]:
    """The config, pictures and tables of a run by their names."""
    files = (file for file in run.rglob("*") if file.is_file() and file.suffix != ".ckpt")
    names = {file.relative_to(run).as_posix(): file for file in files}
    return {name: file.read_bytes() for name, file in names.items() if not name.startswith(("events", "results.json"))}


def _entries_of(file: Path) -> dict[str, Any]:
    """All numbers, texts and tensors of a checkpoint by their place in it; none if there is no such file."""
    entries = _flat(torch.load(file, weights_only=True)) if file.exists() else ()
    return {
        key: value for key, value in entries if not key.endswith(_OF_ONE_RUN) and not key.startswith(_FROM_CHECKPOINT)
    }


def _flat(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict | list | tuple):
        yield place, value
        return
    for key, part in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _flat(part, f"{place}/{key}")


def _equal(one: Any, other: Any) -> bool:
    """Whether two entries are of the same type and the same to the bit."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        data = [tensor.contiguous().reshape(-1).view(torch.uint8) for tensor in (one, other)]
        return one.dtype == other.dtype and one.shape == other.shape and torch.equal(*data)
    return type(one) is type(other) and repr(one) == repr(other)
