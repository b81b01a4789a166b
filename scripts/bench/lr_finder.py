"""Scores the rules of learning-rate finders by the validation loss that their suggestions cost, in one table.

python scripts/bench/lr_finder.py                      measure what the cache does not have, and print the table
python scripts/bench/lr_finder.py --format markdown    the table in README.md
python scripts/bench/lr_finder.py --further true       with ten more nets; an hour

The regret of a rule is the validation loss in nats after 1500 steps at the rate that it suggests, minus the loss at the
best rate of a half-decade grid. A task is a net and an optimizer (see lr_tasks.py) on names, with batches of 64. Each
task has five sweeps of 300 points from 1e-6 to 10, on different batches, which stop where charlm's `Divergence` stops;
the losses of trained rates are means over two seeds. Means and worst values are over tasks and sweeps. A rule that
suggests no rate is charged the loss of the untrained net.
"""

import math
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from jsonargparse import ArgumentParser
from jsonargparse.typing import NonNegativeInt
from lr_measure import MIN_LR, Data, Measured, keep, ladder, measure, read, train
from lr_peers import lightning, minimum_quarter, slide
from lr_tasks import TASKS, Task

from charlm.callbacks.lr_finder.rules import DEFAULT_RULE, Divergence, Rule, combine
from charlm.callbacks.lr_finder.rules import RULES as OURS
from charlm.cli.table import Cell, Table, render
from charlm.data.corpus import names_file

RULES = {**OURS, **{rule.__name__: rule for rule in (slide, lightning, minimum_quarter)}}
COLUMNS = {"chosen on": ("choose",), "reported": ("report",), "both": ("choose", "report")}
FURTHER = {"further": ("further",), "fresh": ("fresh",)}


def main(
    data: str | None = None,
    cache: str = "lightning_logs/bench_lr_finder.json",
    further: bool = False,
    check: NonNegativeInt = 0,
    format: Literal["text", "markdown"] = "text",
) -> int:
    """Measure what the cache does not hold yet, and print the table.

    Args:
        data: a file with one name a line, or makemore; by default the bundled names.
        cache: a JSON file with sweeps and trained rates, written after each task; use another file for other data.
        further: also measure the ten nets that were added later, which takes as long again.
        check: suggestions of the default rule to train at, for comparison with the interpolated losses.
        format: of the printed table.

    Returns:
        The exit status, 0.
    """
    torch.set_num_threads(1)
    names = Data.load(str(names_file(data)))
    tasks = [task for task in TASKS if further or task.part in COLUMNS["both"]]
    measured = measure_all(tasks, names, Path(cache))
    print(render(table(tasks, measured), format, 110))
    if check:
        print("\n" + render(compare(tasks, measured, names, check), format, 110))
    return 0


def measure_all(tasks: Sequence[Task], data: Data, cache: Path) -> dict[str, Measured]:
    """The measurements of tasks by name, old and new."""
    measured = read(cache)
    for number, task in enumerate(tasks, 1):
        if task.name not in measured:
            print(f"{number} of {len(tasks)}: {task.name}", file=sys.stderr, flush=True)
            measured[task.name] = measure(task, data)
            keep(cache, measured)
    return measured


def table(tasks: Sequence[Task], measured: dict[str, Measured]) -> Table:
    """A row for each rule, the lowest mean first: mean and worst regret on each part of the suite."""
    columns = {**COLUMNS, **(FURTHER if any(task.part in FURTHER for task in tasks) else {})}
    regrets = {name: [regrets_of(rule, measured[task.name]) for task in tasks] for name, rule in RULES.items()}
    regrets[f"{DEFAULT_RULE} (default)"] = regrets.pop(DEFAULT_RULE)
    rows: dict[str, list[float]] = {}
    for name, found in regrets.items():
        of_tasks = list(zip(tasks, found, strict=True))
        of_columns = [[v for task, of in of_tasks if task.part in parts for v in of] for parts in columns.values()]
        rows[name] = [f(values) for values in of_columns for f in (statistics.mean, max)]
    header = ["rule", *[head for label in columns for head in (f"{label}: mean", "worst")]]
    return Table(header, [[name, *values] for name, values in sorted(rows.items(), key=lambda row: row[1][4])])


def regrets_of(rule: Rule, measured: Measured) -> list[float]:
    """The regret of a rule at each sweep of a task."""
    return [measured.regret(suggest(rule, losses)) for losses in measured.sweeps]


def suggest(rule: Rule, losses: Sequence[float]) -> float:
    """The rate that a rule gives for a sweep; the lowest, which trains nothing, where it gives none."""
    losses = until_divergence(losses)
    try:
        return rule(ladder()[: len(losses)], losses)
    except ValueError:
        return MIN_LR


def until_divergence(losses: Sequence[float]) -> Sequence[float]:
    """The points of a sweep that stops as the package's do."""
    divergence = Divergence()
    return losses[: next((i + 1 for i, loss in enumerate(losses) if divergence.update(loss)), len(losses))]


def compare(tasks: Sequence[Task], measured: dict[str, Measured], data: Data, count: int) -> Table:
    """Trained and interpolated regrets of the default rule, at `count` of the tasks."""
    rows: list[list[Cell]] = []
    for task in spread(tasks, count):
        found = measured[task.name]
        lr = combine([suggest(RULES[DEFAULT_RULE], losses) for losses in found.sweeps])
        trained = train(task, data, lr, found.untrained) - found.best()
        rows.append([task.name, f"{lr:.2g}", found.regret(lr), trained])
    return Table(("task", "suggestion of five sweeps", "interpolated regret", "trained"), rows)


def spread(tasks: Sequence[Task], count: int) -> Iterator[Task]:
    """`count` of the tasks, evenly."""
    for i in range(min(count, len(tasks))):
        yield tasks[math.floor(i * len(tasks) / count)]


def command_line() -> dict[str, Any]:
    """The options of `main`."""
    parser = ArgumentParser(prog="lr_finder.py", description="The regret of learning-rate finders' rules.")
    parser.add_function_arguments(main, as_positional=False)
    return parser.parse_args().as_dict()


if __name__ == "__main__":
    sys.exit(main(**command_line()))
