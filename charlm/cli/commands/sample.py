"""`charlm sample`: new names from a checkpoint."""

import itertools
import math
import os
import secrets
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from charlm.cli.chosen_run import load_chosen
from charlm.cli.names_files import read_names
from charlm.cli.rows import RowFormat, encoded, written
from charlm.cli.terminal_text import check_vocabulary, cleaned
from charlm.cli.training_names import training_splits
from charlm.inference.character_sampler import CharacterSampler
from charlm.inference.conditions import Conditions
from charlm.inference.labelled import checkpoint_given_label, sample_with_labels
from charlm.inference.sampling import draw_names
from charlm.inference.scoring import score_names
from charlm.nets.interface import positions_of
from charlm.runs.load_checkpoint import Checkpoint
from charlm.tokenizer import LONGEST_NAME


class Row(NamedTuple):
    """A name, and what is known of it.

    Args:
        name: the name.
        log_prob: its log-probability in nats.
        mark: "new" or "in train".
        label: its label.
    """

    name: str
    log_prob: float | None
    mark: str | None
    label: str | None


_ORDER: dict[str, Callable[[Row], Any]] = {
    "score": lambda row: math.inf if row.log_prob is None else -row.log_prob,
    "length": lambda row: len(row.name),
    "name": lambda row: row.name,
}


def sample(
    checkpoint: str | None = None,
    n: int = 20,
    prefix: str = "",
    suffix: str = "",
    contains: str = "",
    match: str = "",
    min_length: int = 1,
    max_length: int | None = None,
    not_in: str | None = None,
    column: int | str | None = None,
    encoding: str = "utf-8",
    bad_lines: Literal["refuse", "skip"] = "refuse",
    new_only: bool = False,
    distinct: bool = False,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    sort: Literal["score", "length", "name"] | None = None,
    mark: bool = False,
    log_prob: bool = False,
    label: str | None = None,
    format: RowFormat = "text",
    out: str | None = None,
) -> None:
    """Print names drawn from a trained model, one a line, as soon as they are drawn.

    Conditions, such as --suffix, do not change how probable names are in proportion to each other.

    Args:
        checkpoint: a .ckpt file, or a run by directory, name or number; by default the newest run in lightning_logs.
        n: how many names to print.
        prefix: the beginning of every name.
        suffix: the end of every name.
        contains: a part of every name.
        match: a regular expression that is found in every name; ^ is its beginning and $ its end, as in '^[aeiou].*a$'.
        min_length: the shortest name in characters.
        max_length: the longest name in characters. By default names are cut at the longest length that training
            accepted (data.max_length).
        not_in: a file with names that must not be printed.
        column: if the file of --not-in is a table, the column with the names, by title or number.
        encoding: of the file of --not-in, such as cp1252 or utf-16.
        bad_lines: what to do with lines of --not-in that cannot be names: refuse ends with an error at the first, skip
            leaves them out.
        new_only: print only names that the model was not trained on.
        distinct: print no name twice.
        temperature: above 0; 1 is the model's own distribution, lower is more likely, higher is wilder.
        top_k: draw from the k most likely characters only; by default from all.
        top_p: draw from the fewest most likely characters that together have this probability, above 0, up to 1; by
            default from all.
        seed: the same seed gives the same names, and a smaller -n the first of them; by default a new seed each time,
            which is printed to standard error.
        sort: the order of the names, which are printed once all are drawn: score (the most likely first), length or
            name.
        mark: write "new" or "in train" after each name and a tab.
        log_prob: write after each name and a tab its log-probability in nats, with the end of the name, under the
            model's own distribution (temperature 1, no top_k or top_p). A name that was cut counts as if it ended
            there; it gets a - if the model has no position left for the end.
        label: print names with this label, if the model has learned names with labels (data.label). By default names of
            all labels are drawn in proportion to the labels' shares in training, each with a tab and its label after
            it; with conditions, labels whose names meet them more often come more often.
        format: of the output: text, json (one object a line) or csv.
        out: a file to write instead of printing; an existing one is overwritten, but not the lists of names in use.

    Raises:
        OSError: no such checkpoint or file, or one that cannot be written.
        ValueError: a bad checkpoint or argument, --new-only without readable training names, or conditions that no name
            or too few names meet.
    """
    loaded = load_chosen(checkpoint)
    if out is not None:
        _refuse_lists(out, [loaded.data.get("path"), not_in])
    texts = {"prefix": prefix, "suffix": suffix, "contains": contains}
    texts = {name: cleaned(text, lowercase=loaded.data.get("lowercase")) for name, text in texts.items()}
    for name, text in texts.items():
        check_vocabulary(f"--{name}", [text], loaded.tokenizer.alphabet)
    conditions = Conditions(**texts, match=match, min_length=min_length, max_length=max_length)
    known = _training_names(loaded, wanted=new_only) if new_only or mark else None
    labels = loaded.tokenizer.labels if label is None else ()
    models = [checkpoint_given_label(loaded, each) for each in labels or (label,)]
    excluded = known if new_only and known else set[str]()
    if not_in is not None:
        excluded = excluded | set(read_names(not_in, loaded, column, encoding, bad_lines).names())
    if seed is None:
        seed = secrets.randbelow(1 << 32)
        print(f"seed {seed}; --seed {seed} gives these names again", file=sys.stderr)
    sampler = CharacterSampler(temperature, top_k, top_p)
    scored = log_prob or sort == "score"
    options: dict[str, Any] = {"exclude": excluded, "distinct": distinct, "cut": longest_name(loaded)}
    options["shares"] = loaded.label_shares if labels else [1.0]
    nets = [model.net for model in models]
    parts = draw_names(nets, models[0].tokenizer, n, conditions, sampler, seed=seed, **options)
    drawn = (_rows(models, part, scored, known if mark else None, labels) for part in parts)
    shown = (True, log_prob, mark and known is not None, bool(labels))
    columns = list(itertools.compress(Row._fields, shown))
    errors: list[ValueError] = []
    rows = _until_error(drawn, errors)
    tables = [sorted(itertools.chain.from_iterable(rows), key=_ORDER[sort])] if sort is not None else rows
    with written(out) as write:
        for number, table in enumerate(tables):
            cells = [list(itertools.compress(row, shown)) for row in table]
            write(encoded(columns, cells, format, first=number == 0))
    if errors:
        raise errors[0]


