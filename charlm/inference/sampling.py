"""Draw names from a net, character by character. Dimension key: B rows, V = vocab_size."""

from collections.abc import Collection, Iterator

import torch
from torch import nn

from charlm.callbacks.shared.evaluating import evaluating
from charlm.inference.character_sampler import CharacterSampler
from charlm.inference.decoding import Decoder, decoder_for
from charlm.nets.interface import positions_of
from charlm.tokenizer import BOUNDARY, CharTokenizer

_ROUNDS = 8  # at most, of drawing more names in place of excluded ones


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

    The same seed gives the same names; torch's global generator is not used. Ids without a character are never drawn.
    No name is empty: without a prefix, the first character cannot be the end. A name is cut at `max_length`.

    Args:
        net: takes windows: context int64 (B, T) in, logits (B, V or more) for the next character out; or takes names,
            with `takes = "names"` and `step`, as for `NameDecoder`.
        tokenizer: the characters of the net's first V ids.
        n: number of names to draw, >= 1.
        prefix: the beginning of every name.
        temperature: > 0; the logits are divided by it. Below 1 gives more likely names, above 1 wilder ones.
        top_k: draw from the k most likely characters only, >= 1; the end of the name counts as one. None: from all.
        top_p: draw from the fewest most likely characters that together have this probability, in (0, 1]; None: all.
        seed: of the draws.
        max_length: length of the longest name in characters, including the prefix; a net with fewer positions cuts
            names at its last position.
        exclude: names that must not be drawn, such as those of the training split; others are drawn in their place.
        distinct: draw no name twice; others are drawn in place of repeated ones.

    Returns:
        n names in the order in which they were drawn.

    Raises:
        ValueError: an argument outside its range, a prefix with a character outside the alphabet, too few allowed names
            after several rounds, or a net that gives no character a probability.
    """
    drawn = draw_names(
        net,
        tokenizer,
        n,
        prefix=prefix,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        max_length=max_length,
        exclude=exclude,
        distinct=distinct,
    )
    return [name for names in drawn for name in names]


@torch.inference_mode()
def draw_names(
    net: nn.Module,
    tokenizer: CharTokenizer,
    n: int,
    *,
    prefix: str,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    seed: int,
    max_length: int,
    exclude: Collection[str],
    distinct: bool,
) -> Iterator[list[str]]:
    """Yield the names of `sample_names` part by part, as soon as they are drawn."""
    sampler = CharacterSampler(temperature, top_k, top_p)
    positions = positions_of(net)
    max_length = max_length if positions is None else min(max_length, positions)
    _check(n, prefix, seed, max_length)
    prefix_ids = tokenizer.encode(prefix)
    generator = torch.Generator().manual_seed(seed)
    taken = set(exclude)
    found, tried, size = 0, 0, n
    with evaluating(net):
        for _ in range(_ROUNDS):
            for drawn in _draws(net, tokenizer, size, prefix_ids, sampler, max_length, generator):
                names = [name for name in drawn if name not in taken]
                if distinct:
                    names = list(dict.fromkeys(names))
                    taken.update(names)
                yield names[: n - found]
                found = min(found + len(names), n)
                if found == n:
                    return
            tried += size
            size = min(2 * (n - found) * tried // max(found, 1) + 64, max(n, decoder_for(net).max_rows))
    raise ValueError(
        f"only {found} of {tried} drawn names are {_allowed(exclude, distinct)}, and {n} were asked for;"
        " ask for fewer, or raise temperature, top_k or top_p"
    )


def _check(n: int, prefix: str, seed: int, max_length: int) -> None:
    if n < 1:
        raise ValueError(f"n is {n}; ask for at least 1 name")
    if not -(2**63) <= seed < 2**64:
        raise ValueError(f"seed is {seed}; give a whole number of at most 64 bits")
    if max_length <= len(prefix):
        raise ValueError(
            f"max_length is {max_length}, and the prefix {prefix!r} has {len(prefix)} characters; max_length counts"
            " them too and must be larger"
        )


def _allowed(exclude: Collection[str], distinct: bool) -> str:
    outside = f"outside the {len(frozenset(exclude))} excluded ones" if exclude else ""
    return " and ".join(filter(None, [outside, "distinct" if distinct else ""]))


def _draws(
    net: nn.Module,
    tokenizer: CharTokenizer,
    size: int,
    prefix: list[int],
    sampler: CharacterSampler,
    max_length: int,
    generator: torch.Generator,
) -> Iterator[list[str]]:
    """`size` names that begin with the ids of a prefix, as many at a time as the net's decoder can take."""
    decoder = decoder_for(net)
    for first in range(0, size, decoder.max_rows):
        rows = min(decoder.max_rows, size - first)
        yield _draw(decoder(net, rows), tokenizer, prefix, sampler, max_length, generator)


def _draw(
    decoder: Decoder,
    tokenizer: CharTokenizer,
    prefix: list[int],
    sampler: CharacterSampler,
    max_length: int,
    generator: torch.Generator,
) -> list[str]:
    """One name for each row of the decoder; finished rows leave the computation."""
    logits = decoder.start(prefix)
    rows = len(logits)
    open_rows = torch.arange(rows)
    columns = [torch.full((rows,), i) for i in prefix]
    while True:
        drawn = sampler(logits[:, : tokenizer.vocab_size].cpu(), generator, end_allowed=bool(columns))
        columns.append(torch.full((rows,), BOUNDARY).index_copy(0, open_rows, drawn))
        unfinished = drawn != BOUNDARY
        open_rows = open_rows[unfinished]
        if not len(open_rows) or len(columns) == max_length:
            break
        logits = decoder.step(drawn, unfinished)
    columns.append(torch.full((rows,), BOUNDARY))  # the end of names that were cut at `max_length`
    ids = torch.stack(columns, dim=1)
    ended = ids == BOUNDARY
    return tokenizer.decode_lines(ids[(ended.cumsum(1) - ended.long()) == 0])  # up to the first boundary of each row
