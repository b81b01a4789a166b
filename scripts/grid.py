"""Compares `best` with counting and with ten single nets on short lists of names.

python scripts/grid.py --lists [small.txt,other.txt]
python scripts/grid.py --lists [long.txt] --sizes [100,300,1000]     so many names of it

Each row is a model, each column a list, with the lowest of the losses on val, in nats per character by name. The last
two rows are the lowest loss of all models but `best`, and how far above it `best` is. Val has a tenth of the names, so
with 100 names the lowest of ten nets is in part the luckiest.
"""

import logging
import random
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from jsonargparse import auto_cli
from jsonargparse.typing import PositiveInt
from results import refuse, refuse_same_names, row_of

from charlm.cli.main import short_errors
from charlm.cli.table import Table, render
from charlm.data.corpus import read_corpus
from charlm.data.datamodule import NamesDataModule
from charlm.models.base import LitCharLM
from charlm.models.names import LitGRU
from charlm.models.windows import LitMLP

EPOCHS = 40  # of at least ten batches, with a validation after each
_CYCLE: dict[str, Any] = {"n_embd": 32, "lr": 0.01, "weight_decay": 0.1, "schedule": "one-cycle"}
_ADAM: dict[str, Any] = {"lr": 0.005, "weight_decay": 0.1}
GRID: dict[str, tuple[type[LitCharLM], dict[str, Any]]] = {
    "gru, 32 units, dropout 0.5": (LitGRU, {**_CYCLE, "n_hidden": 32, "dropout": 0.5}),
    "gru, 64 units, dropout 0.3": (LitGRU, {**_CYCLE, "n_hidden": 64, "dropout": 0.3}),
    "gru, 64 units, dropout 0.5": (LitGRU, {**_CYCLE, "n_hidden": 64, "dropout": 0.5}),
    "gru, 64 units, constant rate": (LitGRU, {"n_embd": 32, "lr": 0.004, "n_hidden": 64, "dropout": 0.5}),
    "gru, 128 units, dropout 0.5": (LitGRU, {**_CYCLE, "lr": 0.005, "n_hidden": 128, "dropout": 0.5}),
    "gru, 128 units, decay 1": (LitGRU, {**_CYCLE, "lr": 0.005, "n_hidden": 128, "dropout": 0.5, "weight_decay": 1.0}),
    "mlp, 50 units": (LitMLP, {"n_hidden": 50, "optimizer": "SGD", "lr": 0.1}),
    "mlp, 50 units, AdamW": (LitMLP, {**_ADAM, "n_hidden": 50}),
    "mlp, 200 units, AdamW": (LitMLP, {**_ADAM, "n_hidden": 200}),
    "mlp, 200 units, decay 1": (LitMLP, {**_ADAM, "n_hidden": 200, "weight_decay": 1.0}),
}


def main(lists: tuple[str, ...], sizes: tuple[PositiveInt, ...] = (), seed: int = 0) -> None:
    """Train all models on all lists, then print the table.

    Args:
        lists: files with one name a line.
        sizes: how many distinct names of each list to take, always the same ones; empty: all names.
        seed: of the weights and of the order of the batches.

    Raises:
        OSError: a list cannot be read.
        ValueError: a list has bad names.
    """
    refuse_same_names(lists)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="lightning")
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        files = [part for file in lists for part in (parts_of(file, sizes, Path(folder)) if sizes else [Path(file)])]
        columns = [column_of(file, Path(folder), seed) for file in files]
    rows: list[list[Any]] = [[model, *(column[model] for column in columns)] for model in columns[0]]
    print(render(Table(("model", *(file.stem for file in files)), rows), "markdown"))


def parts_of(file: str, sizes: tuple[int, ...], folder: Path) -> list[Path]:
    """Files with some of the distinct names of a list, each with all of a smaller one's."""
    names = sorted(set(read_corpus(file).names()))
    random.Random(0).shuffle(names)
    if max(sizes) > len(names):
        refuse(f"{file} has {len(names):,} distinct names, fewer than {max(sizes):,}")
    parts = [folder / f"{Path(file).stem}-{size}.txt" for size in sizes]
    for part, size in zip(parts, sizes, strict=True):
        part.write_text("\n".join(names[:size]) + "\n", encoding="utf-8")
    return parts


def column_of(file: Path, folder: Path, seed: int) -> dict[str, float]:
    """The lowest val loss of each model on a list."""
    given = folder / file.stem, [f"--data.path={file}"], file.read_bytes()
    counted, best = (row_of(*given, config, seed)["val"] for config in ("ngram", "best"))
    others = {"ngram": counted} | {name: lowest_val(file, *of_grid, seed) for name, of_grid in GRID.items()}
    lowest = min(others.values())
    print(f"{file.stem}: best {best:.4f}, the others {lowest:.4f}", file=sys.stderr, flush=True)
    return {**others, "best": best, "lowest but best": lowest, "best above it": best - lowest}


def lowest_val(file: Path, kind: type[LitCharLM], options: dict[str, Any], seed: int) -> float:
    """Train a net, and give the lowest of its val losses."""
    pl.seed_everything(seed, verbose=False)
    data = NamesDataModule(str(file), batch_size=32, min_batches=10, shuffle_seed=seed)
    losses = ValLosses()
    quiet: dict[str, Any] = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar"), False)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=EPOCHS,
        gradient_clip_val=1.0,
        num_sanity_val_steps=0,
        callbacks=[losses],
        enable_model_summary=False,
        **quiet,
    )
    trainer.fit(kind(alphabet=data.alphabet, **options), data)
    return min(losses.all)


class ValLosses(pl.Callback):
    """The losses of all validations."""

    def __init__(self) -> None:
        self.all: list[float] = []

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.all.append(float(trainer.callback_metrics["loss/val"]))


if __name__ == "__main__":
    with short_errors("grid.py"):
        auto_cli(main, as_positional=False)
