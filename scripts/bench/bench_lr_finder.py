"""How good are the rules of learning-rate finders: the regret of each, in one table.

python scripts/bench/bench_lr_finder.py   measure what the cache does not have, and print the table
python scripts/bench/bench_lr_finder.py --format markdown   the README's table
python scripts/bench/bench_lr_finder.py --further true   with ten nets more, added when the rule was chosen; an hour
python scripts/bench/bench_lr_finder.py --check 10   train at suggestions too, to see what interpolation is worth

The regret of a rule is what its suggestion costs: the validation loss in nats after 1500 steps at the suggested rate,
less that at the best rate of a half-decade grid. A task is a net and an optimizer (bench_lr_tasks.py: ten nets, two of
them this package's, and three optimizers), on names, batch 64. It has five sweeps of 300 points each from 1e-6 to 10,
on other batches, which are stopped by the package's `Divergence`; the losses of trained rates are means of two seeds.
Mean and worst are over tasks and sweeps. A rule that gives no rate is charged the loss of the untrained net.

One half of the nets was for choosing the default rule. The other half was looked at once, after that. Choosing went by
sweeps of 100, 300 and 1000 points over the same range, since a rule that is right for one length only is of no use.

Tried on the first half; mean / worst at 100, 300 and 1000 points, factors the best for 300 (half_depth: 0.0127 / 0.079,
0.0066 / 0.031, 0.0060 / 0.030):

- The first rate at which 60 % of the descent is made: 0.021 / 0.14, 0.015 / 0.09, 0.064 / 0.17; 70 %: 0.031 / 0.20,
  0.012 / 0.06, 0.036 / 0.14. The descent takes a sum of rates, so with three times the points it comes at a third of
  the rate. The last rate before half of it, the mean of log(lr) weighed by the descent: alike.
- That sum for half of the descent over 7 steps: 0.015 / 0.08, 0.014 / 0.08, 0.014 / 0.08. Where half of the descent is
  lost again is right for other tasks, so the two together are better than either.
- Both to equal parts, over 400 steps: 0.016 / 0.08, 0.007 / 0.05, 0.006 / 0.05. 40 to 80 steps in place of 60, levels
  from 0.4 to 0.6 of the depth: at most 0.002 worse.
- The mean of log(lr) weighed by the squared depth, over 4.5: 0.023 / 0.26, 0.007 / 0.02, 0.009 / 0.04.
- The minimum of a smoothed loss that does not lag, over 5: 0.048 / 0.72, 0.015 / 0.26, 0.009 / 0.10.
- Its steepest slope, times 1.6: 0.07 / 0.70, 0.020 / 0.12, 0.056 / 0.15. Where a fifth of the descent is lost again,
  over 22: 0.038 / 0.70, 0.021 / 0.14, 0.012 / 0.09.
- Half way between a fifth of the descent and the minimum: 0.034 / 0.33, 0.010 / 0.06, 0.014 / 0.09. The knee, farthest
  from the chord: 0.026 / 0.19, 0.020 / 0.10, 0.070 / 0.17. Greatest curvature before the minimum: 0.024 / 0.34 at 300.
  Where neighbours begin to differ by twice as much: 0.080 / 0.46 at 300.
- half_depth on other smoothed losses, at 300: running mean with new weight 0.02 0.035 / 0.25, 0.1 0.010 / 0.05; raw
  0.009 / 0.06; running mean to and fro 0.006 / 0.03, local lines 0.006 / 0.03, as good as the Gaussian window.
- The median of five sweeps' suggestions: no better than one, which differ by a tenth.
- stop_factor from 1 to 3: no difference.

What is left are nets that look up logits: with AdamW half_depth is three to eight times too high for bigram,
log-linear and trigram, whose sweeps look like those of other nets. With SGD the last two want a rate near the end of
the sweep or above it, which the status minimum_at_edge tells; two sweeps of trigram are refused. On the first ten nets
no two such places of a curve, with any weights and factor, come to less than 0.011 / 0.085 (half_depth: 0.011 / 0.107);
with the noise at the minimum by the descent as a third it is 0.010 / 0.08, but noise goes by the size of the batch.

Hence the trials (charlm/callbacks/lr_trial.py): of the lag of half the suggestion in steps 100 to 200, what is left in
steps 200 to 300? Of the first fifteen nets' those three with AdamW have -0.9 to 0.42; transformers and batch norm with
AdamW 0.2 to 0.5, which lose at most 0.01 by a quarter of the rate; two others 0.42 and 0.43 in one sweep each; the rest
0.45 to 5. If the lag is to fall faster than with the power 2 of the step (0.33 left), the reported half has 0.0109 /
0.093, with 1.5 (0.44) 0.0100 / 0.050, with 1.3 (0.50) 0.0107 / 0.050; with 1.5, by half the suggestion in place of a
quarter, 0.0116 / 0.050. On the fresh nets, looked at once: a table of the last three characters with AdamW is not told
(0.75 left).
"""

