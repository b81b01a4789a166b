"""Names with labels: from the net of one label, or from all of them. Dimension key: K labels."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from charlm.callbacks.shared.evaluating import evaluating
from charlm.inference.sampling import sample_names
from charlm.nets.given_label import GivenLabel
from charlm.nets.loss import device_of, nats, target_weights
from charlm.runs.load_checkpoint import Checkpoint
from charlm.tokenizer import CharTokenizer

T = TypeVar("T")


def of_label(net: nn.Module, tokenizer: CharTokenizer, label: str | None) -> nn.Module:
    """The net of the names with one label; where names have no labels, the net itself.

    Raises:
        ValueError: no such label, or none where names have labels.
    """
    start = tokenizer.start(label)
    return GivenLabel(net, start) if tokenizer.labels else net


def given_label(checkpoint: Checkpoint, label: str | None) -> Checkpoint:
    """A checkpoint as if it held the model of the names with one label, and these had no labels.

    Raises:
        ValueError: no such label, or none where names have labels.
    """
    net = of_label(checkpoint.net, checkpoint.tokenizer, label)
    return replace(checkpoint, net=net, tokenizer=CharTokenizer(checkpoint.tokenizer.alphabet))


@torch.inference_mode()
def losses_by_label(
    net: nn.Module, tokenizer: CharTokenizer, batches: Iterable[tuple[Tensor, ...]]
) -> dict[str, float]:
    """The exact mean loss of the names of each label in nats per character, for the labels that names have.

    The arguments are those of `evaluate` and `of_label`.
    """
    device, K = device_of(net), len(tokenizer.labels)
    total, count = torch.zeros(2, K, dtype=torch.float64)
    with evaluating(net):
        for context, target, *weights in batches:
            weight = target_weights(target, *weights).double()
            surprise = nats(net(context.to(device)), target.to(device)).cpu().double()
            number = (context[:, 0] - tokenizer.vocab_size).view(-1, *[1] * (target.dim() - 1)).expand(target.shape)
            total.index_add_(0, number.flatten(), (surprise * weight).flatten())
            count.index_add_(0, number.flatten(), weight.flatten())
    means = zip(tokenizer.labels, total.tolist(), count.tolist(), strict=True)
    return {label: nats / characters for label, nats, characters in means if characters}


def sample_with_labels(
    net: nn.Module, tokenizer: CharTokenizer, n: int, seed: int, shares: Sequence[float] | None = None, **options: Any
) -> list[tuple[str, str]]:
    """Names, each with its label before it, "" if names have none.

    Args:
        net: the net.
        tokenizer: the characters and labels of the net's ids.
        n: number of names.
        seed: of all draws.
        shares: how probable each label is, K numbers; None: all are equally probable.
        options: those of `sample_names`.
    """
    labels = tokenizer.labels

    def draw(label: str | None, n: int, seed: int) -> list[str]:
        return sample_names(of_label(net, tokenizer, label), tokenizer, n, seed=seed, **options)

    if not labels:
        return [("", name) for name in draw(None, n, seed)]
    return list(draw_with_labels(labels, shares or [1.0] * len(labels), n, seed, draw))


def draw_with_labels(
    labels: Sequence[str], shares: Sequence[float], n: int, seed: int, draw: Callable[[str, int, int], Iterable[T]]
) -> Iterator[tuple[str, T]]:
    """Draw a label and then a name that has it, n times; yields both.

    Args:
        labels: K labels.
        shares: how probable each is, K numbers.
        n: number of names.
        seed: of all draws.
        draw: draws names of one label; takes it, the number of names and a seed, another one for each label.
    """
    limits = torch.tensor(shares, dtype=torch.float64).cumsum(0)
    places = torch.rand(n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * limits[-1]
    numbers = torch.searchsorted(limits, places, right=True).clamp_(max=len(limits) - 1).tolist()
    names = {
        number: iter(draw(label, numbers.count(number), (seed + number) % 2**63))
        for number, label in enumerate(labels)
        if number in numbers
    }
    for number in numbers:
        yield labels[number], next(names[number])
