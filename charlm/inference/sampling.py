"""Draw names from a net. Dimension key: B rows, V = vocab_size."""

import itertools
from collections.abc import Collection, Iterator, Sequence
from functools import cache

import torch
from torch import nn

from charlm.callbacks.shared.evaluating import evaluating
from charlm.inference.candidates import Candidates
from charlm.inference.character_sampler import CharacterSampler
from charlm.inference.conditions import Conditions
from charlm.inference.mixed_candidates import MixedCandidates, prefix_probability
from charlm.nets.given_label import check_label_given
from charlm.tokenizer import LONGEST_NAME, CharTokenizer

_STRETCH = 1 << 17  # candidates; drawing ends with an error if so many of them ...
_FEWEST = 1 << 7  # ... give fewer names than this
_OF_EACH_NET = 1 << 14  # more of them for each further net, so that its look-ahead begins ...
_MOST_NETS = 32  # ... but not of more nets than this


def sample_names(
    net: nn.Module,
    tokenizer: CharTokenizer,
    n: int,
    *,
    prefix: str = "",
    suffix: str = "",
    contains: str = "",
    match: str = "",
    min_length: int = 1,
    max_length: int | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    exclude: Collection[str] = (),
    distinct: bool = False,
    cut: int = LONGEST_NAME,
) -> list[str]:
    """Draw names character by character from a net's own distribution, many of them side by side.

    With conditions, the names are distributed as those among many draws that meet them. Names that are rare are found
    by a look-ahead; for nets that see more than a few characters it is an estimate, and so is the distribution.

    The same seed gives the same names, and a smaller `n` the first of them; torch's global generator is not used. Ids
    without a character are never drawn, and no name is empty.

    Args:
        net: takes windows: context int64 (B, T) in, logits (B, V or more) for the next character out; or takes names,
            with `takes = "names"` and `step`, as for `NameDecoder`.
        tokenizer: the characters of the net's first V ids.
        n: number of names to draw, >= 1.
        prefix: the beginning of every name.
        suffix: the end of every name.
        contains: a part of every name.
        match: a regular expression of Python's `re` that is found in every name.
        min_length: characters of the shortest name.
        max_length: characters of the longest name; None: see `cut`.
        temperature: > 0; the logits are divided by it. Below 1 gives more likely names, above 1 wilder ones.
        top_k: draw from the k most likely characters only, >= 1; the end of the name counts as one. None: from all.
        top_p: draw from the fewest most likely characters that together have this probability, in (0, 1]; None: all.
        seed: of the draws.
        exclude: names that must not be drawn, such as those of the training split.
        distinct: draw no name twice.
        cut: without `max_length`, the length in characters at which a name is cut, since some nets never end a name. A
            net with fewer positions cuts names at its last position.

    Returns:
        n names in the order in which they were drawn.

    Raises:
        ValueError: an argument outside its range, a prefix with a character outside the alphabet, conditions that no
            name or too few names meet, a net of names with labels that is given none (see
            `charlm.nets.given_label.GivenLabel`), or a net that gives no character a probability.
    """
    conditions = Conditions(prefix, suffix, contains, match, min_length, max_length)
    sampler = CharacterSampler(temperature, top_k, top_p)
    drawn = draw_names([net], tokenizer, n, conditions, sampler, seed=seed, exclude=exclude, distinct=distinct, cut=cut)
    return [name for name, _ in itertools.chain.from_iterable(drawn)]


@torch.inference_mode()
def draw_names(
    nets: Sequence[nn.Module],
    tokenizer: CharTokenizer,
    n: int,
    conditions: Conditions,
    sampler: CharacterSampler,
    *,
    shares: Sequence[float] = (1.0,),
    seed: int,
    exclude: Collection[str] = (),
    distinct: bool = False,
    cut: int = LONGEST_NAME,
) -> Iterator[list[tuple[str, int]]]:
    """Yield the names of `sample_names` part by part, as soon as they are drawn, each with the number of its net.

    There may be several nets, as of names with one label each; `shares` says how probable each of them is.
    """
    for net in nets:
        check_label_given(net, tokenizer)
    if n < 1:
        raise ValueError(f"n is {n}; ask for at least 1 name")
    if not -(2**63) <= seed < 2**64:
        raise ValueError(f"seed is {seed}; give a whole number of at most 64 bits")

    @cache
    def of_net(number: int) -> Candidates:
        own_seed = seed if len(nets) == 1 else (seed + 1 + number) % 2**63
        return Candidates(nets[number], tokenizer, conditions, sampler, own_seed, cut)

    prefix = of_net(0).prefix
    taken = set(exclude)
    stretch = _STRETCH + _OF_EACH_NET * (min(len(nets), _MOST_NETS) - 1)
    found, before, end = 0, 0, stretch
    with evaluating(nn.ModuleList(nets)):
        if len(nets) > 1 and prefix:
            of_prefix = [prefix_probability(net, prefix, sampler, tokenizer.vocab_size) for net in nets]
            shares = [share * p for share, p in zip(shares, of_prefix, strict=True)] if any(of_prefix) else shares
        candidates = MixedCandidates(of_net, shares, seed)
        for names in candidates.batches():
            fresh = []
            for name, number in names:
                if name not in taken:
                    fresh.append((name, number))
                    if distinct:
                        taken.add(name)
            yield fresh[: n - found]
            found += len(fresh)
            if found >= n:
                return
            if candidates.drawn >= end:
                if found - before < _FEWEST:
                    break
                before, end = found, candidates.drawn + stretch
    wanted = [f"meet the conditions ({conditions})" if str(conditions) else ""]
    wanted += [f"are outside the {len(frozenset(exclude)):,} excluded ones" if exclude else ""]
    wanted += ["are distinct" if distinct else ""]
    one_label = "give one `label`, " if len(nets) > 1 else ""  # rare names of many labels take too long to find
    raise ValueError(
        f"only {found:,} of {candidates.drawn:,} drawn names {' and '.join(filter(None, wanted))}, and {n:,} were asked"
        f" for{candidates.rarity}; {one_label}ask for fewer (`n`), relax the conditions, or raise `temperature`,"
        " `top_k` or `top_p`"
    )
