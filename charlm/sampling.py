"""Draw names from a net, and say how surprising names are to it. Dimension key: R names, B rows, T = block_size, V."""

import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from charlm.data.contexts import build_contexts
from charlm.loss import device_of, evaluating, nats
from charlm.tokenizer import BOUNDARY, CharTokenizer

_ROWS = 1 << 16  # names drawn, or characters scored, at a time: bounds the memory
_ROUNDS = 8  # how often names are drawn again in place of excluded ones


@dataclass(frozen=True)
class NameScore:
    """How surprising a name is to a net.

    Args:
        name: the name.
        nats: the surprise -log p in nats of each character after those before it; the last one is the name's end.
    """

    name: str
    nats: list[float]

    @property
    def total(self) -> float:
        """Nats of the whole name, its end included: -log p(name)."""
        return math.fsum(self.nats)

    @property
    def mean(self) -> float:
        """Nats per character, the end counted as one."""
        return self.total / len(self.nats)


@torch.inference_mode()
def sample_names(
    net: nn.Module,
    tokenizer: CharTokenizer,
    n: int,
    *,
    prefix: str = "",
    temperature: float = 1.0,
    top_k: int | None = None,
    seed: int = 0,
    max_length: int = 30,
    exclude: Collection[str] = (),
) -> list[str]:
    """Draw names character by character from a net's own distribution, all of them side by side.

    The draws come from a generator of their own: the same seed gives the same names, and torch's global generator stays
    where it is. Ids without a character are never drawn. No name is empty: without a prefix, the end is not offered as
    the first character. A name that reaches `max_length` is cut there.

    Args:
        net: context int64 (B, T) in, logits (B, V or more) for the next character out; T is `net.block_size`.
        tokenizer: the characters of the net's first V ids.
        n: names to draw, >= 1.
        prefix: how every name begins.
        temperature: > 0; the logits are divided by it: below 1 nearer to the most likely names, above 1 wilder.
        top_k: draw from the k most likely characters only, the end counted as one, >= 1; None: from all.
        seed: of the draws.
        max_length: the longest name in characters, the prefix included.
        exclude: names that are not to come out, as those of the training split; others are drawn in their place.

    Returns:
        n names in the order of their drawing; a name may come twice.

    Raises:
        ValueError: an argument outside its range, a prefix with a character outside the alphabet, too few names outside
            `exclude` after several rounds, or a net that gives no character a probability.
    """
    _check(n, prefix, temperature, top_k, seed, max_length)
    start = tokenizer.encode(prefix)
    excluded = frozenset(exclude)
    generator = torch.Generator().manual_seed(seed)
    names: list[str] = []
    tried, size = 0, n
    with evaluating(net):
        for _ in range(_ROUNDS):
            for rows in [_ROWS] * (size // _ROWS) + [size % _ROWS] * (size % _ROWS > 0):
                drawn = _draw(net, tokenizer, rows, start, temperature, top_k, max_length, generator)
                names += [name for name in drawn if name not in excluded]
            if len(names) >= n:
                return names[:n]
            tried += size
            size = min(2 * (n - len(names)) * tried // max(len(names), 1) + 64, max(n, _ROWS))
    raise ValueError(
        f"only {len(names)} of {tried} drawn names are outside the {len(excluded)} excluded ones; {n} were asked for:"
        " ask for fewer, or raise temperature or top_k"
    )


@torch.inference_mode()
def score_names(net: nn.Module, tokenizer: CharTokenizer, names: Sequence[str]) -> list[NameScore]:
    """How surprising each character of each name is, in nats; their mean over all names is the net's loss on them.

    Args:
        net: as for `sample_names`.
        tokenizer: the characters of the net's ids.
        names: names over the tokenizer's alphabet.

    Raises:
        ValueError: a character outside the alphabet; the message gives the name and the position.
    """
    if not names:
        return []
    for name in names:
        tokenizer.encode(name)
    context, target = build_contexts(names, tokenizer, _block_size(net))
    device = device_of(net)
    batches = zip(context.split(_ROWS), target.split(_ROWS), strict=True)
    with evaluating(net):
        surprise = torch.cat([nats(net(c.to(device)), t.to(device)).cpu() for c, t in batches]).tolist()
    ends = itertools.accumulate(len(name) + 1 for name in names)
    return [NameScore(name, surprise[end - len(name) - 1 : end]) for name, end in zip(names, ends, strict=True)]


def _check(n: int, prefix: str, temperature: float, top_k: int | None, seed: int, max_length: int) -> None:
    if n < 1:
        raise ValueError(f"n is {n}; ask for at least 1 name")
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature is {temperature}; it must be a number above 0 (1 is the net's own distribution)")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k is {top_k}; it must be at least 1, or None for all characters")
    if not -(2**63) <= seed < 2**64:
        raise ValueError(f"seed is {seed}; it must fit into 64 bits")
    if max_length <= len(prefix):
        raise ValueError(
            f"max_length is {max_length}, and the prefix {prefix!r} has {len(prefix)} characters; max_length counts"
            " them too and must be larger"
        )


def _draw(
    net: nn.Module,
    tokenizer: CharTokenizer,
    rows: int,
    start: list[int],
    temperature: float,
    top_k: int | None,
    max_length: int,
    generator: torch.Generator,
) -> list[str]:
    """Draw `rows` names that begin with the ids `start`; a finished row leaves the work."""
    device, block_size = device_of(net), _block_size(net)
    context = torch.tensor(([BOUNDARY] * block_size + start)[-block_size:]).repeat(rows, 1)
    alive = torch.arange(rows)
    columns = [torch.full((rows,), i) for i in start]
    while len(alive) and len(columns) < max_length:
        logits = net(context.to(device))[:, : tokenizer.vocab_size].cpu()
        drawn = _choose(logits, temperature, top_k, generator, end_allowed=bool(columns))
        columns.append(torch.full((rows,), BOUNDARY).index_copy(0, alive, drawn))
        going_on = drawn != BOUNDARY
        alive = alive[going_on]
        context = torch.cat([context[:, 1:], drawn[:, None]], dim=1)[going_on]
    columns.append(torch.full((rows,), BOUNDARY))  # where a name was cut, it ends here
    ids = torch.stack(columns, dim=1)
    ended = ids == BOUNDARY
    return tokenizer.decode_lines(ids[(ended.cumsum(1) - ended.long()) == 0])  # up to the first boundary of each row


def _choose(
    logits: Tensor, temperature: float, top_k: int | None, generator: torch.Generator, *, end_allowed: bool
) -> Tensor:
    """One id for each row of logits (B, V), int64 (B,)."""
    first = 0 if end_allowed else BOUNDARY + 1
    scores = logits[:, first:]
    best = scores.amax(1, keepdim=True)
    if not best.isfinite().all():
        raise ValueError(
            "the net gives no character a probability: its logits are NaN or infinite, or it is a count table that"
            " needs k > 0"
        )
    scores = scores - best  # first, so that a tiny temperature gives -inf for the others, never NaN
    if top_k is not None and top_k < scores.shape[1]:
        likely = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, scores.topk(top_k).indices, True)
        scores = scores.masked_fill(~likely, -math.inf)
    if temperature != 1:
        scores = scores.double() / temperature
    below = scores.exp().cumsum(1, dtype=torch.float64)  # up to their sum, of which a part is drawn
    drawn = torch.rand(len(below), 1, dtype=torch.float64, generator=generator) * below[:, -1:]
    return (below <= drawn).sum(1) + first  # the first that exceeds it, so none without a probability


def _block_size(net: nn.Module) -> int:
    return int(net.block_size)  # type: ignore[arg-type]  # nn.Module types every attribute as Tensor | Module
