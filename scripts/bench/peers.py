"""The notebooks' own loops, as workers of bench.py: torch alone, with its default number of threads.

Source: "makemore", parts 1 to 3, by Andrej Karpathy; the initial weights are part 3's.
"""

import statistics
import time
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from worker import Numbers, clock, peak_memory, work

EMBEDDING, HIDDEN = 10, 200


class Names(NamedTuple):
    """The names of a file, shuffled, and their characters with "." before them."""

    words: list[str]
    stoi: dict[str, int]

    def parts(self) -> tuple[list[str], list[str], list[str]]:
        """80/10/10, line by line."""
        n1, n2 = int(0.8 * len(self.words)), int(0.9 * len(self.words))
        return self.words[:n1], self.words[n1:n2], self.words[n2:]


def read_names(data: str) -> Names:
    """Read and shuffle, into the split that `split_by="line"` gives with seed 42."""
    with open(data, encoding="utf-8") as file:
        words = file.read().splitlines()
    chars = sorted(set("".join(words)))
    stoi = {s: i + 1 for i, s in enumerate(chars)}
    stoi["."] = 0
    order = torch.randperm(len(words), generator=torch.Generator().manual_seed(42)).tolist()
    return Names([words[i] for i in order], stoi)


def build_dataset(words: list[str], stoi: dict[str, int], block_size: int = 3) -> tuple[Tensor, Tensor]:
    """All contexts and targets of a list of names."""
    X, Y = [], []
    for w in words:
        context = [0] * block_size
        for ch in w + ".":
            ix = stoi[ch]
            X.append(context)
            Y.append(ix)
            context = context[1:] + [ix]  # noqa: RUF005  # the notebook's own form
    return torch.tensor(X), torch.tensor(Y)


def new_parameters(V: int) -> list[Tensor]:
    """C, W1, b1, W2 and b2."""
    g = torch.Generator().manual_seed(2147483647)
    C = torch.randn((V, EMBEDDING), generator=g)
    W1 = torch.randn((3 * EMBEDDING, HIDDEN), generator=g) * (5 / 3) / (3 * EMBEDDING) ** 0.5
    b1 = torch.randn(HIDDEN, generator=g) * 0.01
    W2 = torch.randn((HIDDEN, V), generator=g) * 0.01
    b2 = torch.randn(V, generator=g) * 0
    parameters = [C, W1, b1, W2, b2]
    for p in parameters:
        p.requires_grad = True
    return parameters


def train(
    parameters: list[Tensor], X: Tensor, Y: Tensor, steps: range, lrs: Sequence[float] | None = None
) -> list[float]:
    """The notebook's loop over some of its 200,000 steps, or over the rates of its sweep; gives the losses."""
    C, W1, b1, W2, b2 = parameters
    lossi = []
    for i in steps:
        ix = torch.randint(0, X.shape[0], (32,))
        emb = C[X[ix]]
        h = torch.tanh(emb.view(-1, 3 * EMBEDDING) @ W1 + b1)
        logits = h @ W2 + b2
        loss = F.cross_entropy(logits, Y[ix])
        for p in parameters:
            p.grad = None
        loss.backward()
        lr = lrs[i] if lrs is not None else 0.1 if i < 100000 else 0.01
        for p in parameters:
            p.data += -lr * p.grad  # type: ignore[operator]  # the backward pass has set it
        lossi.append(loss.log10().item())
    return lossi


@torch.no_grad()
def split_loss(parameters: list[Tensor], X: Tensor, Y: Tensor) -> float:
    """The loss on a whole split at once."""
    C, W1, b1, W2, b2 = parameters
    emb = C[X]
    h = torch.tanh(emb.view(-1, 3 * EMBEDDING) @ W1 + b1)
    logits = h @ W2 + b2
    return F.cross_entropy(logits, Y).item()


def mlp(data: str, steps: int) -> Numbers:
    """Train for so many steps, on one thread; the seconds are CPU time, which a busy machine changes less."""
    torch.set_num_threads(1)
    names = read_names(data)
    X, Y = build_dataset(names.parts()[0], names.stoi)
    parameters = new_parameters(len(names.stoi))
    started = time.process_time()
    train(parameters, X, Y, range(steps))
    return {"seconds": time.process_time() - started}


