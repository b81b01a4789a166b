"""Draw names from a net, character by character. Dimension key: B rows, V = vocab_size."""

from collections.abc import Collection, Iterator

import torch
from torch import nn

from charlm.inference.choosing import Choice
from charlm.inference.decoding import NameWalk, WindowWalk, walk
from charlm.nets.interface import positions_of
from charlm.nets.loss import evaluating
from charlm.tokenizer import BOUNDARY, CharTokenizer

_ROUNDS = 8  # how often names are drawn again in place of excluded ones


@torch.inference_mode()
def sample_names(
    net: nn.Module,
    tokenizer: CharTokenizer,
    n: int,
    *,
    prefix: str = "",
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    max_length: int = 30,
    exclude: Collection[str] = (),
    distinct: bool = False,
) -> list[str]:
    """Draw names character by character from a net's own distribution, many of them side by side.

    The draws come from a generator of their own: the same seed gives the same names, and torch's global generator stays
    where it is. Ids without a character are never drawn. No name is empty: without a prefix, the end is not offered as
    the first character. A name that reaches `max_length` is cut there.

    Args:
        net: of windows: context int64 (B, T) in, logits (B, V or more) for the next character out; or of names, with
            `takes = "names"` and `step`, as in `NameWalk`.
        tokenizer: the characters of the net's first V ids.
        n: names to draw, >= 1.
        prefix: how every name begins.
        temperature: > 0; the logits are divided by it: below 1 nearer to the most likely names, above 1 wilder.
        top_k: draw from the k most likely characters only, the end counted as one, >= 1; None: from all.
        top_p: draw from the fewest most likely characters that together have this probability, in (0, 1]; None: all.
        seed: of the draws.
        max_length: the longest name in characters, the prefix included; a net with fewer positions cuts at its own
            `block_size`.
        exclude: names that are not to come out, as those of the training split; others are drawn in their place.
        distinct: no name twice; others are drawn in their place.

    Returns:
        n names in the order of their drawing.

    Raises:
        ValueError: an argument outside its range, a prefix with a character outside the alphabet, too few other names
            after several rounds, or a net that gives no character a probability.
    """
    choice = Choice(temperature, top_k, top_p)
    positions = positions_of(net)
    max_length = max_length if positions is None else min(max_length, positions)
    _check(n, prefix, seed, max_length)
    start = tokenizer.encode(prefix)
    generator = torch.Generator().manual_seed(seed)
    taken = set(exclude)
    names: list[str] = []
    tried, size = 0, n
    with evaluating(net):
        for _ in range(_ROUNDS):
            for drawn in _draws(net, tokenizer, size, start, choice, max_length, generator):
                for name in drawn:
                    if name not in taken:
                        names.append(name)
                        if distinct:
                            taken.add(name)
            if len(names) >= n:
                return names[:n]
            tried += size
            size = min(2 * (n - len(names)) * tried // max(len(names), 1) + 64, max(n, walk(net).most))
    raise ValueError(
        f"only {len(names)} of {tried} drawn names are {_wanted(exclude, distinct)}; {n} were asked for:"
        " ask for fewer, or raise temperature, top_k or top_p"
    )


def _check(n: int, prefix: str, seed: int, max_length: int) -> None:
    if n < 1:
        raise ValueError(f"n is {n}; ask for at least 1 name")
    if not -(2**63) <= seed < 2**64:
        raise ValueError(f"seed is {seed}; it must fit into 64 bits")
    if max_length <= len(prefix):
        raise ValueError(
            f"max_length is {max_length}, and the prefix {prefix!r} has {len(prefix)} characters; max_length counts"
            " them too and must be larger"
        )


def _wanted(exclude: Collection[str], distinct: bool) -> str:
    outside = f"outside the {len(frozenset(exclude))} excluded ones" if exclude else ""
    return " and ".join(filter(None, [outside, "distinct" if distinct else ""]))


def _draws(
    net: nn.Module,
    tokenizer: CharTokenizer,
    size: int,
    start: list[int],
    choice: Choice,
    max_length: int,
    generator: torch.Generator,
) -> Iterator[list[str]]:
    """`size` names that begin with the ids `start`, as many at a time as the net's walk can take."""
    way = walk(net)
    for first in range(0, size, way.most):
        yield _draw(way(net, min(way.most, size - first)), tokenizer, start, choice, max_length, generator)


def _draw(
    way: WindowWalk | NameWalk,
    tokenizer: CharTokenizer,
    start: list[int],
    choice: Choice,
    max_length: int,
    generator: torch.Generator,
) -> list[str]:
    """One name for each row of the walk; a finished row leaves the work."""
    logits = way.begin(start)
    rows = len(logits)
    alive = torch.arange(rows)
    columns = [torch.full((rows,), i) for i in start]
    while True:
        drawn = choice(logits[:, : tokenizer.vocab_size].cpu(), generator, end_allowed=bool(columns))
        columns.append(torch.full((rows,), BOUNDARY).index_copy(0, alive, drawn))
        going_on = drawn != BOUNDARY
        alive = alive[going_on]
        if not len(alive) or len(columns) == max_length:
            break
        logits = way.step(drawn, going_on)
    columns.append(torch.full((rows,), BOUNDARY))  # where a name was cut, it ends here
    ids = torch.stack(columns, dim=1)
    ended = ids == BOUNDARY
    return tokenizer.decode_lines(ids[(ended.cumsum(1) - ended.long()) == 0])  # up to the first boundary of each row
