"""`charlm score`: how surprising names are to a checkpoint."""

import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from charlm.cli.chosen_run import load_chosen
from charlm.cli.table import Table, render
from charlm.cli.terminal_text import check_vocabulary, cleaned, is_mark
from charlm.data.corpus import read_corpus
from charlm.inference.labelled import given_label
from charlm.inference.scoring import NameScore, score_names
from charlm.runs.checkpoint_file import Checkpoint
from charlm.tokenizer import LONGEST_NAME

_AT_ONCE = 1 << 11  # names that are scored and printed together
_CIRCLE = "\N{DOTTED CIRCLE}"


def score(names: list[str], checkpoint: str | None = None, label: str | None = None) -> None:
    """Print how surprising names are to a trained model, in nats (-log of the probability), and where.

    In the last column brackets mark the most surprising character of a name, and all others that are less likely than a
    blind guess: em[q]a. The end of a name counts as a character: emmaq[.] ends unexpectedly. An accent or a vowel sign
    that a bracket separates from its letter stands on a dotted circle. The last line is the mean over all names, which
    is the loss of the model on them.

    Args:
        names: names, files with one name a line, or - for standard input. A file is what ends in .txt or has a slash,
            or has a dot and exists. With a model of names that have slashes, a slash makes a file only if it exists.
        checkpoint: a .ckpt file, or a run by directory, name or number; by default the newest run in lightning_logs.
        label: of the names, if the model has learnt names with labels (data.label).

    Raises:
        OSError: no such checkpoint or file.
        ValueError: a bad checkpoint, no names, or a character outside the model's alphabet.
    """
    loaded = given_label(load_chosen(checkpoint), label)
    listed = _listed(names, loaded)
    if not listed:
        raise ValueError(
            "there are no names to score; give names, a file with one name a line, or - for standard input"
        )
    check_vocabulary("name", listed, loaded.tokenizer.alphabet)
    guess = math.log(loaded.tokenizer.vocab_size)
    totals, characters = list[float](), 0
    widths: list[int] = []
    for first in range(0, len(listed), _AT_ONCE):
        scores = score_names(loaded.net, loaded.tokenizer, listed[first : first + _AT_ONCE])
        rows = [(s.name, s.mean, s.total, marked(s, guess)) for s in scores]
        text = render(Table(("name", "nats/character", "nats", "surprising"), rows), widths=widths)
        print(text.partition("\n")[2] if first else text)
        totals.append(math.fsum(s.total for s in scores))
        characters += sum(len(s.nats) for s in scores)
    total, count = math.fsum(totals), len(listed)
    means = f"{total / characters:.4f} nats/character, {total / count:.4f} nats a name"
    print(f"mean over {count} {'name' if count == 1 else 'names'}: {means}")


def marked(score: NameScore, guess: float) -> str:
    """A name with brackets around its most surprising character and all others above `guess` nats; "." is its end.

    Example:
        >>> marked(NameScore("emqa", [2.0, 1.0, 7.0, 3.5, 0.4]), guess=3.3)
        'em[q][a]'
    """
    limit = min(guess, max(score.nats))
    text, bracketed = "", True
    for ch, surprise in zip([*score.name, "."], score.nats, strict=True):
        before, bracketed = bracketed, surprise >= limit
        shown = f"{_CIRCLE}{ch}" if (before or bracketed) and is_mark(ch) else ch
        text += f"[{shown}]" if bracketed else shown
    return text.removesuffix(".")


def _listed(arguments: Iterable[str], checkpoint: Checkpoint) -> list[str]:
    """The names of all arguments, cleaned as the names file of the checkpoint was."""
    lowercase, longest = checkpoint.data.get("lowercase"), checkpoint.data.get("max_length")
    longest = max(longest, LONGEST_NAME) if isinstance(longest, int) else LONGEST_NAME
    names: list[str] = []
    for argument in arguments:
        if argument == "-":
            names += _clean(_standard_input(), lowercase)
        elif _is_file(argument, checkpoint.tokenizer.alphabet):
            names += read_corpus(argument, lowercase=lowercase or False, max_length=longest, column=0).names()
        else:
            names += _clean(argument, lowercase)
    return names


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