import math
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from bench_lr_measure import MIN_LR, TRIAL_STEPS, Data, Measured, keep, ladder, measure, read, train, trial
from bench_lr_tasks import TASKS, Task
from jsonargparse import ArgumentParser
from jsonargparse.typing import NonNegativeInt

from charlm.callbacks.lr_finder.rules import DEFAULT_RULE, RULES, Divergence, Rule, combine
from charlm.callbacks.lr_finder.trial import LOWER_BY, Trial
from charlm.cli.table import Cell, Table, render
from charlm.data.corpus import names_file

COLUMNS = {"chosen on": ("choose",), "reported": ("report",), "both": ("choose", "report")}
FURTHER = {"further": ("further",), "fresh": ("fresh",)}


def main(
    data: str | None = None,
    cache: str = "lightning_logs/bench_lr_finder.json",
    further: bool = False,
    check: NonNegativeInt = 0,
    format: Literal["text", "markdown"] = "text",
) -> int:
    """Measure what the cache does not hold yet, print the table.

    Args:
        data: a file with one name a line, or makemore; by default the names that come with charlm.
        cache: a JSON file of sweeps and trained rates, written after each task; another file for other data.
        further: measure the ten nets that were added later, too; as long again.
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
        found = measured[task.name]
        if not found.trials:
            suggestions = [suggest(RULES[DEFAULT_RULE], losses) for losses in found.sweeps]
            trials = [trial(task, data, seed, lr) for seed, lr in enumerate(suggestions)]
            measured[task.name] = replace(found, trials=trials)
            keep(cache, measured)
    return measured


def table(tasks: Sequence[Task], measured: dict[str, Measured]) -> Table:
    """A row for each rule, the lowest mean first: mean and worst regret on each part of the suite."""
    columns = {**COLUMNS, **(FURTHER if any(task.part in FURTHER for task in tasks) else {})}
    regrets = {name: [regrets_of(rule, measured[task.name]) for task in tasks] for name, rule in RULES.items()}
    regrets[f"{DEFAULT_RULE} (default)"] = regrets.pop(DEFAULT_RULE)
    tried = f"{DEFAULT_RULE}, trial_steps={TRIAL_STEPS}"
    regrets[tried] = [regrets_with_trials(measured[task.name]) for task in tasks]
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


def regrets_with_trials(measured: Measured) -> list[float]:
    """The regret of the default rule at each sweep, where a trial may lower what it suggests."""
    suggestions = [suggest(RULES[DEFAULT_RULE], losses) for losses in measured.sweeps]
    lowered = [Trial(*losses).is_too_high for losses in measured.trials]
    return [measured.regret(lr / LOWER_BY if low else lr) for lr, low in zip(suggestions, lowered, strict=True)]


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
    parser = ArgumentParser(prog="bench_lr_finder.py", description="The regret of learning-rate finders' rules.")
    parser.add_function_arguments(main, as_positional=False)
    return parser.parse_args().as_dict()


if __name__ == "__main__":
    sys.exit(main(**command_line()))
