"""The rows of bench.py as data, and how each is measured."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from processes import charlm, python, run, worker

VAL_LOSS = 2.12  # nats per character on the val split of names.txt, by line
STEPS = 10_000
_LIGHTNING = "import lightning.pytorch, jsonargparse"
_CHARLM = "import charlm, sys; sys.exit('charlm loads torch' if 'torch' in sys.modules else 0)"


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Args:
        name: what `--only` calls it.
        what: what is measured, in a few words.
        goal: the highest acceptable ratio; None if the row is for information.
        unit: the unit of both values, seconds or bytes.
        difference: compare by ours minus the peer's instead of the ratio.
    """

    name: str
    what: str
    goal: float | None
    unit: Literal["s", "B"] = "s"
    difference: bool = False


@dataclass(frozen=True)
class Case:
    """What is measured on: a file of names, and a folder that stays for all pairs of a measurement."""

    data: str
    folder: Path


Measure = Callable[[Case], Sequence[float]]


@dataclass(frozen=True)
class Measurement:
    """Rows that are measured together: `ours` and `peer` each give one value for every row."""

    rows: tuple[Row, ...]
    ours: Measure
    peer: Measure


def of(file: str, function: str, *keys: str, times: float = 1, **options: object) -> Measure:
    """Numbers that a worker measures on the names (by default its seconds), multiplied by `times`."""
    return lambda case: [
        number * times for number in worker(file, function, *(keys or ["seconds"]), data=case.data, **options)
    ]


def process(*args: str) -> Measure:
    """Seconds of a whole Python process."""
    return lambda case: [python(*args)]


def time_to_loss(case: Case) -> list[float]:
    """Seconds of a whole `charlm fit` that has to reach `VAL_LOSS`.

    Raises:
        RuntimeError: the val loss is higher.
    """
    done = charlm("fit", "--config", "mlp-fast", "--data.path", case.data, "--data.split_by", "line")
    if not done.results["val"] <= VAL_LOSS:
        raise RuntimeError(f"the val loss is {done.results['val']:.4f}, and not {VAL_LOSS} as on names.txt")
    return [done.seconds]


