"""Measures how long EmbeddingPCA takes for one frame of a large table, beside scikit-learn's PCA(2) of the whole table.

A frame is everything from the table to the points: the sample of rows, their components, and axes that continue those
of the previous frame. Drawing the picture is timed separately. The ratio is the median over pairs. It needs
scikit-learn: pip install scikit-learn.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec

import torch
from torch import Tensor

from charlm.callbacks.embedding_pca.components import Components, principal_components
from charlm.callbacks.embedding_pca.scatter import embedding_figure
from charlm.callbacks.embedding_pca.table import choose_rows
from charlm.callbacks.shared.render import render

_REST = 0.3  # seconds
DIMS = 2
GOAL = 1 / 3


def make_table(rows: int, columns: int, decay: float, seed: int = 0) -> Tensor:
    """Normal random numbers, float32 (rows, columns); column i's spread is (i + 1) ** -decay, 0 for no structure."""
    table = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    return table * torch.arange(1, columns + 1) ** -decay


def frame(table: Tensor, rows: Tensor, previous: Tensor | None) -> Components:
    """What EmbeddingPCA computes for a picture: components and points of the rows that are drawn."""
    return principal_components(table[rows], DIMS, previous)


def share_held(table: Tensor, axes: Tensor) -> float:
    """The variance of the whole table along `axes`, as a share of that along its exact components."""
    centred = table.double() - table.double().mean(0)
    exact = torch.linalg.eigvalsh(centred.T @ centred)[-DIMS:].sum()
    return float((centred @ axes).square().sum() / exact)


def seconds(do: Callable[[], object]) -> float:
    """How long it takes, by the clock, once the threads that worked before have stopped spinning."""
    time.sleep(_REST)
    start = time.perf_counter()
    do()
    return time.perf_counter() - start


def compare(table: Tensor, pairs: int) -> dict[str, float]:
    """Medians in seconds, the ratio, and the share of variance that the sample's axes hold."""
    reference = import_module("sklearn.decomposition").PCA  # by name, for type checkers where it is missing
    labels = [str(row) for row in range(len(table))]
    rows = choose_rows(labels, None, None, len(table), "table", max_rows=2000).drawn
    shown = frame(table, rows, None)  # warms up as well, and is the frame before
    whole = table.numpy()
    reference(DIMS).fit(whole[:1000])
    taken = []
    for _ in range(pairs):
        ours = seconds(lambda: frame(table, rows, shown.axes))
        taken.append((ours, seconds(lambda: reference(DIMS).fit_transform(whole))))

    def picture() -> object:
        return render(embedding_figure(shown, [labels[row] for row in rows], "table"))

    picture()
    return {
        "frame": statistics.median(ours for ours, _ in taken),
        "scikit-learn": statistics.median(theirs for _, theirs in taken),
        "ratio": statistics.median(ours / theirs for ours, theirs in taken),
        "picture": statistics.median(seconds(picture) for _ in range(3)),
        "variance held": share_held(table, shown.axes),
    }


def main(arguments: list[str] | None = None) -> None:
    """Measure and print a line for a table with structure and one for a table without any."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--columns", type=int, default=768)
    parser.add_argument("--pairs", type=int, default=7, help="how often both are measured, in turns")
    parser.add_argument("--threads", type=int, help="of torch; for numpy's set OMP_NUM_THREADS, which counts for both")
    options = parser.parse_args(arguments)
    if find_spec("sklearn") is None:
        parser.error("scikit-learn is missing; pip install scikit-learn")
    if options.threads:
        torch.set_num_threads(options.threads)
    print(f"{options.rows} x {options.columns}, {torch.get_num_threads()} threads of torch, {options.pairs} pairs")
    for name, decay in {"spectrum falls": 0.5, "no structure": 0.0}.items():
        found = compare(make_table(options.rows, options.columns, decay), options.pairs)
        met = "met" if found["ratio"] <= GOAL else "missed"
        print(
            f"{name}: frame {found['frame']:.3f} s, scikit-learn {found['scikit-learn']:.3f} s,"
            f" ratio {found['ratio']:.2f} (goal <= {GOAL:.2f}, {met});"
            f" picture {found['picture']:.2f} s more; holds {100 * found['variance held']:.1f} % of the exact variance"
        )


if __name__ == "__main__":
    main()
