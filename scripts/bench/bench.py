"""The benchmark: what charlm takes, against the course's notebooks or another peer, in one table.

python scripts/bench/bench.py                                  every row on the names that come with charlm
python scripts/bench/bench.py --data makemore                  on the course's 32,033 names, which the goals are about
python scripts/bench/bench.py --only mlp bigram --pairs 9      some rows
python scripts/bench/bench.py --format markdown                the README's table

A row is measured in pairs: ours, the peer, ours, the peer. Its ratio is the median of the ratios of the pairs, its two
values are medians too, so that a machine that is busy for a while moves neither; where the table has a difference in
place of the ratio, that goes for the differences. Every measurement is a new process in an empty folder, and nothing
else runs beside it. No number of threads is set: the notebooks' loops take torch's default, charlm what a user gets.
All runs are on the CPU. The rows of whole names have one thread on both sides, as charlm fit chooses, the sizes of the
shipped configs, and random batches of 128 of the same list: the peer, makemore's form in bench_makemore.py, pads them
to the list's longest name, charlm leaves out what comes after a name's end.

The notebooks' loops are in bench_peers.py, in the notebooks' own form, what is timed inside a process of charlm in
bench_ours.py and bench_lightning.py; whole commands are timed from outside, and a step of `charlm fit` is what 20,000
steps take longer than 10,000 do, so that start and end are not in it and validations, pictures and files are. Two
processes and one are compared between the starts of two epochs, by bench_clock.py.

Tried, and did not pay:

- The MLP's gradients by hand with torch's operations: 140 us a step at batch 32, with numpy's 76 (autograd 258). The
  same as a torch.autograd.Function: 270, since apply and the backward engine cost what was saved. In numpy,
  torch's log_softmax and index_add_ on its arrays, and logits as (B, V): 109.
- torch.inference_mode around them: a tenth faster, and gradients that no callback may change.
- Lightning's own optimization loop for every step of an execution, `automatic_optimization.run`: 570 us. It is what
  steps take that need more than training_step, backward and the optimizer.
- SGD.step: 24 us, the one `_foreach_add_` that it comes to 5.
- SummaryWriter.add_scalar for every step: 60 us, its checksum in Python most of it; in blocks 4.
- numpy's matrix products for large batches: its BLAS and torch take two threads each, and 10,000 names took 320 to 480
  ms in place of 60.
- gc.freeze and gc.disable: no difference (249 to 263 us a step of charlm fit, 245 to 255 without).
- A second thread: nothing up to batches of 1,024 (2,355 and 2,269 us), a quarter at 4,096; on a busy machine a step
  took fifty times as long.
- A GPU (H200): 975 us a step, 1,895 one by one, where one thread of a CPU takes 200 to 250.
- Other ways to 2.12: growing batches (256 to 1,024: 2.133 in the same time), SGD with one cycle (2.137), weight decay
  0.1 (2.145), drawing with replacement (2.128 for 2.119), torch.optim.Muon (a millisecond more a step).
- Two processes by gloo: 11 to 13 ms a step, of which 3 go into exchanging 48 kB (0.6 at best; it waits for the tick of
  the scheduler, 4 ms, since its threads find the cores busy), where LocalAllReduce takes 0.9 and a step 9. An
  all-gather in place of the all-reduce, static_graph, and processes bound to a core each do not help gloo.
- nn.GRU on a PackedSequence: 22.6 ms a step in place of 18.3 (loop 48). The rest is matrix products at 100 GFLOPS:
  numpy's BLAS and oneDNN are no sooner. The table of characters times the input's weights: dropout on the embedding
  forbids it.
- torch's dropout on the CPU: 2.2 ms for 230,000 numbers, where 16 random bits each take 0.5. Its where and masked_fill
  take 0.6 ms there, a bool times a number 0.15.
- scaled_dot_product_attention with dropout: 2.0 ms of 7 positions forward and backward, by softmax over the first
  dimension 1.2.
"""

import datetime
import json
import math
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from bench_rows import MEASUREMENTS, NAMES, Case, Measurement, Row
from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveInt

from charlm.cli.table import Table, render
from charlm.data.corpus import names_file

Result = dict[str, Any]
WIDTH = 110


