"""charlm without Lightning, as workers of bench.py."""

import statistics

import torch
from peers import trained
from worker import Numbers, clock, peak_memory, work

from charlm.data.batches import BatchLoader
from charlm.data.splits import load_splits
from charlm.inference.sampling import sample_names
from charlm.nets.loss import evaluate
from charlm.nets.mlp import MLP
from charlm.tokenizer import CharTokenizer


def contexts(data: str, block_size: int) -> Numbers:
    """From a file to the tensors of its three splits: the median of nine repetitions in one process."""
    times = []
    for _ in range(9):
        with clock(numbers := Numbers()):
            splits = load_splits(data, block_size=block_size)
            for part in (splits.train, splits.val, splits.test):
                part.tensors()
        times.append(numbers["seconds"])
    return {"seconds": statistics.median(times)}


def first_batch(data: str) -> Numbers:
    """From a file to its first shuffled batch."""
    numbers = Numbers()
    with peak_memory(numbers), clock(numbers):
        next(iter(BatchLoader(load_splits(data).train, 32, sampling="epoch")))
    return numbers


def sampling(data: str, count: int) -> Numbers:
    """Draw names in one batch, with the weights that the notebook's loop has trained."""
    names, (C, W1, b1, W2, b2) = trained(data)
    net = MLP(len(C))
    with torch.no_grad():
        for weight, value in zip(net.parameters(), (C, W1.T, b1, W2.T, b2), strict=True):
            weight.copy_(value)
    tokenizer, numbers = CharTokenizer("".join(list(names.stoi)[: len(C) - 1])), Numbers()
    with clock(numbers):
        drawn = sample_names(net, tokenizer, count)
    return {**numbers, "length": sum(map(len, drawn)) / count}


def evaluation(data: str) -> Numbers:
    """The losses of all three splits, batch by batch; the encoded splits count as memory."""
    splits, numbers = load_splits(data, split_by="line"), Numbers()
    net = MLP(splits.tokenizer.vocab_size)
    parts = (splits.train, splits.val, splits.test)
    with peak_memory(numbers), clock(numbers):
        for part in parts:
            evaluate(net, BatchLoader(part, 8192))
    numbers["bytes"] += sum(part.stream.nbytes for part in parts)
    return numbers


if __name__ == "__main__":
    work(contexts, first_batch, sampling, evaluation)
