"""A net and its tokenizer from a checkpoint, without Lightning. Imports torch only to load."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charlm.callbacks.shared.archive import read_archive
from charlm.runs.directory import find_checkpoint

if TYPE_CHECKING:
    from torch import Tensor, nn

    from charlm.tokenizer import CharTokenizer

# of the "charlm" entry: format, net, net_args, alphabet; labels if names have some; model if it is a class of the user
FORMAT = 1
_PLAIN = (int, float, str, bool, type(None))
_INTEGERS = ("torch.uint8", "torch.int32", "torch.int64")


def _nets() -> dict[str, str]:
    sources = sorted(Path(__file__).parents[1].joinpath("nets").glob("*.py"))
    classes = {
        file.stem: re.findall(r"^class (\w+)", file.read_text(encoding="utf-8"), re.MULTILINE) for file in sources
    }
    return {name: f"charlm.nets.{stem}" for stem, names in classes.items() for name in names if name.lower() == stem}


NETS = _nets()
"""The nets that a checkpoint may name, and where they are: each in the file of nets/ that has its name."""


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds; numbers, texts and lists of them besides the net and the tokenizer.

    Args:
        path: the file.
        net: the trained net, on the CPU, in eval mode.
        tokenizer: the characters of the net's ids.
        hyperparameters: arguments of the LightningModule.
        data: arguments of the NamesDataModule; {} if it was trained on something else.
        data_sha256: fingerprint of the clean names it was trained on, if known.
        step: optimizer steps done.
        saved: when it was written, in seconds since 1970; 0.0: not known.
        net_args: all arguments that the net was built with.
        kind: class of the LightningModule: "LitMLP", or for a user's own class its module and name, which the file
            only states.
        is_whole: whether it has the optimizer's state too, so that training can go on from it.
        label_shares: the share of each label in the training names; equal ones if the file does not say.
    """

    path: Path
    net: nn.Module
    tokenizer: CharTokenizer
    hyperparameters: dict[str, Any]
    data: dict[str, Any]
    data_sha256: str | None
    step: int
    saved: float = 0.0
    net_args: dict[str, Any] = field(default_factory=dict)
    kind: str = ""
    is_whole: bool = True
    label_shares: list[float] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"Checkpoint({self.model}, step {self.step:,}, {str(self.path)!r})"

    @property
    def model(self) -> str:
        """The short name of the model, such as "MLP"."""
        return self.kind.rpartition(".")[2].removeprefix("Lit") or type(self.net).__name__


def load_checkpoint(path: str | Path | None = None) -> Checkpoint:
    """Load a checkpoint of charlm's own; no code from the file runs.

    Args:
        path: a local file, or a directory or None as for `find_checkpoint`.

    Raises:
        OSError: no such file, or no permission to read it.
        ValueError: an address, a damaged or foreign file, or weights that do not fit or are not finite.
    """
    from charlm.tokenizer import CharTokenizer

    path = find_checkpoint(path)
    content = read_archive(path, whose="charlm's")
    content = content if isinstance(content, dict) else {}
    entry = content.get("charlm")
    if not isinstance(entry, dict) or not isinstance(content.get("state_dict"), dict):
        kind = "Lightning checkpoint of another project" if "pytorch-lightning_version" in content else "PyTorch file"
        raise ValueError(f"{path} is a {kind}, not charlm's; pass a checkpoint that `charlm fit` wrote")
    if entry.get("format") != FORMAT:
        raise ValueError(
            f"{path} has format {entry.get('format')!r:.100}, and this charlm reads {FORMAT}; update charlm"
        )
    try:
        tokenizer = CharTokenizer(entry.get("alphabet") or "", entry.get("labels", []))
        net, net_args = _net(entry.get("net"), entry.get("net_args"), content["state_dict"], tokenizer)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:  # also what torch says to odd arguments
        raise ValueError(f"{path} cannot be used: {str(error).partition(chr(10))[0]}") from None
    step, saved, model = content.get("global_step", 0), entry.get("saved", 0.0), entry.get("model") or ""
    if [type(part) for part in (step, saved, model, content.get("NamesDataModule", {}))] != [int, float, str, dict]:
        raise ValueError(f"{path} holds something else than charlm writes; use another checkpoint of the run")
    names, labels = _plain(content.get("NamesDataModule")), len(tokenizer.labels)
    return Checkpoint(
        path,
        net,
        tokenizer,
        hyperparameters=_plain(content.get("hyper_parameters")),
        data=_plain(content.get("datamodule_hyper_parameters")),
        data_sha256=names.get("sha256"),
        step=step,
        saved=saved,
        net_args=net_args,
        kind=model or f"Lit{type(net).__name__}",
        is_whole="optimizer_states" in content,
        label_shares=names.get("label_shares") or [1 / labels] * labels if labels else [],
    )


