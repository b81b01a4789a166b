"""Measures whether anything grows faster than its work: a training step by its sizes, the start by the number of names.

python scripts/bench/sizes.py --data makemore                      all rows
python scripts/bench/sizes.py --data makemore --names '[]'         training steps only

Seconds are CPU time of one thread, which other programs hardly affect; MB is the highest memory above that before the
names are read. The work of a step is its examples times the net's weights, that of a start its names.
"Over the first" is the cost of a unit of work beside that in the first row of the same kind that has one; where it
stays above 1 the cost grows faster than the work.
"""

import itertools
import logging
import string
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from jsonargparse import auto_cli
from worker import Numbers, peak_memory

from charlm.callbacks.steps_per_execution.callback import StepsPerExecution
from charlm.cli.table import Cell, Table, render
from charlm.data.corpus import read_corpus
from charlm.data.datamodule import NamesDataModule
from charlm.data.splits import load_splits
from charlm.models.registry import MODELS
from charlm.nets.interface import parameter_count
from charlm.nets.ngram import NGram

BATCHES, UNITS, CONTEXTS = (32, 256, 1024, 4096), (200, 600, 2000), (3, 8, 16, 64)
STEPS: dict[str, list[dict[str, Any]]] = {
    "MLP, batch": [{"kind": "MLP", "batch_size": size} for size in BATCHES],
    "MLP, hidden units": [{"kind": "MLP", "n_hidden": size} for size in UNITS],
    "MLP, context": [{"kind": "MLP", "block_size": size} for size in CONTEXTS],
    "GRU, batch": [{"kind": "GRU", "batch_size": size} for size in BATCHES],
    "GRU, hidden units": [{"kind": "GRU", "n_hidden": size} for size in UNITS],
    "Transformer, batch": [{"kind": "Transformer", "batch_size": size} for size in BATCHES],
}
STARTS = ("MLP", "GRU", "NGram", "Mixture")  # models, and n-grams of 4 characters
WARM, FEWEST, SECONDS = 2, 5, 0.5  # steps that are not timed; fewest that are; about how long


def main(
    data: str | None = None,
    names: Sequence[int] = (1_000, 100_000, 1_000_000, 10_000_000),
    only: Sequence[str] = (*STEPS, *STARTS),
) -> None:
    """Print both tables.

    Args:
        data: a file with one name a line, or makemore; by default the bundled names.
        names: numbers of names for the second table, each name of the list with different endings.
        only: the kinds of rows to measure.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "names.txt"
        file.write_bytes(read_corpus(data).data)
        steps = [row for kind, cases in STEPS.items() if kind in only for row in rows_of_steps(kind, str(file), cases)]
        print(render(Table(("a step", "size", "weights", "ms", "ns a unit", "over the first"), steps), "markdown"))
        files = {number: longer(file, number) for number in names}
        starts = [row for kind in STARTS if kind in only for row in rows_of_starts(kind, files)]
        header = ("to the first step", "names", "s", "us a name", "over the first", "MB", "bytes a name")
        print("", render(Table(header, starts), "markdown"), sep="\n")


def rows_of_steps(kind: str, data: str, cases: Sequence[dict[str, Any]]) -> Iterator[list[Cell]]:
    """A row for each size."""
    first = 0.0
    for case in cases:
        found = step(data, **case)
        unit = 1e9 * found["seconds"] / found["weights"] / found["examples"]
        first = first or unit
        yield [kind, list(case.values())[-1], int(found["weights"]), 1e3 * found["seconds"], unit, unit / first]


def rows_of_starts(kind: str, files: dict[int, str]) -> Iterator[list[Cell]]:
    """A row for each number of names; what a start takes at any length is left out from the second row on."""
    least: Numbers = {}
    first = 0.0
    for names, file in files.items():
        if not least:
            start(file, kind)  # loads what is loaded once
        found = start(file, kind)
        least = least or found
        unit = 1e6 * (found["seconds"] - least["seconds"]) / names
        first = first or unit
        bytes_a_name = round(found["bytes"] / names)
        ratio = unit / first if first else None
        yield [kind, names, found["seconds"], unit or None, ratio, round(found["bytes"] / 1e6), bytes_a_name]


def longer(file: Path, number: int) -> str:
    """A file of `number` names: those of the list, then the same with the ending a, b, ..., aa, ab, ..."""
    names = file.read_text(encoding="utf-8").splitlines()
    endings = itertools.chain.from_iterable(itertools.product(string.ascii_lowercase, repeat=n) for n in range(9))
    lines = (f"{name}{''.join(ending)}\n" for ending in endings for name in names)
    made = file.with_name(f"{number}.txt")
    with made.open("w", encoding="utf-8") as out:
        out.writelines(itertools.islice(lines, number))
    return str(made)


class Clock(pl.Callback):
    """CPU seconds of the steps after the first ones, and the end of the training after enough of them."""

    def __init__(self, steps: int | None = None) -> None:
        self.steps = steps
        self.started = self.taken = 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        done = trainer.global_step - WARM
        self.taken = (time.process_time() - self.started) / max(done, 1)
        if done == 0:
            self.started = time.process_time()
        trainer.should_stop = (done >= FEWEST and done * self.taken > SECONDS) or trainer.global_step == self.steps


def fit(data: str, kind: str, clock: Clock, batch_size: int = 128, block_size: int = 3, **sizes: Any) -> Any:
    """Train as `charlm fit` does, but with nothing to show."""
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    names = NamesDataModule(data, batch_size=batch_size, block_size=block_size)
    sizes |= {"block_size": block_size} if kind in ("MLP", "WaveNet") else {}
    sizes |= {"train_names": names.splits.train_names} if kind == "Mixture" else {}
    model = MODELS[kind](alphabet=names.alphabet, **sizes)
    quiet: Any = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    end: Any = {"max_epochs": -1, "limit_val_batches": 0, "accelerator": "cpu"}
    trainer = pl.Trainer(callbacks=[clock, StepsPerExecution()], **quiet, **end)
    trainer.fit(model, names)
    return trainer


def step(data: str, kind: str, **sizes: int) -> Numbers:
    """Seconds of a training step, the net's weights and the examples of the batch."""
    clock = Clock()
    trainer = fit(data, kind, clock, **sizes)
    batch = min(sizes.get("batch_size", 128), trainer.train_dataloader.batch_size)
    return {"seconds": clock.taken, "weights": parameter_count(trainer.lightning_module.net), "examples": batch}


def start(data: str, kind: str) -> Numbers:
    """Seconds and memory from a file of names to the end of the first step, or to the n-grams' counts."""
    numbers, begun = Numbers(), time.process_time()
    with peak_memory(numbers):
        if kind == "NGram":
            splits = load_splits(data, block_size=4)
            NGram.from_contexts(splits.train, splits.tokenizer.vocab_size)
        else:
            fit(data, kind, Clock(steps=1))
    return {**numbers, "seconds": time.process_time() - begun}


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
