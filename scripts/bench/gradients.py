"""CPU time of a training step: the faster forms of nets/parts/ and models/ beside torch's own layers and autograd.

    python scripts/bench/gradients.py [names.txt] [steps]

One thread, the shipped configs' sizes, medians over alternating steps, so that a busy machine slows all ways alike.
"""

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from charlm.cli.fast_cpu import fast_products, keep_freed_memory
from charlm.data.contexts import build_contexts
from charlm.data.sequences import build_sequences
from charlm.data.splits import load_splits
from charlm.models.fast_mlp import mlp_gradients
from charlm.nets.gru import GRU
from charlm.nets.loss import cross_entropy
from charlm.nets.mlp import MLP
from charlm.nets.parts.recurrence import Recurrent
from charlm.nets.transformer import Transformer
from charlm.tokenizer import CharTokenizer

Batches = list[tuple[Tensor, Tensor]]


class PlainGRU(Recurrent):
    """The GRU without its faster form."""

    layers = nn.GRU


def with_torchs_dropout(net: GRU) -> GRU:
    """Replace charlm's dropout by torch's."""
    net.dropout = nn.Dropout(net.dropout.p)  # type: ignore[assignment]  # is used in the same way
    return net


def autograd(net: nn.Module) -> Callable[[Tensor, Tensor], object]:
    """A training step by autograd, AdamW and clipping, as the shipped configs have it."""
    optimizer = torch.optim.AdamW(net.train().parameters(), lr=1e-3, fused=True)

    def step(context: Tensor, target: Tensor) -> None:
        optimizer.zero_grad()
        cross_entropy(net(context), target).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()

    return step


def with_gradients(m: int, k: int, n: int) -> list[tuple[int, ...]]:
    """The sizes of a product of (m, k) and (k, n), and of the products that give its two gradients."""
    return [(m, k, n), (m, n, k), (k, m, n)]


def of_gru(target: Tensor) -> list[tuple[int, ...]]:
    """The products in a training step of the GRU; target int64 (B, L)."""
    first, *later = rows = (target >= 0).sum(0).tolist()
    each = [size for n in later for size in ((n, 256, 768), (n, 768, 256))]
    return [
        *each,
        (768, sum(rows) - first, 256),
        *with_gradients(sum(rows), 64, 768),
        *with_gradients(sum(rows), 256, 27),
    ]


def of_transformer(target: Tensor) -> list[tuple[int, ...]]:
    """The products in a training step of the Transformer; target int64 (B, L)."""
    S, L = int((target >= 0).sum()), target.shape[1]
    sizes = [size for k, n in ((96, 288), (96, 96), (96, 384), (384, 96)) for size in with_gradients(S, k, n)]
    heads = [(4 * len(target), *size) for size in (*with_gradients(L, 24, L), *with_gradients(L, L, 24))]
    return 3 * [*sizes, *heads] + with_gradients(S, 96, 27)


def products(of: Callable[[Tensor], list[tuple[int, ...]]]) -> Callable[[Tensor, Tensor], object]:
    """A step's matrix products alone, as torch multiplies by default."""

    @cache
    def factors(*sizes: int) -> tuple[Tensor, Tensor]:
        *batch, m, k, n = sizes
        return torch.randn(*batch, m, k), torch.randn(*batch, k, n)

    def step(names: Tensor, target: Tensor) -> None:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        for sizes in of(target):
            torch.matmul(*factors(*sizes))
        torch.set_float32_matmul_precision(before)

    return step


def compare(title: str, ways: Mapping[str, Callable[[Tensor, Tensor], object]], batches: Batches, steps: int) -> None:
    """Print the median CPU milliseconds of each way."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(steps):
        for name, step in ways.items():
            start = time.process_time()
            step(*batches[number % len(batches)])
            taken[name].append(1000 * (time.process_time() - start))
    first, *_ = medians = {name: statistics.median(times) for name, times in taken.items()}
    print(title, *(f"{name} {ms:.3f} ms ({ms / medians[first]:.2f})" for name, ms in medians.items()), sep="  ")


def main(path: str | None = None, steps: int = 200) -> None:
    """Compare the ways on batches of a list of names."""
    torch.set_num_threads(1)
    splits = load_splits(path)
    tokenizer, names = CharTokenizer(splits.corpus.alphabet), splits.names("train")
    samples = [sorted(names[start::50][:128], key=len, reverse=True) for start in range(20)]
    whole = [build_sequences(sample, tokenizer) for sample in samples]
    V = tokenizer.vocab_size

    net = MLP(V)
    weights = list(net.parameters())
    arrays = [weight.detach().numpy() for weight in weights]
    for size in (32, 1024):
        starts = (build_contexts(names[start::20], tokenizer, 3) for start in range(20))
        windows = [(context[:size], target[:size]) for context, target in starts]
        ways = {
            "analytic": lambda context, target: mlp_gradients(arrays, context, target),
            "autograd": lambda context, target: torch.autograd.grad(F.cross_entropy(net(context), target), weights),
        }
        compare(f"MLP's gradients, {size} examples:", ways, windows, 10 * steps)

    gru: dict[str, Any] = {"n_embd": 64, "n_hidden": 256, "dropout": 0.3}
    transformer: dict[str, Any] = {"n_layer": 3, "n_embd": 96, "dropout": 0.15}
    nets = {"charlm": GRU(V, **gru), "nn.Dropout": with_torchs_dropout(GRU(V, **gru)), "nn.GRU": PlainGRU(V, **gru)}
    alone = {"products alone": products(of_gru)}
    compare("GRU, 128 names:", alone | {name: autograd(net) for name, net in nets.items()}, whole, steps)
    step = autograd(Transformer(V, **transformer))
    turned = {
        "products alone": products(of_transformer),
        "without padding": step,
        "with padding": lambda context, target: step(context.flip(0), target.flip(0)),
    }
    compare("Transformer, 128 names:", turned, whole, steps)  # padding is left out where the longest names come first


if __name__ == "__main__":
    keep_freed_memory()  # both as the command charlm does
    with fast_products():
        main(sys.argv[1] if sys.argv[1:] else None, *map(int, sys.argv[2:3]))
