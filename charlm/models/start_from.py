"""Start a training from the weights of another one, on names with other letters. V = vocab_size."""

import torch
from torch import Tensor

from charlm.models.base import LitCharLM
from charlm.runs.load_checkpoint import Checkpoint

ANY = ("vocab_size", "n_labels", "weighted", "dropout", "init")
"""Arguments of the nets that a new training may change."""


@torch.no_grad()
def start_from(model: LitCharLM, start: Checkpoint) -> str:
    """Copy the weights of a checkpoint into a new model; those of a letter go to the same letter.

    New letters, and all labels, keep their initial weights. Counts of n-grams are not copied.

    Args:
        model: with the checkpoint's net and sizes; its alphabet may be another one.
        start: the checkpoint.

    Returns:
        The letters that the checkpoint does not have.

    Raises:
        ValueError: another net or other sizes, a net that has counts only, or labels in only one of the two trainings
            of a net of windows.
    """
    net, old = model.net, start.net
    kind, old_kind = type(net).__name__, type(old).__name__
    if not list(net.parameters()):
        raise ValueError(f"{kind} has counts alone, and no weights to start from; leave --init_from out")
    if kind != old_kind:
        raise ValueError(
            f"{start.path} holds the weights of {old_kind}, which do not fit {kind}; give --init_from a run of {kind}"
        )
    args, old_args = model._net_args, start.net_args
    for name, was in old_args.items():
        if name not in ANY and args.get(name) != was:
            raise ValueError(f"{start.path} has {name} {was}, not {args.get(name)}; give the run's, or leave it out")
    letters, old_letters = model.tokenizer.alphabet, start.tokenizer.alphabet
    both = [letter for letter in letters if letter in old_letters]
    ids, old_ids = ([0, *(alphabet.index(letter) + 1 for letter in both)] for alphabet in (letters, old_letters))
    with torch.device("meta"):  # with one letter more: the dimensions that it lengthens are those of letters
        longer = type(net)(**{**args, "vocab_size": args["vocab_size"] + 1}).state_dict()
    counts, found = getattr(net, "grows", ()), old.state_dict()
    for name, weight in net.state_dict().items():
        if name not in counts:
            rows = [size - now for size, now in zip(longer[name].shape, weight.shape, strict=True)]
            there = _places(weight, rows, ids, args["vocab_size"])
            values = found[name][_places(found[name], rows, old_ids, old_args["vocab_size"])]
            if weight[there].shape != values.shape:  # of a net of windows, where a label has a place
                had, advice = ("", "give") if start.tokenizer.labels else ("no ", "leave out")
                raise ValueError(
                    f"{start.path} was trained on names with {had}labels, as {kind} must be; {advice} `label`"
                )
            weight[there] = values
    return "".join(letter for letter in letters if letter not in old_letters)


def _places(weight: Tensor, rows: list[int], letters: list[int], V: int) -> tuple[Tensor, ...]:
    """An index of the weights of some letters, one tensor a dimension, which broadcast.

    Args:
        weight: of any shape.
        rows: how many rows a letter has in each dimension, V apart; 0: the dimension is not one of letters.
        letters: ids.
        V: how many ids there are.
    """
    chosen = [
        (torch.arange(times)[:, None] * V + torch.tensor(letters)).flatten() if times else torch.arange(size)
        for size, times in zip(weight.shape, rows, strict=True)
    ]
    return tuple(index.view(-1, *[1] * (weight.dim() - 1 - dim)) for dim, index in enumerate(chosen))
