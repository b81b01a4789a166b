"""Compares charlm's speed and memory with the course's notebooks and other peers, in one table.

python scripts/bench/bench.py                                  every row, on the bundled names
python scripts/bench/bench.py --data makemore                  on the course's 32,033 names; the goals are for these
python scripts/bench/bench.py --only mlp bigram --pairs 9      some rows
python scripts/bench/bench.py --format markdown                the table in README.md

A row is measured in pairs: ours, the peer, ours, the peer. Its ratio is the median over the pairs, and so are its two
values, so that a machine that is busy for a while moves neither. Every measurement is a new process in an empty folder,
on the CPU, with nothing else beside it. No number of threads is set: the notebooks' loops use torch's default, charlm
what a user gets; the rows for a step of charlm fit and for nets of whole names use one thread on both sides.
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

from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveInt
from rows import MEASUREMENTS, NAMES, Case, Measurement, Row

from charlm.cli.table import Table, render
from charlm.data.corpus import read_corpus

Result = dict[str, Any]
WIDTH = 110


def main(
    data: str | None = None,
    out: str = "lightning_logs/bench.json",
    pairs: PositiveInt = 5,
    format: Literal["text", "markdown"] = "text",
    only: Sequence[str] = NAMES,
) -> int:
    """Measure, print the table and write it as JSON.

    Args:
        data: a file with one name a line, or makemore; by default the bundled names.
        out: the JSON file, with the value of every pair and the machine.
        pairs: measurements of ours and of the peer, in turn; use 5 or more for published figures.
        format: the format of the printed table.
        only: names of the rows to measure.

    Returns:
        The exit status, 1 if a row failed.
    """
    names = Path(out).with_name("bench_names.txt")  # one name a line, as the peers read them
    names.parent.mkdir(parents=True, exist_ok=True)
    names.write_bytes(read_corpus(data).data)
    results: list[Result] = []
    for measurement in MEASUREMENTS:
        if any(row.name in only for row in measurement.rows):
            measured = measure(measurement, str(names.absolute()), pairs)
            results += [result for result in measured if result["name"] in only]
            keep(
                Path(out), {"machine": machine(), "data": data, "rows": results}
            )  # after each row, in case the next one is interrupted
    print(table(results, format))
    failed = [result for result in results if "error" in result]
    for result in failed:
        print(f"{result['name']} failed: {result['error']}", file=sys.stderr)
    return int(bool(failed))


def measure(measurement: Measurement, data: str, pairs: int) -> list[Result]:
    """Measure ours and the peer in turn; give the result of each row, or an error if a process failed."""
    say(", ".join(row.name for row in measurement.rows))
    measured: list[tuple[Sequence[float], Sequence[float]]] = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            case = Case(data, Path(folder))
            for _ in range(pairs):
                measured.append((measurement.ours(case), measurement.peer(case)))
                say(" .")
        return [compare(row, [(o[i], p[i]) for o, p in measured]) for i, row in enumerate(measurement.rows)]
    except Exception as error:  # the other rows are still measured
        say(" failed")
        return [
            {"name": row.name, "what": row.what, "error": f"{error} ({type(error).__name__})"}
            for row in measurement.rows
        ]
    finally:
        say("\n")


def compare(row: Row, pairs: Sequence[tuple[float, float]]) -> Result:
    """The medians of a row, its goal, and the measured pairs."""
    compared = [ours - peer if row.difference else ours / peer for ours, peer in pairs]
    middle = statistics.median(compared)
    return {
        "name": row.name,
        "what": row.what,
        "unit": row.unit,
        "ours": statistics.median(ours for ours, _ in pairs),
        "peer": statistics.median(peer for _, peer in pairs),
        "difference" if row.difference else "ratio": middle,
        "goal": goal(row),
        "met": row.goal is None or middle <= row.goal,
        "pairs": [list(pair) for pair in pairs],
    }


def goal(row: Row) -> str:
    """The goal in words; "-" if there is none."""
    return "-" if row.goal is None else f"<= {row.goal:g}{' s' * row.difference}"


def table(results: Sequence[Result], format: Literal["text", "markdown"]) -> str:
    """The results, one row each; a missed goal is marked."""
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
    """Three significant digits (more for large numbers) and the unit."""
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
    """Show progress on standard error."""
    print(text, end="", file=sys.stderr, flush=True)


def command_line() -> dict[str, Any]:
    """The options of `main`."""
    parser = ArgumentParser(prog="bench.py", description="The benchmark: charlm against the notebooks and other peers.")
    parser.add_function_arguments(main, as_positional=False, skip={"only"})
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES), help="rows to measure")
    return parser.parse_args().as_dict()


if __name__ == "__main__":
    sys.exit(main(**command_line()))
