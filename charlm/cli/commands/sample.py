"""`charlm sample`: new names from a checkpoint."""

import sys
from collections.abc import Collection, Iterable, Sequence

from charlm.cli.chosen_run import load_chosen
from charlm.cli.terminal_text import check_vocabulary, cleaned
from charlm.cli.training_names import training_splits
from charlm.inference.labelled import given_label
from charlm.inference.sampling import draw_names
from charlm.inference.scoring import score_names
from charlm.nets.interface import positions_of
from charlm.runs.checkpoint_file import Checkpoint
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
    label: str | None = None,
) -> None:
    """Print names drawn from a trained model, one a line, as soon as they are drawn.

    Args:
        checkpoint: a .ckpt file, or a run by directory, name or number; by default the newest run in lightning_logs.
        n: how many names to print.
        prefix: the beginning of every name.
        temperature: above 0; 1 is the model's own distribution, lower is more likely, higher is wilder.
        top_k: draw from the k most likely characters only; by default from all.
        top_p: draw from the fewest most likely characters that together have this probability, above 0, up to 1; by
            default from all.
        seed: the same seed gives the same names.
        new_only: print only names that the model was not trained on.
        distinct: print no name twice.
        mark: write "new" or "in train" after each name and a tab.
        log_prob: write after each name and a tab its log-probability in nats, with the end of the name, under the
            model's own distribution (temperature 1, no top_k or top_p). A name that was cut at max_length counts as if
            it ended there; it gets a - if the model has no position left for the end.
        max_length: the longest name in characters, with the prefix; longer names are cut. By default the longest name
            that training accepted (data.max_length).
        label: of the names, if the model has learnt names with labels (data.label).

    Raises:
        OSError: no such checkpoint.
        ValueError: a bad checkpoint or argument, or --new-only without readable training names.
    """
    loaded = load_chosen(checkpoint)
    prefix = cleaned(prefix, lowercase=loaded.data.get("lowercase"))
    check_vocabulary("the prefix", [prefix], loaded.tokenizer.alphabet)
    known = _training_names(loaded, wanted=new_only) if new_only or mark else None
    loaded = given_label(loaded, label)
    drawn = draw_names(
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
    for names in drawn:
        columns: list[Sequence[str]] = [names]
        if log_prob:
            columns.append(_log_probabilities(loaded, names))
        if mark and known is not None:
            columns.append([marked for _, marked in mark_names(names, known)])
        print("".join("\t".join(line) + "\n" for line in zip(*columns, strict=True)), end="", flush=True)


def mark_names(names: Iterable[str], train_names: Collection[str]) -> list[tuple[str, str]]:
    """Each name with "in train" if it is one of `train_names`, else "new" (it may still be a val or test name)."""
    known = train_names if isinstance(train_names, set) else frozenset(train_names)
    return [(name, "in train" if name in known else "new") for name in names]


def longest_name(checkpoint: Checkpoint) -> int:
    """The longest name to draw, in characters, as in training."""
    longest = checkpoint.data.get("max_length")
    return longest if isinstance(longest, int) else LONGEST_NAME


def _training_names(checkpoint: Checkpoint, *, wanted: bool) -> set[str] | None:
    """The names of the training split. If they cannot be read: an error if `wanted`, else a line on stderr and None."""
    try:
        return set(training_splits(checkpoint).names("train"))
    except ValueError as error:
        if wanted:
            raise ValueError(f"{error}; or sample without --new-only") from error
        print(f"names are not marked: {error}", file=sys.stderr)
        return None


def _log_probabilities(checkpoint: Checkpoint, names: Sequence[str]) -> list[str]:
    """The log-probability of each name in nats; "-" for a name that fills all positions of the net."""
    positions = positions_of(checkpoint.net)
    scored = [name for name in names if positions is None or len(name) < positions]
    nats = {score.name: score.total for score in score_names(checkpoint.net, checkpoint.tokenizer, scored)}
    return [f"{-nats[name]:z.2f}" if name in nats else "-" for name in names]
