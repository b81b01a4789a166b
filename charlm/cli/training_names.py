"""The names that a checkpoint was trained on."""

import inspect

from charlm.data.splits import Splits, load_splits
from charlm.runs.load_checkpoint import Checkpoint


def training_splits(checkpoint: Checkpoint) -> Splits:
    """Read and split the names as the training of a checkpoint did.

    Raises:
        ValueError: the checkpoint does not name its data, or the data cannot be read or has changed.
    """
    arguments = inspect.signature(load_splits).parameters
    settings = {key: value for key, value in checkpoint.data.items() if key in arguments}
    if not settings:
        raise ValueError(f"{checkpoint.path} does not say which names it was trained on")
    bundled = settings.get("path") is None
    if not bundled:
        settings.setdefault("column", 0)  # before there was this option, tables were read as whole lines
    try:
        splits = load_splits(**settings)
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(f"the names {checkpoint.path} was trained on cannot be read: {error}") from error
    if bundled and checkpoint.data_sha256 not in (None, splits.corpus.sha256):
        raise ValueError(f"{checkpoint.path} was trained on the names of an older charlm, which this one no longer has")
    if checkpoint.data_sha256 not in (None, splits.corpus.sha256):
        raise ValueError(f"{splits.corpus.source} has changed since {checkpoint.path} was trained on it; restore it")
    ids = [(tokenizer.alphabet, tokenizer.labels) for tokenizer in (splits.tokenizer, checkpoint.tokenizer)]
    if ids[0] != ids[1]:
        raise ValueError(
            f"{splits.corpus.source} has another alphabet or other labels than {checkpoint.path}; restore it"
        )
    return splits
