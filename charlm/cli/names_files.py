"""Files of names that a user gives to a command, read as the names that the model was trained on."""

from typing import Literal

from charlm.data.corpus import Corpus, read_corpus
from charlm.runs.load_checkpoint import Checkpoint
from charlm.tokenizer import LONGEST_NAME


def read_names(
    file: str,
    checkpoint: Checkpoint,
    column: int | str | None = None,
    encoding: str = "utf-8",
    bad_lines: Literal["refuse", "skip"] = "refuse",
) -> Corpus:
    """Read a list or a table of names, in lower case if the model was trained on such names.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not such a list.
    """
    lowercase, longest = checkpoint.data.get("lowercase") or False, checkpoint.data.get("max_length")
    longest = max(longest, LONGEST_NAME) if isinstance(longest, int) else LONGEST_NAME
    return read_corpus(
        file, lowercase=lowercase, max_length=longest, column=column, encoding=encoding, bad_lines=bad_lines
    )