def sweep(data: str, steps: int) -> Numbers:
    """The notebook's sweep of the learning rate, from 1e-4 to 10."""
    names, numbers = read_names(data), Numbers()
    X, Y = build_dataset(names.parts()[0], names.stoi)
    parameters = new_parameters(len(names.stoi))
    lrs = (10 ** torch.linspace(-4, 1, steps)).tolist()
    with clock(numbers):
        train(parameters, X, Y, range(steps), lrs)
    return numbers


def time_to_loss(data: str, goal: float) -> Numbers:
    """Train until the val loss is at the goal, or for 200,000 steps; only the training is on the clock."""
    names = read_names(data)
    (X, Y), val = (build_dataset(part, names.stoi) for part in names.parts()[:2])
    parameters = new_parameters(len(names.stoi))
    seconds, loss, step = 0.0, float("inf"), 0
    while step < 200_000 and loss > goal:
        steps = range(step, step + 1_000)
        started = time.perf_counter()
        train(parameters, X, Y, steps)
        seconds += time.perf_counter() - started
        step = steps.stop
        if step >= 100_000:
            loss = split_loss(parameters, *val)
    return {"seconds": seconds, "loss": loss, "step": step}


def bigram(data: str, steps: int) -> Numbers:
    """Gradient descent on all pairs of characters at once."""
    names, numbers = read_names(data), Numbers()
    V = len(names.stoi)
    contexts, ys = build_dataset(names.words, names.stoi, block_size=1)
    xs, num = contexts[:, 0], len(ys)
    W = torch.randn((V, V), generator=torch.Generator().manual_seed(2147483647), requires_grad=True)
    with clock(numbers):
        for _ in range(steps):
            xenc = F.one_hot(xs, num_classes=V).float()
            logits = xenc @ W
            counts = logits.exp()
            probs = counts / counts.sum(1, keepdims=True)  # type: ignore[call-overload]  # numpy's word for keepdim
            loss = -probs[torch.arange(num), ys].log().mean() + 0.01 * (W**2).mean()
            W.grad = None
            loss.backward()
            W.data += -50 * W.grad  # type: ignore[operator]  # the backward pass has set it
    return numbers


def contexts(data: str, block_size: int) -> Numbers:
    """A file to the tensors of its three splits: the median of three times in one process."""
    times = []
    for _ in range(3):
        with clock(numbers := Numbers()):
            names = read_names(data)
            for part in names.parts():
                build_dataset(part, names.stoi, block_size)
        times.append(numbers["seconds"])
    return {"seconds": statistics.median(times)}


def trained(data: str, steps: int = 2_000) -> tuple[Names, list[Tensor]]:
    """Names, and weights that draw names of about their length."""
    names = read_names(data)
    parameters = new_parameters(len(names.stoi))
    train(parameters, *build_dataset(names.parts()[0], names.stoi), range(steps))
    return names, parameters


def sampling(data: str, count: int) -> Numbers:
    """Draw names one after the other."""
    names, (C, W1, b1, W2, b2) = trained(data)
    itos = {i: s for s, i in names.stoi.items()}
    g, drawn, numbers = torch.Generator().manual_seed(2147483647 + 10), [], Numbers()
    with clock(numbers):
        for _ in range(count):
            out: list[int] = []
            context = [0] * 3
            while True:
                emb = C[torch.tensor([context])]
                h = torch.tanh(emb.view(1, -1) @ W1 + b1)
                logits = h @ W2 + b2
                probs = F.softmax(logits, dim=1)
                ix = int(torch.multinomial(probs, num_samples=1, generator=g).item())
                context = context[1:] + [ix]  # noqa: RUF005  # the notebook's own form
                out.append(ix)
                if ix == 0:
                    break
            drawn.append("".join(itos[i] for i in out))
    return {**numbers, "length": sum(map(len, drawn)) / count}


def evaluation(data: str) -> Numbers:
    """The losses of all three splits, each in one pass; its tensors are there already, and count as memory."""
    names, numbers = read_names(data), Numbers()
    splits = [build_dataset(part, names.stoi) for part in names.parts()]
    parameters = new_parameters(len(names.stoi))
    with peak_memory(numbers), clock(numbers):
        for X, Y in splits:
            split_loss(parameters, X, Y)
    numbers["bytes"] += sum(X.nbytes + Y.nbytes for X, Y in splits)
    return numbers


if __name__ == "__main__":
    work(mlp, sweep, time_to_loss, bigram, contexts, sampling, evaluation)
