"""A trained net as a file that runs without charlm. Dimension key: V = vocab_size."""

import io
import json
import logging
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from charlm.inference.tracing import OPSET, any_length, has_lengths, onnx_rnn, traced
from charlm.nets.interface import block_size_of, positions_of, takes_names
from charlm.runs.checkpoint import FORMAT, Checkpoint

NOTE = "charlm"
"""Where a file tells what it holds: the key of its metadata; in a torch.export program the extra file charlm.json."""
TOLERANCE = 1e-5
"""How far the logits of a file may be off; where the largest is above 1, times that, since float32 rounds so."""

_BATCHES = (1, 2, 5, 64)  # what is tried on a file
_LENGTHS = (1, 2, 9, 40)

Run = Callable[[Tensor], Tensor]


def about(checkpoint: Checkpoint) -> dict[str, Any]:
    """What a file has to tell besides the weights, fit for JSON: the net and its arguments, the alphabet, the training.

    Character number i of the alphabet, counted from 0, has the id i + 1; the id 0 begins and ends every name.
    """
    return {
        "format": FORMAT,
        "net": type(checkpoint.net).__name__,
        "net_args": checkpoint.net_args,
        "takes": "names" if takes_names(checkpoint.net) else "windows",
        "alphabet": checkpoint.tokenizer.alphabet,
        "hyperparameters": checkpoint.hyperparameters,
        "step": checkpoint.step,
    }


def to_torch(net: nn.Module, told: dict[str, Any]) -> tuple[bytes, Run]:
    """A torch.export program.

    Args:
        net: in eval mode; its weights are set to need no gradients.
        told: goes along as charlm.json.

    Returns:
        the file's content, and what runs it: ids int64 in, logits out.
    """
    program = traced(net)
    packed = io.BytesIO()
    torch.export.save(program, packed, extra_files={f"{NOTE}.json": json.dumps(told)})
    packed.seek(0)
    return packed.getvalue(), torch.export.load(packed).module()


def to_onnx(net: nn.Module, told: dict[str, Any]) -> tuple[bytes, Run]:
    """An ONNX model with the input "ids" and the output "logits".

    Args:
        net: in eval mode; its weights are set to need no gradients.
        told: goes along in metadata_props.

    Returns:
        the file's content, and what runs it: ids int64 in, logits out.

    Raises:
        ModuleNotFoundError: a package of charlm[onnx] is missing.
    """
    runtime = [_package(name, "onnx") for name in ("onnx", "onnxscript", "onnxruntime")][-1]
    program = traced(net)
    with any_length(), _quiet():  # torch.onnx traces it again
        model: Any = torch.onnx.export(
            program,
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=["ids"],
            output_names=["logits"],
            dynamic_shapes=({0: "batch", 1: "length"} if has_lengths(net) else {0: "batch"},),
            custom_translation_table={torch.ops.aten.rnn_tanh.input: onnx_rnn},
        )
    for node in model.model.graph.all_nodes():
        node.metadata_props.clear()  # where on this machine each line of code is
    model.model.metadata_props[NOTE] = json.dumps(told)
    packed = io.BytesIO()
    model.save(packed)
    session = runtime.InferenceSession(packed.getvalue(), providers=["CPUExecutionProvider"])
    return packed.getvalue(), lambda ids: torch.from_numpy(session.run(["logits"], {"ids": ids.numpy()})[0])


def to_safetensors(net: nn.Module, told: dict[str, Any]) -> tuple[bytes, Run]:
    """The weights by the names of `net.state_dict()`.

    Args:
        net: in eval mode.
        told: goes along as metadata.

    Returns:
        the file's content, and what runs it: ids int64 in, logits out.

    Raises:
        ModuleNotFoundError: a package of charlm[safetensors] is missing.
    """
    safetensors = _package("safetensors.torch", "safetensors")
    weights = {name: held.contiguous() for name, held in net.state_dict().items()}
    packed = safetensors.save(weights, {NOTE: json.dumps(told)})
    with torch.random.fork_rng(devices=[]):  # the weights that are drawn here do not stay
        again = type(net)(**told["net_args"]).eval()
    again.load_state_dict(safetensors.load(packed))
    return packed, again


@torch.no_grad()
def check(net: nn.Module, run: Run, vocab_size: int) -> float:
    """How far the logits of a file are off, on random ids of several sizes.

    Args:
        net: what was exported.
        run: the file: ids int64 in, logits out.
        vocab_size: V, ids that the net knows.

    Returns:
        the largest difference.

    Raises:
        ValueError: one is larger than `TOLERANCE` allows, or the net's own logits are not finite.
    """
    generator = torch.Generator().manual_seed(0)
    longest = positions_of(net) or max(_LENGTHS)
    lengths = {min(length, longest) for length in _LENGTHS} | {longest} if takes_names(net) else {block_size_of(net)}
    off = 0.0
    for length in sorted(lengths):
        for batch in _BATCHES:
            ids = torch.randint(vocab_size, (batch, length), generator=generator)
            logits, wanted = run(ids), net(ids)
            if not wanted.isfinite().all():
                raise ValueError(
                    "the checkpoint's own logits are NaN or infinite; nothing is written: use another checkpoint"
                )
            allowed = TOLERANCE * max(1.0, wanted.abs().max().item())
            here = (logits - wanted).abs().max().item() if logits.shape == wanted.shape else math.inf
            if not here <= allowed:  # NaN too
                raise ValueError(
                    f"for ids {tuple(ids.shape)} the exported logits are off by {here:.1e}, and {allowed:.1e} is"
                    " allowed; nothing is written: give another --format"
                )
            off = max(off, here)
    return off


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch.onnx's words on a package that charlm does not use, and on one of torch's own functions."""
    log = logging.getLogger("torch.onnx._internal.exporter._registration")

    def heard(record: logging.LogRecord) -> bool:
        return "torchvision is not installed" not in record.getMessage()

    log.addFilter(heard)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
            yield
    finally:
        log.removeFilter(heard)


def _package(name: str, extra: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"--format {extra} needs the package {name.split('.')[0]}, which is not installed:"
            f" pip install 'charlm[{extra}]'"
        ) from error
