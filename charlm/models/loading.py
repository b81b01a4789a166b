"""A model, as Lightning trains it, from a checkpoint."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from charlm.messages import parameters_of
from charlm.runs.checkpoint import load_checkpoint


def load_model(
    kinds: Mapping[str, type[Any]],
    asked: type[Any],
    path: str | Path,
    map_location: torch.device | str | None,
    hyperparameters: Mapping[str, Any],
) -> Any:
    """What `LitCharLM.load_from_checkpoint` returns and raises.

    Args:
        kinds: the model around each net, by the net's name.
        asked: the class that the result is to be of.
        path: a local file.
        map_location: the device; None: the CPU.
        hyperparameters: values that replace the checkpoint's.
    """
    loaded = load_checkpoint(path)
    net = type(loaded.net).__name__
    kind = kinds.get(net)
    if kind is None or not issubclass(kind, asked):
        held = kind.__name__ if kind is not None else f"Lit{net}"
        raise ValueError(f"{path} holds a {held}, not a {asked.__name__}; load it by charlm.LitCharLM")
    known = parameters_of(kind)
    own = {name: value for name, value in loaded.hyperparameters.items() if name in known}
    with torch.random.fork_rng(devices=[]):  # the weights that are drawn here do not stay
        try:
            model = kind(**{**own, **hyperparameters})
        except (TypeError, RuntimeError, OverflowError) as error:  # what torch and Python say to values of a wrong kind
            if hyperparameters:  # the caller's own mistake, perhaps
                raise
            raise ValueError(f"{path} cannot be used: {str(error).partition(chr(10))[0]}") from None
    weights = loaded.net.state_dict()
    if any(table.shape != weights[name].shape for name, table in model.net.state_dict().items()):
        given = ", ".join(f"{key}={value!r}" for key, value in hyperparameters.items()) or "its hyperparameters"
        raise ValueError(
            f"the weights in {path} do not fit {given}; leave sizes and alphabet as they are, or train a new model"
        )
    model.net.load_state_dict(weights)
    return model.to(map_location or "cpu")
