"""Predictions as a CSV file, one row a character. Dimension key: B batch, T context length."""

import codecs
import csv
from collections.abc import Iterable
from pathlib import Path

from torch import Tensor

from charlm.callbacks.shared.whole_file import replacing
from charlm.cli.table import no_formula
from charlm.tokenizer import CharTokenizer

BOUNDARY_LABEL = "<>"  # two characters, unlike a '.' in a name


def write_predictions(batches: Iterable[dict[str, Tensor]], tokenizer: CharTokenizer, file: Path) -> Path:
    """Write the predictions of a net as CSV.

    Args:
        batches: what `LitCharLM.predict_step` returns: context int64 (B, T), target int64 (B,), nats float (B,),
            likeliest int64 (B,).
        tokenizer: the characters.
        file: the file to write, with the columns context, target, nats (of the target) and likeliest; "<>" is the
            boundary. A context that a spreadsheet would take for a formula begins with an apostrophe. Where names have
            labels, there is a column label as well.

    Returns:
        `file`.
    """
    letter = [BOUNDARY_LABEL, *tokenizer.alphabet]
    with replacing(file) as stream:
        writer = csv.writer(codecs.getwriter("utf-8")(stream))
        writer.writerow(["context", "target", "nats", "likeliest"] + (["label"] if tokenizer.labels else []))
        for batch in batches:
            rows = zip(*(batch[key].tolist() for key in ("context", "target", "nats", "likeliest")), strict=True)
            for context, target, nats, likeliest in rows:
                guess = letter[likeliest] if likeliest < len(letter) else ""
                row = [no_formula(tokenizer.decode(context)), letter[target], f"{nats:.4f}", guess]
                if tokenizer.labels:
                    row.append(no_formula(tokenizer.labels[context[0] - tokenizer.vocab_size]))
                writer.writerow(row)
    return file
