"""CPU time of a training step: the faster forms of nets/parts/ and models/ beside torch's own layers and autograd.

    python scripts/bench/gradients.py [names.txt] [steps]

One thread, the shipped configs' sizes, medians over alternating steps, so that a busy machine slows all ways alike.
"""

import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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
    net.dropout = nn.Dropout(net.dropout.p)  # type: ignore[assignment]
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


def compare(title: str, ways: dict[str, Callable[[Tensor, Tensor], object]], batches: Batches, steps: int) -> None:
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
        windows = [tuple(part[:size] for part in build_contexts(names[start::20], tokenizer, 3)) for start in range(20)]
        ways = {
            "analytic": lambda context, target: mlp_gradients(arrays, context, target),
            "autograd": lambda context, target: torch.autograd.grad(F.cross_entropy(net(context), target), weights),
        }
        compare(f"MLP's gradients, {size} examples:", ways, windows, 10 * steps)  # type: ignore[arg-type]

    gru, transformer = {"n_embd": 64, "n_hidden": 256, "dropout": 0.3}, {"n_layer": 3, "n_embd": 96, "dropout": 0.15}
    of_gru = {"charlm": GRU(V, **gru), "nn.Dropout": with_torchs_dropout(GRU(V, **gru)), "nn.GRU": PlainGRU(V, **gru)}  # type: ignore[arg-type]
    compare("GRU, 128 names:", {name: autograd(net) for name, net in of_gru.items()}, whole, steps)
    step = autograd(Transformer(V, **transformer))  # type: ignore[arg-type]
    turned = {"without padding": step, "with padding": lambda context, target: step(context.flip(0), target.flip(0))}
    compare("Transformer, 128 names:", turned, whole, steps)  # padding is left out where the longest names come first


if __name__ == "__main__":
    main(sys.argv[1] if sys.argv[1:] else None, *map(int, sys.argv[2:3]))