def main(
    data: str | None = None,
    out: str = "lightning_logs/bench.json",
    pairs: PositiveInt = 5,
    format: Literal["text", "markdown"] = "text",
    only: Sequence[str] = NAMES,
) -> int:
    """Measure, print the table and keep it as JSON.

    Args:
        data: a file with one name a line, or makemore; by default the names that come with charlm.
        out: the JSON file, with the value of every pair and the machine.
        pairs: measurements of ours and of the peer, in turn; 5 or more for figures that are to be quoted.
        format: of the printed table.
        only: names of rows.

    Returns:
        The exit status: 1 if a row failed.
    """
    names = names_file(data)
    results: list[Result] = []
    for measurement in MEASUREMENTS:
        if any(row.name in only for row in measurement.rows):
            measured = measure(measurement, str(names.absolute()), pairs)
            results += [result for result in measured if result["name"] in only]
            keep(Path(out), {"machine": machine(), "data": data, "rows": results})  # what is done is not lost
    print(table(results, format))
    failed = [result for result in results if "error" in result]
    for result in failed:
        print(f"{result['name']} failed: {result['error']}", file=sys.stderr)
    return int(bool(failed))


def measure(measurement: Measurement, data: str, pairs: int) -> list[Result]:
    """Measure ours and the peer in turn; the result of each row, which is an error if any process failed."""
    say(", ".join(row.name for row in measurement.rows))
    measured: list[tuple[Sequence[float], Sequence[float]]] = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            case = Case(data, Path(folder))
            for _ in range(pairs):
                measured.append((measurement.ours(case), measurement.peer(case)))
                say(" .")
        return [compare(row, [(o[i], p[i]) for o, p in measured]) for i, row in enumerate(measurement.rows)]
    except Exception as error:  # whatever it is, the other rows are still wanted
        say(" failed")
        return [
            {"name": row.name, "what": row.what, "error": f"{error} ({type(error).__name__})"}
            for row in measurement.rows
        ]
    finally:
        say("\n")


def compare(row: Row, pairs: Sequence[tuple[float, float]]) -> Result:
    """The medians of a row, its goal, and the pairs they are of."""
    compared = [ours - peer if row.difference else ours / peer for ours, peer in pairs]
    middle = statistics.median(compared)
    met = row.goal is None or (middle >= row.goal if row.at_least else middle <= row.goal)
    return {
        "name": row.name,
        "what": row.what,
        "unit": row.unit,
        "ours": statistics.median(ours for ours, _ in pairs),
        "peer": statistics.median(peer for _, peer in pairs),
        "difference" if row.difference else "ratio": middle,
        "goal": goal(row),
        "met": met,
        "pairs": [list(pair) for pair in pairs],
    }


def goal(row: Row) -> str:
    """The goal in words; "-" where there is none."""
    if row.goal is None:
        return "-"
    return f"{'>=' if row.at_least else '<='} {row.goal:g}{' s' * row.difference}"


def table(results: Sequence[Result], format: Literal["text", "markdown"]) -> str:
    """The results, a row each; a goal that was missed is said to be."""
    header = ("what", "ours", "notebook or peer", "ratio", "goal")
    return render(Table(header, [cells(result) for result in results]), format, WIDTH)


def cells(result: Result) -> list[str]:
    """A row of the table."""
    if "error" in result:
        return [result["what"], "failed", "-", "-", "-"]
    unit = result["unit"]
    compared = spell(result["difference"], unit) if "difference" in result else f"{result['ratio']:.3f}"
    wanted = result["goal"] + ("" if result["met"] else ", missed")
    return [result["what"], spell(result["ours"], unit), spell(result["peer"], unit), compared, wanted]


def spell(value: float, unit: str) -> str:
    """Three digits, or all of a whole number that is longer, with the unit."""
    if unit == "B":
        value, unit = value / 1e6, "MB"
    elif unit == "s" and abs(value) < 1:
        value, unit = (value * 1e3, "ms") if abs(value) >= 1e-3 else (value * 1e6, "us")
    digits = 0 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f} {unit}"


def machine() -> dict[str, Any]:
    """Where and when it was measured, and with which versions."""
    return {
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{package: version(package) for package in ("torch", "lightning")},
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def cpu() -> str:
    """The processor's name, as Linux or Python knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def keep(out: Path, report: dict[str, Any]) -> None:
    """Write the report."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def say(text: str) -> None:
    """Show how far it is, apart from the table."""
    print(text, end="", file=sys.stderr, flush=True)


def command_line() -> dict[str, Any]:
    """The options of `main`."""
    parser = ArgumentParser(prog="bench.py", description="The benchmark: charlm against the notebooks and other peers.")
    parser.add_function_arguments(main, as_positional=False, skip={"only"})
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES), help="rows to measure")
    return parser.parse_args().as_dict()


if __name__ == "__main__":
    sys.exit(main(**command_line()))
