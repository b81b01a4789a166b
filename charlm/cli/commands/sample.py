"""`charlm sample`: new names from a checkpoint."""

import sys
from collections.abc import Collection, Iterable, Sequence

from charlm.cli.text import cleaned, refuse_strangers
from charlm.cli.training_names import training_splits
from charlm.inference.sampling import sample_names
from charlm.inference.scoring import score_names
from charlm.nets.interface import positions_of
from charlm.runs.checkpoint import Checkpoint, load_checkpoint
from charlm.tokenizer import LONGEST_NAME


def sample(
    checkpoint: str | None = None,
    n: int = 20,
    prefix: str = "",
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    new_only: bool = False,
    distinct: bool = False,
    mark: bool = False,
    log_prob: bool = False,
    max_length: int | None = None,
) -> None:
    """Print names drawn from a trained model, one a line.

    Args:
        checkpoint: a .ckpt file or a run directory; by default the newest run in lightning_logs.
        n: how many names.
        prefix: how every name begins.
        temperature: above 0; 1 is the model's own distribution, less gives the likeliest names, more is wilder.
        top_k: draw from the k most likely characters only; by default from all.
        top_p: draw from the fewest most likely characters that together have this probability, above 0, up to 1; by
            default from all.
        seed: the same seed gives the same names.
        new_only: only names that the model was not trained on.
        distinct: no name twice.
        mark: write "new" or "in train" after each name and a tab.
        log_prob: write after each name and a tab its log-probability in nats, before the mark: under the model's own
            distribution (temperature 1, without top_k and top_p), all characters and the end included. A name that was
            cut at max_length counts as if it ended there, or has a - where the model has no place for an end.
        max_length: the longest name in characters, the prefix included; longer ones are cut. By default the longest
            that was accepted in training (data.max_length).

    Raises:
        OSError: no such checkpoint.
        ValueError: a bad checkpoint or argument, or the training names are wanted and cannot be read.
    """
    loaded = load_checkpoint(checkpoint)
    prefix = cleaned(prefix, lowercase=bool(loaded.data.get("lowercase")))
    refuse_strangers("the prefix", [prefix], loaded.tokenizer.alphabet)
    known = _training_names(loaded, wanted=new_only) if new_only or mark else None
    names = sample_names(
        loaded.net,
        loaded.tokenizer,
        n,
        prefix=prefix,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        max_length=longest_name(loaded) if max_length is None else max_length,
        exclude=known if new_only and known else (),
        distinct=distinct,
    )
    columns: list[Sequence[str]] = [names]
    if log_prob:
        columns.append(_log_probabilities(loaded, names))
    if mark and known is not None:
        columns.append([marked for _, marked in mark_names(names, known)])
    print("\n".join("\t".join(line) for line in zip(*columns, strict=True)))


def mark_names(names: Iterable[str], train_names: Collection[str]) -> list[tuple[str, str]]:
    """Each name with "in train" if it is one of `train_names`, else "new" (it may still be a val or test name)."""
    known = frozenset(train_names)
    return [(name, "in train" if name in known else "new") for name in names]


def longest_name(checkpoint: Checkpoint) -> int:
    """The longest name to draw, in characters: what its training accepted."""
    longest = checkpoint.data.get("max_length")
    return longest if isinstance(longest, int) else LONGEST_NAME


def _training_names(checkpoint: Checkpoint, *, wanted: bool) -> set[str] | None:
    """The names of the training split; None where they cannot be read, which is said, and an error if `wanted`."""
    try:
        return set(training_splits(checkpoint).names("train"))
    except ValueError as error:
        if wanted:
            raise ValueError(f"{error}; or sample without --new-only") from error
        print(f"names are not marked: {error}", file=sys.stderr)
        return None


def _log_probabilities(checkpoint: Checkpoint, names: Sequence[str]) -> list[str]:
    """Of each name, in nats with two decimals; "-" where it fills all positions of the net, so that none is left."""
    positions = positions_of(checkpoint.net)
    scored = [name for name in names if positions is None or len(name) < positions]
    nats = {score.name: score.total for score in score_names(checkpoint.net, checkpoint.tokenizer, scored)}
    return [f"{-nats[name]:z.2f}" if name in nats else "-" for name in names]