def _plain(values: object) -> dict[str, Any]:
    """The plain values among named ones, and lists of them, without the names of classes that Lightning adds."""
    table = values if isinstance(values, dict) else {}
    named = {key: value for key, value in table.items() if isinstance(key, str) and not key.startswith("_")}
    parts = {key: value if type(value) in (list, tuple) else [value] for key, value in named.items()}  # no torch.Size
    return {key: value for key, value in named.items() if all(type(part) in _PLAIN for part in parts[key])}


def _net(
    name: object, arguments: object, state_dict: dict[Any, Any], tokenizer: CharTokenizer
) -> tuple[nn.Module, dict[str, Any]]:
    """A known net with the weights of `state_dict`, and its arguments; the global generator stays where it is."""
    import torch

    if not isinstance(name, str) or name not in NETS:
        raise ValueError(f"its net is {name!r:.100}, and this version knows {', '.join(NETS)}")
    kind = getattr(import_module(NETS[name]), name)
    given = _arguments(kind, arguments)
    weights = {key[4:]: held for key, held in state_dict.items() if isinstance(key, str) and key.startswith("net.")}
    with torch.random.fork_rng(devices=[]):
        net = kind(**given)
    _check_weights(net.state_dict(), weights, getattr(kind, "grows", ()))
    net.load_state_dict(weights)
    if given["vocab_size"] < tokenizer.vocab_size:
        raise ValueError(f"its alphabet needs {tokenizer.vocab_size} ids, and its net has {given['vocab_size']}")
    if given.get("n_labels", 0) != len(tokenizer.labels):
        raise ValueError(f"it has {len(tokenizer.labels)} labels, and its net has {given.get('n_labels', 0)}")
    return net.eval(), given


def _arguments(net: type[nn.Module], values: object) -> dict[str, Any]:
    """All arguments but `init`, which is over once there are weights."""
    signature = inspect.signature(net)
    if not isinstance(values, dict) or not values.keys() <= signature.parameters.keys() or values != _plain(values):
        raise ValueError(f"the arguments of its net are {values!r:.200}, and {net.__name__} takes {signature}")
    defaults = {key: parameter.default for key, parameter in signature.parameters.items()}
    return {key: value for key, value in {**defaults, **values}.items() if key != "init"}


def _check_weights(expected: dict[str, Tensor], weights: dict[str, Any], grows: Iterable[str]) -> None:
    """Refuse weights of other shapes and weights that are not finite; those in `grows` may have any number of rows."""
    for name in {**expected, **weights}:
        held, needed = (_layout(table.get(name), any_length=name in grows) for table in (weights, expected))
        if held != needed:
            raise ValueError(f"net.{name} is {held}, and its net needs {needed}")
        weight = weights[name]
        if name in grows and not len(weight):
            raise ValueError(f"net.{name} is empty, so its training counted nothing")
        if not weight.isfinite().all():
            raise ValueError(f"net.{name} is not finite (NaN or infinity), so its training failed")


def _layout(weight: Any, any_length: bool = False) -> str:
    """The shape of an ordinary tensor, and that it counts; whatever else a file may hold, by its type."""
    if str(getattr(weight, "layout", None)) == "torch.strided":
        shape = str(("any", *weight.shape[1:]) if any_length and weight.dim() else tuple(weight.shape))
        if weight.is_floating_point():
            return shape
        if str(weight.dtype) in _INTEGERS:  # n-grams, counts, and the batches that a batch norm has seen
            return f"whole numbers {shape}"
    return "missing" if weight is None else type(weight).__name__
