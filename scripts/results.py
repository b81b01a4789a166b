"""Trains the shipped configs with several seeds on one list of names and writes the README's table of results.

python scripts/results.py                                          the bundled names
python scripts/results.py --data makemore                          the course's 32,033 names
python scripts/results.py --data my_names.txt --configs [mlp,gru] --seeds 1
python scripts/results.py --lists [small.txt,bundled,makemore] --configs [ngram,mlp,gru]     one table of all
python scripts/results.py --data table.csv --fit [--data.column=name]      further options of charlm fit

Each row is a config. Its losses are means and standard deviations over the seeds, in nats per character, at the
checkpoint with the lowest val loss; settings were tuned on val, and test was evaluated once, for the table. With
split_by name, all names of val and test are unseen; with line, as in the lectures, train contains some of them, and the
"unseen" columns leave these out. Seconds are the median CPU time of a whole `charlm fit` on one thread. New counts the
distinct names that are not in train, among 10,000 drawn from the first seed's model.

A finished run is not repeated: its row is in <out>/<split_by>/<config>-seed<seed>/row.json. A change of the list, the
config or an option trains it again.
"""

import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Literal, NoReturn

from jsonargparse import auto_cli
from jsonargparse.typing import PositiveInt

from charlm.cli.main import short_errors
from charlm.cli.table import Table, render
from charlm.cli.trainer.configs import CONFIGS, config_names
from charlm.cli.training_names import training_splits
from charlm.data.corpus import names_file
from charlm.data.splits import PARTS
from charlm.inference.sampling import sample_names
from charlm.inference.scoring import score_names
from charlm.runs.directory import read_results
from charlm.runs.load_checkpoint import load_checkpoint

FAMILY = (
    *("bigram", "ngram", "bow", "mlp", "mlp-best", "deepmlp"),
    *("wavenet", "rnn", "gru", "lstm", "transformer", "ensemble", "best"),
)
_DRAWN = 10_000
_EXAMPLES = 5


def main(
    data: str | None = None,
    out: str = "lightning_logs/results",
    configs: tuple[str, ...] = FAMILY,
    seeds: PositiveInt = 3,
    split_by: Literal["name", "line"] = "name",
    jobs: PositiveInt = 1,
    fit: tuple[str, ...] = (),
    lists: tuple[str, ...] = (),
) -> None:
    """Train the missing runs, then print and write the table.

    Args:
        data: a file with one name a line, or makemore; by default the bundled names.
        out: the folder for the runs and the table, with a subfolder for each `split_by`.
        configs: the shipped configs to train.
        seeds: trainings per config, with seeds 0, 1, ... for weights and order; the split is always the same.
        split_by: name or line, as in `charlm fit`.
        jobs: trainings at the same time, on one thread each.
        fit: further options of `charlm fit`, for every training.
        lists: several lists instead of `data`, each with a subfolder of `out` by its name, and a table of their val
            losses at the end; "bundled" stands for the bundled names.

    Raises:
        OSError: a list of names cannot be read.
    """
    refuse_same_names(lists)
    for name in configs:
        if name not in config_names():
            refuse(f"there is no config {name!r}: {', '.join(config_names())}")
    columns = {}
    for name in lists or (data or "bundled",):
        path = None if name == "bundled" else name
        options = [*(["--data.path", path] if path else []), f"--data.split_by={split_by}", *fit]
        names, place = names_file(path).read_bytes(), Path(out, *[Path(name).stem] * bool(lists), split_by)
        todo = [(config, seed) for config in configs for seed in range(seeds)]
        with ThreadPoolExecutor(jobs) as workers:
            rows = list(workers.map(partial(row_of, place, options, names), *zip(*todo, strict=True)))
        columns[f"{Path(name).stem} ({rows[0]['names']:,})"] = rows
        table = render(table_of(configs, rows, repeated=split_by != "name"), "markdown")
        (place / "results.md").write_text(table + "\n", encoding="utf-8")
        print(f"\n{path or 'the bundled names'}, split by {split_by}, losses in nats per character:\n\n{table}")
    if lists:
        print(f"\nThe val losses side by side:\n\n{render(side_by_side(configs, columns), 'markdown')}")


def refuse_same_names(lists: Sequence[str]) -> None:
    """Refuse lists whose folders and columns would have the same name."""
    stems = [Path(file).stem for file in lists]
    if repeated := [stem for stem in stems if stems.count(stem) > 1]:
        refuse(f"--lists has two files called {repeated[0]}, which names a folder and a column; rename one")


def refuse(why: str) -> NoReturn:
    """End with a sentence and exit status 2."""
    print(f"{Path(sys.argv[0]).name}: error: {why}", file=sys.stderr)
    raise SystemExit(2)


