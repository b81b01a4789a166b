"""Measures how long an n-gram model takes to count the training names of a list, and how much memory.

python scripts/bench/counting.py --data makemore                   the course's 32,033 names
python scripts/bench/counting.py --data makemore --names 1000000   as many, drawn from the list's own 5-grams

Seconds are CPU time, which other programs do not affect; MB is the highest memory above that of the program, with the
names in it.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from jsonargparse import auto_cli
from jsonargparse.typing import PositiveInt
from worker import Numbers, peak_memory

from charlm.cli.table import Cell, Table, render
from charlm.data.batches import BatchLoader
from charlm.data.download import MAKEMORE, download_makemore
from charlm.data.splits import load_splits
from charlm.inference.sampling import sample_names
from charlm.nets.loss import evaluate
from charlm.nets.ngram import NGram

Result = TypeVar("Result")
_AT_ONCE = 8192  # examples
COLUMNS = ("context", "training names", "n-grams", "read", "count", "evaluate", "MB", "val")


def main(data: str | None = None, names: int = 0, contexts: tuple[PositiveInt, ...] = (2, 4, 6)) -> None:
    """Print a row for each length of context: seconds to read and split, to count, and to evaluate the val split.

    Args:
        data: a file with one name a line, or makemore; by default the bundled names.
        names: draw so many names from the 5-grams of the list, and measure with these; 0: with the list itself.
        contexts: characters of context.
    """
    if data == MAKEMORE:
        download_makemore()
    with tempfile.TemporaryDirectory() as folder:
        path = drawn(data, names, Path(folder) / "names.txt") if names else data
        print(render(Table(COLUMNS, [measured(path, block_size) for block_size in contexts]), "markdown"))


def drawn(data: str | None, names: int, file: Path) -> str:
    """A file of `names` names from the 5-grams of a list."""
    splits = load_splits(data, block_size=4)
    net = NGram.from_contexts(splits.train, splits.tokenizer.vocab_size)
    file.write_text("".join(f"{name}\n" for name in sample_names(net, splits.tokenizer, names)), encoding="utf-8")
    return str(file)


def measured(path: str | None, block_size: int) -> list[Cell]:
    """A row of the table."""
    numbers: Numbers = {}
    with peak_memory(numbers):
        splits, reading = timed(lambda: load_splits(path, block_size=block_size))
        net, counting = timed(lambda: NGram.from_contexts(splits.train, splits.tokenizer.vocab_size))
        # what follows from the counts is computed when it is first used
        _, smoothing = timed(lambda: net(torch.zeros(1, block_size, dtype=torch.int64)))
        found, evaluating = timed(lambda: evaluate(net, BatchLoader(splits.val, _AT_ONCE)))
    sizes = [block_size, len(splits.names("train")), len(net.counts)]
    return [*sizes, reading, counting + smoothing, evaluating, round(numbers["bytes"] / 1e6), found.loss]


def timed(do: Callable[[], Result]) -> tuple[Result, float]:
    """What a function returns, and the seconds that it takes."""
    start = time.process_time()
    result = do()
    return result, time.process_time() - start


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
