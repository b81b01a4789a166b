"""Predictions as a CSV file, one row a character. Dimension key: B batch, T context length."""

import codecs
import csv
from collections.abc import Iterable
from pathlib import Path

from torch import Tensor

from charlm.callbacks.shared.whole_file import replacing
from charlm.cli.table import no_formula
from charlm.tokenizer import BOUNDARY, CharTokenizer

BOUNDARY_LABEL = "<>"  # two characters, unlike a '.' in a name


def write_predictions(batches: Iterable[dict[str, Tensor]], tokenizer: CharTokenizer, file: Path) -> Path:
    """Write the predictions of a net as CSV.

    Args:
        batches: what `LitCharLM.predict_step` returns: context int64 (B, T), target int64 (B,), nats float (B,),
            likeliest int64 (B,).
        tokenizer: the characters.
        file: the file to write, with the columns context, target, nats (of the target) and likeliest; "<>" is the
            boundary. A context that a spreadsheet would take for a formula begins with an apostrophe.

    Returns:
        `file`.
    """
    label = [BOUNDARY_LABEL, *tokenizer.alphabet]
    with replacing(file) as stream:
        writer = csv.writer(codecs.getwriter("utf-8")(stream))
        writer.writerow(["context", "target", "nats", "likeliest"])
        for batch in batches:
            rows = zip(*(batch[key].tolist() for key in ("context", "target", "nats", "likeliest")), strict=True)
            for context, target, nats, likeliest in rows:
                known = "".join(label[i] for i in context if i != BOUNDARY)
                writer.writerow(
                    [
                        no_formula(known),
                        label[target],
                        f"{nats:.4f}",
                        label[likeliest] if likeliest < len(label) else "",
                    ]
                )
    return file