def row_of(out: Path, options: Sequence[str], names: bytes, config: str, seed: int) -> dict[str, Any]:
    """The figures of one run on a file with these `names`, which is trained unless it is finished."""
    run = out / f"{config}-seed{seed}"
    contents = ((CONFIGS / f"{config}.yaml").read_bytes(), names)
    settings = [config, *options, *(hashlib.sha256(content).hexdigest() for content in contents)]
    file = run / "row.json"
    if file.is_file() and (row := json.loads(file.read_text(encoding="utf-8")))["settings"] == settings:
        return row
    shutil.rmtree(run, ignore_errors=True)  # unfinished, or made with other settings
    seconds = train(run, config, seed, options)
    row = {"config": config, "seed": seed, "settings": settings, "seconds": seconds, **figures(run)}
    beside = file.with_suffix(".part")
    beside.write_text(json.dumps(row, indent=1, ensure_ascii=False), encoding="utf-8")
    os.replace(beside, file)
    print(f"{run.name}: val {row['val']:.4f}, test {row['test']:.4f}, {seconds:.0f} s", file=sys.stderr, flush=True)
    return row


def train(run: Path, config: str, seed: int, options: Sequence[str]) -> float:
    """Train in a new process, and give its CPU time in seconds, which other programs do not affect."""
    logger = {"save_dir": str(run.parent.parent), "name": run.parent.name, "version": run.name}
    where = [
        "--trainer.logger=charlm.runs.logger.RunLogger",
        *(f"--trainer.logger.{k}={v}" for k, v in logger.items()),
    ]
    quiet = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
    order = [f"--seed_everything={seed}", f"--data.shuffle_seed={seed}"]
    run.parent.mkdir(parents=True, exist_ok=True)
    log = run.parent / "logs" / f"{run.name}.log"
    log.parent.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "charlm", "fit", "--config", config, *where, *order, *quiet, *options]
    with log.open("w", encoding="utf-8") as file:
        one_thread = {"OMP_NUM_THREADS": "1", **os.environ}
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=one_thread)
        _, status, used = os.wait4(process.pid, 0)  # of this child only
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"charlm fit --config {config} failed; {log} says why. Finished runs are kept.")
    return used.ru_utime + used.ru_stime


def figures(run: Path) -> dict[str, Any]:
    """Losses of the best checkpoint on all names and on unseen names, and the names that it draws."""
    loaded, results = load_checkpoint(run), read_results(run)
    splits = training_splits(loaded)
    names = {part: splits.names(part) for part in PARTS}
    known = set(names["train"])
    unseen: dict[str, float | None] = {}
    for part in ("val", "test"):
        scores = score_names(loaded.net, loaded.tokenizer, [name for name in names[part] if name not in known])
        characters = sum(len(score.nats) for score in scores)
        unseen[f"{part}_unseen"] = sum(score.total for score in scores) / characters if scores else None
    drawn = sample_names(loaded.net, loaded.tokenizer, _DRAWN, seed=0)
    new = [name for name in dict.fromkeys(drawn) if name not in known]
    facts = {key: results[key] for key in ("model", "names", "parameters", "train", "val", "test")}
    return {**facts, **unseen, "new": len(new), "examples": new[:_EXAMPLES]}


def table_of(configs: Sequence[str], rows: Sequence[dict[str, Any]], *, repeated: bool) -> Table:
    """One line per config; with the losses on unseen names if names may be `repeated` in train."""
    keys = ["val", "test"] + ["val_unseen", "test_unseen"] * repeated
    lines = []
    for config in configs:
        of_config = [row for row in rows if row["config"] == config]
        losses = [spread([row[key] for row in of_config]) for key in keys]
        seconds = round(statistics.median(row["seconds"] for row in of_config))
        first = of_config[0]
        lines.append([config, first["parameters"], *losses, seconds, first["new"], ", ".join(first["examples"])])
    named = [key.replace("_", ", ") for key in keys]
    return Table(("config", "parameters", *named, "seconds", "new", "examples"), lines)


def side_by_side(configs: Sequence[str], columns: dict[str, list[dict[str, Any]]]) -> Table:
    """The val losses: one line per config, one column per list."""
    lines = [
        [config, *(spread([r["val"] for r in rows if r["config"] == config]) for rows in columns.values())]
        for config in configs
    ]
    return Table(("config", *columns), lines)


def spread(losses: Sequence[float | None]) -> str | None:
    """The mean and standard deviation as text."""
    known = [loss for loss in losses if loss is not None]
    if not known:
        return None
    mean = statistics.fmean(known)
    return f"{mean:.4f} ± {statistics.stdev(known):.4f}" if len(known) > 1 else f"{mean:.4f}"


if __name__ == "__main__":
    with short_errors("results.py"):
        auto_cli(main, as_positional=False)
