"""Which files RunCheckpoint finds in its folder, and whether they are of the training that goes on."""

import os
from typing import Any

import torch
from torch import Tensor

from charlm.callbacks.shared.archive import read_archive

Best = tuple[float, int]  # value and step


def files_of(callback: Any) -> set[str]:
    """The real paths of the files that RunCheckpoint or a ModelCheckpoint writes under fixed names."""
    if hasattr(callback, "fixed_names"):
        folder, names = callback.folder, callback.fixed_names
    else:
        folder, last = getattr(callback, "dirpath", None), getattr(callback, "save_last", None)
        names = [f"{getattr(callback, 'filename', None)}.ckpt", *["last.ckpt"] * bool(last)]
    return {os.path.realpath(os.path.join(folder, name)) for name in names} if folder else set()


def _best_of(checkpoint: dict[str, Any], key: str) -> Best | None:
    """The best value and its step, as the callback with this `state_key` has saved them in a checkpoint."""
    states = checkpoint.get("callbacks")
    state = states.get(key) if isinstance(states, dict) else None
    value, step = (state.get("value"), state.get("step")) if isinstance(state, dict) else (None, None)
    return (value, step) if type(value) is float and type(step) is int else None


def best_in(file: str, checkpoint: dict[str, Any], key: str, is_known: bool) -> Best | None:
    """The best value and its step if the file has the best state of the training that saved the checkpoint, or None.

    Args:
        file: a best.ckpt.
        checkpoint: the loaded one, from which training goes on.
        key: the `state_key` of the callback.
        is_known: the file is known to be of this training, and need not be read.
    """
    best = _best_of(checkpoint, key)
    if is_known:
        return best
    kept = _read(file)
    own = _best_of(kept, key)
    if own is not None and kept.get("global_step") == checkpoint["global_step"] and _same_weights(kept, checkpoint):
        return own  # the checkpoint may have been saved just before its value was known
    is_that = best is not None and kept.get("global_step") == best[1] and own in (None, best)  # None: weights alone
    return best if is_that else None


def step_of(file: str) -> int:
    """The optimizer step of a checkpoint; 0 where the file is damaged, or cannot be read without running its code."""
    step = _read(file).get("global_step")
    return step if type(step) is int else 0


def _read(file: str) -> dict[str, Any]:
    try:
        content = read_archive(file)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _same_weights(one: dict[str, Any], other: dict[str, Any]) -> bool:
    these, those = one.get("state_dict"), other.get("state_dict")
    if not isinstance(these, dict) or not isinstance(those, dict) or these.keys() != those.keys():
        return False
    pairs = [(these[name], those[name]) for name in these]
    return all(
        a.dtype == b.dtype and torch.equal(a.cpu(), b.cpu())
        for a, b in pairs
        if isinstance(a, Tensor) and isinstance(b, Tensor)
    )
