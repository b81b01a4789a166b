"""`charlm score`: how surprising names are to a checkpoint."""

import itertools
import math
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from charlm.cli.chosen_run import load_chosen
from charlm.cli.names_files import read_names
from charlm.cli.rows import RowFormat, encoded
from charlm.cli.table import Cell, Table, render
from charlm.cli.terminal_text import cleaned, is_combining
from charlm.data.corpus import Corpus
from charlm.inference.labelled import checkpoint_given_label
from charlm.inference.scoring import NameScore, score_names
from charlm.messages import first_few
from charlm.nets.interface import positions_of
from charlm.runs.load_checkpoint import Checkpoint

_AT_ONCE = 1 << 11  # names that are scored and printed together
_CIRCLE = "\N{DOTTED CIRCLE}"
_HEADER = ("name", "label", "nats_per_character", "nats", "surprising", "problem")
_ALL = "all"


class NothingScoredError(ValueError):
    """No name fits the model."""

    exit_status = 1


def score(
    names: list[str],
    checkpoint: str | None = None,
    column: int | str | None = None,
    encoding: str = "utf-8",
    bad_lines: Literal["refuse", "skip"] = "refuse",
    label: str | None = None,
    format: RowFormat = "text",
) -> None:
    """Print how surprising names are to a trained model, in nats (-log of the probability), and where.

    In the last column brackets mark the most surprising character of a name, and all others that are less likely than a
    blind guess: em[q]a. The end of a name counts as a character: emmaq[.] ends unexpectedly. An accent or a vowel sign
    that a bracket separates from its letter stands on a dotted circle. A name that does not fit the model gets a line
    that says why, and which similar name would fit. The last line is the mean over the others, which is the loss of the
    model on them. The exit status is 1 if no name could be scored.

    Args:
        names: names, files with one name a line or tables of names, or - for standard input. A file is what ends in
            .txt or has a slash, or has a dot and exists. With a model of names that have slashes, a slash makes a file
            only if it exists.
        checkpoint: a .ckpt file, or a run by directory, name or number; by default the newest run in lightning_logs.
        column: if a file is a table, the column with the names, by title or number; 0: the whole line is a name.
        encoding: how the letters of the files are coded, such as cp1252 or utf-16.
        bad_lines: what to do with lines of files that cannot be names: refuse ends with an error at the first, skip
            leaves them out.
        label: score names as names with this label, if the model has learned names with labels (data.label); all: with
            each label in turn.
        format: of the output: text, json (one object a line) or csv. With json or csv the mean goes to standard error.

    Raises:
        OSError: no such checkpoint or file.
        ValueError: a bad checkpoint or file, no names, or none that fits the model.
    """
    loaded = load_chosen(checkpoint)
    labels = loaded.tokenizer.labels if label == _ALL and loaded.tokenizer.labels else (label,)
    models = [checkpoint_given_label(loaded, each) for each in labels]
    printer = _Printer(format, with_labels=len(labels) > 1)
    listed = _listed(names, loaded, {"column": column, "encoding": encoding, "bad_lines": bad_lines})
    totals: list[list[float]] = [[] for _ in models]
    characters, count, failed = 0, 0, 0
    for part in _parts(listed, _AT_ONCE):
        fitting, problems = _fitting(part, models[0])
        scores = [score_names(model.net, model.tokenizer, fitting) for model in models]
        printer.rows(_rows(part, problems, labels, scores, math.log(loaded.tokenizer.vocab_size)))
        for of_model, total in zip(scores, totals, strict=True):
            total.append(math.fsum(score.total for score in of_model))
        characters += sum(len(score.nats) for score in scores[0])
        count += len(fitting)
        failed += len(part) - len(fitting)
    if not count + failed:
        raise ValueError(
            "there are no names to score; give names, a file with one name a line, or - for standard input"
        )
    if not count:
        raise NothingScoredError("no name could be scored; use a model that was trained on such names")
    for each, nats in zip(labels, map(math.fsum, totals), strict=True):
        given = f" as {each}" if len(labels) > 1 else ""
        printer.text(
            f"mean over {count} {'name' if count == 1 else 'names'}{given}: {nats / characters:.4f} nats/character,"
            f" {nats / count:.4f} nats a name" + (f"; {failed:,} could not be scored" if failed else "")
        )


class _Printer:
    """Prints rows with the columns of `_HEADER` part by part, and texts where they do not disturb the rows."""

    def __init__(self, format: RowFormat, *, with_labels: bool) -> None:
        self.format = format
        self.columns = [number for number, name in enumerate(_HEADER) if name != "label" or with_labels]
        self.widths: list[int] = []  # of the columns so far
        self.is_first = True

    def rows(self, rows: Iterable[list[Cell]]) -> None:
        cells = [[row[number] for number in self.columns] for row in rows]
        header = [_HEADER[number] for number in self.columns]
        if self.format == "text":
            titles = [title.replace("_per_", "/") for title in header[:-1]]
            table = Table(titles, [(*row[:-2], row[-1] or row[-2]) for row in cells])  # a problem in the last column
            text = render(table, widths=self.widths)
            print(text if self.is_first else text.partition("\n")[2])
        else:
            print(encoded(header, cells, self.format, first=self.is_first), end="")
        self.is_first = False

    def text(self, text: str) -> None:
        print(text, file=sys.stdout if self.format == "text" else sys.stderr)


