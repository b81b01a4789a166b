"""Load a LightningModule; the file is read by runs/load_checkpoint.py."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from charlm.messages import parameters_of
from charlm.runs.load_checkpoint import load_checkpoint


def load_model(
    kinds: Mapping[str, type[Any]],
    asked: type[Any],
    path: str | Path,
    map_location: torch.device | str | None,
    hyperparameters: Mapping[str, Any],
) -> Any:
    """Build the model that a checkpoint describes, and load its weights; see `LitCharLM.load_from_checkpoint`.

    Args:
        kinds: the LightningModule class for each net, by the net's class name.
        asked: the class that the caller expects; the model must be of this class or a subclass.
        path: a local file.
        map_location: the device of the model; None: the CPU.
        hyperparameters: values that replace those in the checkpoint.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is damaged, holds another model, or its weights do not fit the hyperparameters.
    """
    loaded = load_checkpoint(path)
    net = type(loaded.net).__name__
    kind = kinds.get(net)
    if kind is not None and issubclass(asked, kind):  # a user's own class, named by the call
        kind = asked
    if kind is None or not issubclass(kind, asked):
        held = kind.__name__ if kind is not None else f"Lit{net}"
        raise ValueError(f"{path} holds a {held}, not a {asked.__name__}; load it by charlm.LitCharLM")
    known = parameters_of(kind)
    own = {name: value for name, value in loaded.hyperparameters.items() if name in known}
    with torch.random.fork_rng(devices=[]):  # the initial weights are replaced below
        model = kind(**{**own, **hyperparameters})
    try:
        model.net.load_state_dict(loaded.net.state_dict())
    except (RuntimeError, ValueError):
        given = ", ".join(f"{key}={value!r}" for key, value in hyperparameters.items()) or "its hyperparameters"
        raise ValueError(
            f"the weights in {path} do not fit {given}; leave sizes and alphabet as they are, or train a new model"
        ) from None
    return model.to(map_location or "cpu")
