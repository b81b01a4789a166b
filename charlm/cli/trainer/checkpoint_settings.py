"""The settings that a checkpoint was trained with, and those that contradict them."""

from typing import Any

from charlm.models.start_from import ANY
from charlm.runs.load_checkpoint import Checkpoint

FROM_DATA = ("alphabet", "block_size", "labels", "train_names")
"""Arguments of the models that come from the data."""


def checkpoint_settings(checkpoint: Checkpoint, class_path: str) -> dict[str, Any]:
    """The settings of a checkpoint's model and data, as a config has them.

    Args:
        checkpoint: the loaded file.
        class_path: of its model.
    """
    init_args = {key: value for key, value in checkpoint.hyperparameters.items() if key not in FROM_DATA}
    tokenizer = checkpoint.tokenizer
    data = {**checkpoint.data, "alphabet": tokenizer.alphabet, "labels": list(tokenizer.labels) or None}
    return {"model": {"class_path": class_path, "init_args": init_args}, "data": data}


def net_settings(checkpoint: Checkpoint, class_path: str) -> dict[str, Any]:
    """The model of a checkpoint and the sizes of its net, as a config has them; for other names."""
    sizes = {key: value for key, value in checkpoint.net_args.items() if key in checkpoint.hyperparameters}
    data = {"data": {"block_size": sizes["block_size"]}} if "block_size" in sizes else {}
    init_args = {key: value for key, value in sizes.items() if key not in (*FROM_DATA, *ANY)}
    return {"model": {"class_path": class_path, "init_args": init_args}, **data}


def weights_alone(checkpoint: Checkpoint) -> str:
    """Why training cannot go on from a checkpoint that was saved with save_weights_only."""
    return (
        f"{checkpoint.path} holds the weights alone, without the optimizer's state, so no training can go on from it;"
        " take the last.ckpt of its run, or start a new run"
    )


def refuse_conflicts(checkpoint: Checkpoint, kind: str, model: dict[str, Any], data: dict[str, Any], fit: bool) -> None:
    """Refuse settings that the checkpoint's weights, or its optimizer, would override.

    Args:
        checkpoint: the loaded file.
        kind: class of its model.
        model: {"class_path", "init_args"} as parsed.
        data: the data settings as parsed.
        fit: whether the run goes on training, so that the optimizer's state is restored too.

    Raises:
        ValueError: one of them differs, or the optimizer's state is missing.
    """
    if fit and not checkpoint.is_whole:
        raise ValueError(weights_alone(checkpoint))
    given = model["class_path"].rsplit(".", 1)[-1]
    kind = kind.rsplit(".", 1)[-1]
    if given != kind:
        raise ValueError(
            f"{checkpoint.path} holds a {kind}, not a {given}; leave the model out, or give another checkpoint"
        )
    given_args = {**model.get("init_args", {}), **{key: data[key] for key in FROM_DATA if key in data}}
    given_args["alphabet"] = given_args.get("alphabet") or checkpoint.tokenizer.alphabet
    fixed = {"alphabet", *checkpoint.net_args} - {"dropout"}
    fixed |= {"optimizer", "lr", "weight_decay", "schedule", "warmup"} if fit else set()
    trained_with = {key: checkpoint.hyperparameters[key] for key in sorted(fixed & set(checkpoint.hyperparameters))}
    if bool(checkpoint.tokenizer.labels) != (data.get("label") is not None):  # any column may hold the same labels
        trained_with["label"], given_args["label"] = checkpoint.data.get("label"), data.get("label")
    for key, value in trained_with.items():
        if key in given_args and given_args[key] != value:
            where = "data" if key in (*FROM_DATA, "label") else "model"
            raise ValueError(
                f"--{where}.{key} is {given_args[key]!r}, and {checkpoint.path} was trained with {value!r}; leave the"
                " option out, or start a new run without the checkpoint"
            )