def bracketed(score: NameScore, guess: float) -> str:
    """A name with brackets around its most surprising character and all others above `guess` nats; "." is its end.

    Example:
        >>> bracketed(NameScore("emqa", [2.0, 1.0, 7.0, 3.5, 0.4]), guess=3.3)
        'em[q][a]'
    """
    limit = min(guess, max(score.nats))
    text, is_inside = "", True
    for ch, surprise in zip([*score.name, "."], score.nats, strict=True):
        before, is_inside = is_inside, surprise >= limit
        shown = f"{_CIRCLE}{ch}" if (before or is_inside) and is_combining(ch) else ch
        text += f"[{shown}]" if is_inside else shown
    return text.removesuffix(".")


def _rows(
    names: Iterable[str],
    problems: Mapping[str, str],
    labels: Sequence[str | None],
    scores: Sequence[Sequence[NameScore]],
    guess: float,
) -> Iterator[list[Cell]]:
    """Rows with the columns of `_HEADER`: one for a name with a problem, for the others one for each label."""
    of_names = iter(zip(*scores, strict=True))
    for name in names:
        if name in problems:
            yield [name, None, None, None, None, problems[name]]
        else:
            for label, score in zip(labels, next(of_names), strict=True):
                yield [name, label, score.mean, score.total, bracketed(score, guess), None]


def _fitting(names: list[str], checkpoint: Checkpoint) -> tuple[list[str], dict[str, str]]:
    """The names that fit the model, and for each other one what is wrong with it, with a similar one that fits."""
    known, positions = frozenset(checkpoint.tokenizer.alphabet), positions_of(checkpoint.net)
    most = math.inf if positions is None else positions - 1
    fitting = [name for name in names if known.issuperset(name) and len(name) <= most]
    if len(fitting) == len(names):
        return names, {}
    problems: dict[str, str] = {}
    similar: dict[str, str] = {}
    for name in dict.fromkeys(names):
        unknown = list(dict.fromkeys(ch for ch in name if ch not in known))
        if unknown:
            letters = first_few(list(map(repr, unknown)), 3)
            problems[name] = f"{letters} {'are' if len(unknown) > 1 else 'is'} not in the alphabet"
        elif len(name) > most:
            problems[name] = f"{len(name)} characters, and the model reads at most {most}"
        if name in problems:
            fits = (other for other in _variants(name, known) if other and len(other) <= most)
            similar[name] = next(fits, "")
    found = [other for other in dict.fromkeys(similar.values()) if other]
    nats = {score.name: score.total for score in score_names(checkpoint.net, checkpoint.tokenizer, found)}
    for name, other in similar.items():
        problems[name] += f"; {other} has {nats[other]:.1f} nats" if other else ""
    return fitting, problems


def _variants(name: str, known: frozenset[str]) -> Iterator[str]:
    """Names like this one over the known letters: in lower case, without accents, without what is not known."""
    lower = name.lower()
    plain = "".join(ch for ch in unicodedata.normalize("NFKD", lower) if not is_combining(ch))
    yield from (other for other in (lower, name.upper(), name.title(), plain) if known.issuperset(other))
    yield "".join(ch for ch in plain if ch in known)


def _parts(names: Iterable[str], size: int) -> Iterator[list[str]]:
    names = iter(names)
    while part := list(itertools.islice(names, size)):
        yield part


def _listed(arguments: Iterable[str], checkpoint: Checkpoint, settings: dict[str, Any]) -> Iterator[str]:
    """The names of all arguments, cleaned as the names file of the checkpoint was; all files are read before."""
    lowercase = checkpoint.data.get("lowercase")
    sources: list[list[str] | Corpus] = []
    for argument in arguments:
        if argument != "-" and _is_file(argument, checkpoint.tokenizer.alphabet):
            corpus = read_names(argument, checkpoint, **settings)
            if corpus.note:
                print(f"{argument}: {corpus.note}", file=sys.stderr)
            sources.append(corpus)
        else:
            sources.append(_clean(_standard_input() if argument == "-" else argument, lowercase))
    chunks = (source.chunks() if isinstance(source, Corpus) else ["\n".join(source)] for source in sources)
    lines = (line for text in itertools.chain.from_iterable(chunks) for line in text.split("\n"))
    return filter(None, lines)


def _is_file(argument: str, alphabet: str) -> bool:
    if argument.endswith(".txt") or ("/" in argument and "/" not in alphabet):
        return True
    return ("." in argument or "/" in argument) and Path(argument).is_file()


def _standard_input() -> str:
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise ValueError(f"standard input is not {error.encoding} text; give names in UTF-8, one a line") from None


def _clean(text: str, lowercase: Any) -> list[str]:
    lines = cleaned(text.removeprefix("\ufeff"), lowercase=lowercase).split("\n")
    return [name for line in lines if (name := line.strip())]
