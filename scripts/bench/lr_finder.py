"""Scores learning-rate finders by what their suggestions cost.

python scripts/bench/lr_finder.py --format markdown     the tables in README.md; 20 minutes of CPU time
python scripts/bench/lr_finder.py --part design         the problems that LRFinder was designed on

A task is a problem of lr_tasks.py with SGD, momentum or AdamW, trained for 500, 1,500 and 6,000 steps at a constant
rate and with one cycle, at rates a quarter of a decade apart. A suggestion costs the share of the removable validation
loss that training at that rate leaves: 0 at the best rate, 1 where training is no better than none, or where there is
no suggestion. LRFinder runs as users run it, in a Trainer, at each of the six targets; the others do not know them.
"""

import json
import logging
import statistics
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jsonargparse import ArgumentParser
from lr_methods import Found, finders, ours
from lr_tasks import DESIGN, PROBLEMS, REPORT
from lr_truth import OPTIMIZERS, SCHEDULES, STEPS, Run, Truth, measure

from charlm.cli.table import Cell, Table, render

Key = tuple[str, str, str, int, str]  # problem, optimizer, schedule, steps, finder


@dataclass(frozen=True)
class Score:
    """What a finder's suggestion costs at a target; `taken` are the finder's steps."""

    finder: str
    group: str
    target: str
    share: float
    refused: bool
    taken: int


class Suggestions:
    """What the finders suggested, in a file with a JSON object a line."""

    def __init__(self, file: Path) -> None:
        self.file = file
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else ()
        self.found: dict[Key, Found] = {tuple(key): tuple(found) for key, found in map(json.loads, lines)}

    def get(self, key: Key, find: Callable[[], Found]) -> Found:
        """What is known for a key, or what `find` finds."""
        if key not in self.found:
            self.found[key] = find()
            with self.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps([key, self.found[key]]) + "\n")
        return self.found[key]


def main(
    part: Literal["report", "design"] = "report",
    results: str = "lightning_logs/bench_lr_finder",
    format: Literal["text", "markdown"] = "text",
) -> int:
    """Measure what the results do not hold yet, and print two tables.

    Args:
        part: the problems that LRFinder was designed on, or the others.
        results: a directory for the measurements; what it holds is not measured again.
        format: of the printed tables.

    Returns:
        The exit status, 0.
    """
    torch.set_num_threads(1)
    directory = Path(results)
    directory.mkdir(parents=True, exist_ok=True)
    truth, suggestions = Truth(directory / "losses.jsonl"), Suggestions(directory / "suggestions.jsonl")
    scores: dict[str, list[Score]] = {}
    for group, problems in {"design": DESIGN, "report": REPORT}[part].items():
        for name in problems:
            print(name, file=sys.stderr, flush=True)
            measure(truth, name)
            for score in scored(group, name, truth, suggestions):
                scores.setdefault(score.finder, []).append(score)
    rows = sorted(scores.items(), key=lambda row: statistics.fmean(score.share for score in row[1]))
    print(render(overall(rows), format, 110) + "\n\n" + render(by_target(rows), format, 110))
    return 0


def scored(group: str, name: str, truth: Truth, suggestions: Suggestions) -> Iterator[Score]:
    """The scores of all finders at all targets of a problem."""
    problem = PROBLEMS[name]
    for optimizer, schedule, steps in product(OPTIMIZERS, SCHEDULES, STEPS):
        key = (name, optimizer, schedule, steps, "LRFinder")
        found = {"LRFinder": suggestions.get(key, partial(ours, problem, optimizer, schedule, steps))}
        for finder, find in finders().items():
            found[finder] = suggestions.get((name, optimizer, "", 0, finder), partial(find, problem, optimizer))
        for finder, (lr, taken) in found.items():
            share = truth.share(name, Run(optimizer, lr or 0.0, schedule, steps))
            yield Score(finder, group, f"{schedule} {steps:,}", share, lr is None, taken)


def overall(rows: Sequence[tuple[str, list[Score]]]) -> Table:
    """A row for each finder: all targets together, and the means of each group of problems."""
    groups = list(dict.fromkeys(score.group for score in rows[0][1]))
    table: list[list[Cell]] = []
    for finder, scores in rows:
        shares = [score.share for score in scores]
        of_groups = [statistics.fmean(score.share for score in scores if score.group == group) for group in groups]
        refused, steps = sum(score.refused for score in scores), round(statistics.fmean(s.taken for s in scores))
        high = float(np.quantile(shares, 0.9))
        table.append([finder, statistics.fmean(shares), high, max(shares), refused, *of_groups, steps])
    return Table(["finder", "mean", "90th percentile", "worst", "refused", *groups, "steps"], table)


def by_target(rows: Sequence[tuple[str, list[Score]]]) -> Table:
    """The mean of each finder at each target."""
    targets = [f"{schedule} {steps:,}" for schedule in SCHEDULES for steps in STEPS]
    means = [[statistics.fmean(s.share for s in scores if s.target == t) for t in targets] for _, scores in rows]
    return Table(["finder", *targets], [[finder, *mean] for (finder, _), mean in zip(rows, means, strict=True)])


def command_line() -> dict[str, Any]:
    """The options of `main`."""
    parser = ArgumentParser(prog="lr_finder.py", description="What the suggestions of learning-rate finders cost.")
    parser.add_function_arguments(main, as_positional=False)
    return parser.parse_args().as_dict()


if __name__ == "__main__":
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")  # Lightning's advice about loaders, loggers and steps
    torch.set_flush_denormal(True)  # the runs that diverge or vanish are as fast as the others
    sys.exit(main(**command_line()))