def _refuse_lists(out: str, lists: Iterable[Any]) -> None:
    files = [file for given in lists for file in (given if isinstance(given, list) else [given]) if file is not None]
    if any(os.path.exists(out) and os.path.exists(file) and os.path.samefile(out, file) for file in files):
        raise ValueError(f"--out is {out}, a list of names that would be lost; give another file")


def _until_error(drawn: Iterable[list[Row]], errors: list[ValueError]) -> Iterator[list[Row]]:
    """Pass names on; an error after the first of them goes into `errors`, so that these names are still written."""
    found = 0
    try:
        for names in drawn:
            found += len(names)
            yield names
    except ValueError as error:
        if not found:
            raise
        errors.append(error)


def _rows(
    models: Sequence[Checkpoint],
    drawn: Sequence[tuple[str, int]],
    scored: bool,
    known: Collection[str] | None,
    labels: Sequence[str],
) -> list[Row]:
    """The rows of names, each of which comes with the number of its model."""
    scores: dict[tuple[str, int], float | None] = {}
    for number in {number for _, number in drawn} if scored else ():
        names = [name for name, of in drawn if of == number]
        of_label = zip(names, log_probabilities(models[number], names), strict=True)
        scores |= {(name, number): score for name, score in of_label}
    new = {} if known is None else dict(novelty([name for name, _ in drawn], known))
    return [
        Row(name, scores.get((name, number)), new.get(name), labels[number] if labels else None)
        for name, number in drawn
    ]


def novelty(names: Iterable[str], train_names: Collection[str]) -> list[tuple[str, str]]:
    """Each name with "in train" if it is one of `train_names`, else "new" (it may still be a val or test name)."""
    known = train_names if isinstance(train_names, set) else frozenset(train_names)
    return [(name, "in train" if name in known else "new") for name in names]


def first_names(checkpoint: Checkpoint, n: int) -> list[tuple[str, str]]:
    """The first `n` names drawn with seed 0, each after its label, which is "" if names have none."""
    longest, shares = longest_name(checkpoint), checkpoint.label_shares
    return sample_with_labels(checkpoint.net, checkpoint.tokenizer, n, 0, shares, cut=longest)


def longest_name(checkpoint: Checkpoint) -> int:
    """The longest name to draw, in characters, as in training."""
    longest = checkpoint.data.get("max_length")
    return longest if isinstance(longest, int) else LONGEST_NAME


def log_probabilities(checkpoint: Checkpoint, names: Sequence[str]) -> list[float | None]:
    """The log-probability of each name in nats; None for a name that fills all positions of the net."""
    positions = positions_of(checkpoint.net)
    scored = [name for name in names if positions is None or len(name) < positions]
    nats = {score.name: score.total for score in score_names(checkpoint.net, checkpoint.tokenizer, scored)}
    return [-nats[name] if name in nats else None for name in names]


def _training_names(checkpoint: Checkpoint, *, wanted: bool) -> set[str] | None:
    """The names of the training split. If they cannot be read: an error if `wanted`, else a line on stderr and None."""
    try:
        return set(training_splits(checkpoint).names("train"))
    except ValueError as error:
        if wanted:
            raise ValueError(f"{error}; or sample without --new-only") from error
        print(f"new names cannot be told from others: {error}", file=sys.stderr)
        return None
