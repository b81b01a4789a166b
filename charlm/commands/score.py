"""`charlm score`: how surprising names are to a checkpoint."""

import math
import sys
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from charlm.checkpoints import load_checkpoint
from charlm.commands.table import Table, render
from charlm.data.corpus import read_corpus
from charlm.scoring import NameScore, score_names


def score(names: list[str], checkpoint: str | None = None) -> None:
    """Print how surprising names are to a trained model, in nats (-log of the probability), and where.

    In the last column brackets mark a name's most surprising character, and every other one that the model finds less
    likely than a blind guess would: em[q]a. The end of a name counts as a character: emmaq[.] ends unexpectedly. The
    last line is the mean over all names, the loss of the model on them.

    Args:
        names: names; files with one name a line (what ends in .txt or has a slash, or a dot and is a file); - for
            standard input.
        checkpoint: a .ckpt file or a run directory; by default the newest run in lightning_logs.

    Raises:
        OSError: no such checkpoint or file.
        ValueError: a bad checkpoint, no names, or a character outside the model's alphabet.
    """
    loaded = load_checkpoint(checkpoint)
    listed = _listed(names, lowercase=bool(loaded.data.get("lowercase")))
    if not listed:
        raise ValueError(
            "there are no names to score; give names, a file with one name a line, or - for standard input"
        )
    scores = score_names(loaded.net, loaded.tokenizer, listed)
    guess = math.log(loaded.tokenizer.vocab_size)
    rows = [(s.name, s.mean, s.total, marked(s, guess)) for s in scores]
    print(render(Table(("name", "nats/character", "nats", "surprising"), rows)))
    total, characters = math.fsum(s.total for s in scores), sum(len(s.nats) for s in scores)
    print(
        f"mean over {len(scores)} names: {total / characters:.4f} nats/character, {total / len(scores):.4f} nats a name"
    )


def marked(score: NameScore, guess: float) -> str:
    """A name with brackets around its most surprising character and all others above `guess` nats; "." is its end.

    Example:
        >>> marked(NameScore("emqa", [2.0, 1.0, 7.0, 3.5, 0.4]), guess=3.3)
        'em[q][a]'
    """
    limit = min(guess, max(score.nats))
    characters = zip([*score.name, "."], score.nats, strict=True)
    text = "".join(f"[{ch}]" if surprise >= limit else ch for ch, surprise in characters)
    return text.removesuffix(".")


def _listed(arguments: Iterable[str], *, lowercase: bool) -> list[str]:
    """The names of all arguments, cleaned as a names file is."""
    names: list[str] = []
    for argument in arguments:
        if argument == "-":
            names += _clean(_standard_input(), lowercase)
        elif "/" in argument or argument.endswith(".txt") or ("." in argument and Path(argument).is_file()):
            names += read_corpus(argument, lowercase=lowercase).names()
        else:
            names += _clean(argument, lowercase)
    return names


def _standard_input() -> str:
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise ValueError(f"standard input is not {error.encoding} text; give names in UTF-8, one a line") from None


def _clean(text: str, lowercase: bool) -> list[str]:
    text = unicodedata.normalize("NFC", text.lower() if lowercase else text)
    return [name for line in text.removeprefix("\ufeff").split("\n") if (name := line.strip())]