def repeated(case: Case, lines: int) -> Path:
    """A file with `lines` names: the list, repeated."""
    file = case.folder / f"{lines}.txt"
    if not file.exists():
        names = Path(case.data).read_text(encoding="utf-8").splitlines(keepends=True)
        names[-1] = names[-1].rstrip("\n") + "\n"
        text = "".join(names)
        with file.open("w", encoding="utf-8") as out:
            out.writelines(text for _ in range(lines // len(names)))
            out.writelines(names[: lines % len(names)])
    return file


def ten_million(case: Case) -> list[float]:
    """Bytes and seconds from a file of ten million names to its first batch."""
    return worker("ours", "first_batch", "bytes", "seconds", data=str(repeated(case, 10_000_000)))


def ten_million_goals(case: Case) -> list[float]:
    """Three times the size of the file plus eight bytes a line; the seconds for a tenth of the names."""
    size = 3 * repeated(case, 10_000_000).stat().st_size + 8 * 10_000_000
    return [size, *worker("ours", "first_batch", "seconds", data=str(repeated(case, 1_000_000)))]


def contexts(block_size: int) -> Measurement:
    """A file to the tensors of its three splits."""
    row = Row(f"contexts-{block_size}", f"names to contexts of {block_size}, all splits", 0.02)
    ours, peer = (of(file, "contexts", block_size=block_size) for file in ("ours", "peers"))
    return Measurement((row,), ours, peer)


def whole_names(kind: str, what: str, form: str, highest: float) -> tuple[Measurement, Measurement]:
    """A training step, and 10,000 drawn names, of a net of whole names against its usual form."""
    step = Row(f"{kind}-step", f"{what}, a training step ({form})", highest)
    names = Row(f"{kind}-sampling", f"10,000 names, {what} (500 x20, all read anew)", 0.2)
    steps = [of(file, "training", times=1 / 100, net=kind, steps=100) for file in ("family", "makemore")]
    ours = of("family", "sampling", net=kind, count=10_000)
    peer = of("makemore", "sampling", times=20, net=kind, count=500)
    return Measurement((step,), *steps), Measurement((names,), ours, peer)


per_step = of("fit_steps", "fit", steps=STEPS)

MEASUREMENTS = (
    Measurement(
        (Row("mlp", "MLP at batch 32, a step of charlm fit: CPU time", 0.42),),
        per_step,
        of("peers", "mlp", times=1 / STEPS, steps=STEPS),
    ),
    Measurement(
        (Row("mlp-bare", "the same (its gradients and loader in a bare loop)", 1.4),),
        per_step,
        of("fit_steps", "bare", steps=STEPS),
    ),
    Measurement(
        (Row("bigram", "neural bigram on all pairs, 200 steps", 0.5),),
        of("in_lightning", "bigram", steps=200),
        of("peers", "bigram", steps=200),
    ),
    contexts(3),
    contexts(16),
    Measurement(
        (
            Row("names-memory", "10M names to a batch: bytes (3 files + 8 a line)", 1, unit="B"),
            Row("names-time", "10M names to a batch: time (1M names)", 11),
        ),
        ten_million,
        ten_million_goals,
    ),
    Measurement(
        (Row("sampling", "10,000 names from an MLP (500 names x20)", 0.02),),
        of("ours", "sampling", count=10_000),
        of("peers", "sampling", times=20, count=500),
    ),
    *whole_names("gru", "GRU", "loop", 0.333),
    *whole_names("transformer", "Transformer", "masked softmax", 0.8),
    Measurement(
        (
            Row("evaluation-memory", "losses of three splits: memory, data included", 0.5, unit="B"),
            Row("evaluation-time", "losses of three splits: time", 1),
        ),
        of("ours", "evaluation", "bytes", "seconds"),
        of("peers", "evaluation", "bytes", "seconds"),
    ),
    Measurement(
        (Row("time-to-loss", f"whole charlm fit to a val loss of {VAL_LOSS}", 0.2),),
        time_to_loss,
        of("peers", "time_to_loss", goal=VAL_LOSS),
    ),
    Measurement(
        (Row("help", "charlm --help (import lightning and jsonargparse)", 1.15),),
        process("-m", "charlm", "--help"),
        process("-c", _LIGHTNING),
    ),
    Measurement(
        (Row("import", "import charlm (import lightning and jsonargparse)", 1.15),),
        process("-c", _CHARLM),
        process("-c", _LIGHTNING),
    ),
    Measurement(
        (Row("import-seconds", "import charlm, less a Python that does nothing", 0.15, difference=True),),
        process("-c", _CHARLM),
        process("-c", "pass"),
    ),
    Measurement(
        (Row("fit", "charlm fit by itself, whole (import lightning.pytorch)", 2.2),),
        lambda case: [charlm("fit", "--data.path", case.data).cpu_seconds],
        lambda case: [run([sys.executable, "-c", "import lightning.pytorch"]).cpu_seconds],
    ),
    Measurement(
        (Row("lr-find", "LR sweep of 1,000 steps, its drawing left out", 0.7),),
        of("in_lightning", "sweep", steps=1000),
        of("peers", "sweep", steps=1000),
    ),
    Measurement(
        (Row("elsewhere", "BoringModel, a step with StepsPerExecution (without)", 0.5),),
        lambda case: [worker("in_lightning", "elsewhere", "seconds", steps=5_000, per_execution=100)[0] / 5_000],
        lambda case: [worker("in_lightning", "elsewhere", "seconds", steps=5_000)[0] / 5_000],
    ),
    Measurement(
        (Row("lightning", "a step of charlm fit (plain Lightning's, same MLP)", None),),
        per_step,
        of("in_lightning", "mlp", times=1 / STEPS, steps=STEPS),
    ),
)
NAMES = tuple(row.name for measurement in MEASUREMENTS for row in measurement.rows)
