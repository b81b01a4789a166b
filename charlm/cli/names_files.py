"""Files of names that a user gives to a command, read as the names that the model was trained on."""

import re
from typing import Literal

from charlm.data.corpus import Corpus, read_corpus
from charlm.runs.load_checkpoint import Checkpoint
from charlm.tokenizer import LONGEST_NAME

_OPTION = re.compile(r"--data\.(column|encoding|bad_lines)\b")


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
        ValueError: it is not such a list; the message names the command's options.
    """
    lowercase, longest = checkpoint.data.get("lowercase") or False, checkpoint.data.get("max_length")
    longest = max(longest, LONGEST_NAME) if isinstance(longest, int) else LONGEST_NAME
    try:
        return read_corpus(
            file, lowercase=lowercase, max_length=longest, column=column, encoding=encoding, bad_lines=bad_lines
        )
    except ValueError as error:  # which names the options of `charlm fit`
        raise ValueError(_OPTION.sub(lambda found: f"--{found[1].replace('_', '-')}", str(error))) from None
