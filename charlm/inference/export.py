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
from charlm.runs.load_checkpoint import FORMAT, Checkpoint

NOTE = "charlm"
"""The metadata key under which a file describes itself; in a torch.export program the extra file charlm.json."""
TOLERANCE = 1e-5
"""The largest allowed error of a file's logits, relative to the largest logit where that is above 1."""

_BATCHES = (1, 2, 5, 64)  # the sizes that a file is checked with
_LENGTHS = (1, 2, 9, 40)

Run = Callable[[Tensor], Tensor]
"""Runs an exported file: ids int64 in, logits out."""


def about(checkpoint: Checkpoint) -> dict[str, Any]:
    """Describe a net for the programs that load it: its class and arguments, the alphabet, the training; fit for JSON.

    Character i of the alphabet, counted from 0, has the id i + 1; the id 0 begins and ends every name. If names have
    labels, label i has the id len(alphabet) + 1 + i and begins a name in place of 0; in windows it also keeps the first
    place.
    """
    labels = list(checkpoint.tokenizer.labels)
    return {
        "format": FORMAT,
        "net": type(checkpoint.net).__name__,
        "net_args": checkpoint.net_args,
        "takes": "names" if takes_names(checkpoint.net) else "windows",
        "alphabet": checkpoint.tokenizer.alphabet,
        **({"labels": labels} if labels else {}),
        "hyperparameters": checkpoint.hyperparameters,
        "step": checkpoint.step,
    }


def to_torch(net: nn.Module, description: dict[str, Any]) -> tuple[bytes, Run]:
    """Export a net in eval mode as a torch.export program, with the description as its extra file charlm.json.

    Returns:
        the file's content, and a function that runs it.
    """
    program = traced(net)
    packed = io.BytesIO()
    torch.export.save(program, packed, extra_files={f"{NOTE}.json": json.dumps(description)})
    packed.seek(0)
    return packed.getvalue(), torch.export.load(packed).module()


def to_onnx(net: nn.Module, description: dict[str, Any]) -> tuple[bytes, Run]:
    """Export as an ONNX model with the input "ids" and the output "logits"; the description is in its metadata_props.

    Raises:
        ModuleNotFoundError: one of the packages of lightning-charlm[export] is missing.
    """
    runtime = [_package(name, "onnx") for name in ("onnx", "onnxscript", "onnxruntime")][-1]
    program = traced(net)
    with any_length(), _without_needless_warnings():  # torch.onnx traces the program again
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
        node.metadata_props.clear()  # paths of this machine
    model.model.metadata_props[NOTE] = json.dumps(description)
    packed = io.BytesIO()
    model.save(packed)
    session = runtime.InferenceSession(packed.getvalue(), providers=["CPUExecutionProvider"])
    return packed.getvalue(), lambda ids: torch.from_numpy(session.run(["logits"], {"ids": ids.numpy()})[0])


def to_safetensors(net: nn.Module, description: dict[str, Any]) -> tuple[bytes, Run]:
    """Export the weights alone, under the names of `net.state_dict()`, with the description as metadata.

    Raises:
        ModuleNotFoundError: one of the packages of lightning-charlm[export] is missing.
    """
    safetensors = _package("safetensors.torch", "safetensors")
    weights = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    packed = safetensors.save(weights, {NOTE: json.dumps(description)})
    with torch.random.fork_rng(devices=[]):  # a new net draws weights, which are replaced at once
        loaded = type(net)(**description["net_args"]).eval()
    loaded.load_state_dict(safetensors.load(packed))
    return packed, loaded


@torch.no_grad()
def check(net: nn.Module, run: Run, vocab_size: int) -> float:
    """Compare the logits of an exported file with those of its net, on random ids of several sizes.

    Args:
        net: the exported net.
        run: runs the file.
        vocab_size: V, the number of ids that the net knows.

    Returns:
        the largest difference.

    Raises:
        ValueError: a difference is larger than `TOLERANCE` allows, or the net's own logits are NaN or infinite.
    """
    generator = torch.Generator().manual_seed(0)
    longest = positions_of(net) or max(_LENGTHS)
    lengths = {min(length, longest) for length in _LENGTHS} | {longest} if takes_names(net) else {block_size_of(net)}
    largest = 0.0
    for length in sorted(lengths):
        for batch in _BATCHES:
            ids = torch.randint(vocab_size, (batch, length), generator=generator)
            logits, expected = run(ids), net(ids)
            if not expected.isfinite().all():
                raise ValueError(
                    "the checkpoint's own logits are NaN or infinite, so nothing is written; use another checkpoint"
                )
            allowed = TOLERANCE * max(1.0, expected.abs().max().item())
            error = (logits - expected).abs().max().item() if logits.shape == expected.shape else math.inf
            if not error <= allowed:  # also for NaN
                raise ValueError(
                    f"for ids {tuple(ids.shape)} the exported logits are off by {error:.1e}, and {allowed:.1e} is"
                    " allowed, so nothing is written; give another --format"
                )
            largest = max(largest, error)
    return largest


@contextmanager
def _without_needless_warnings() -> Iterator[None]:
    """Silence torch.onnx about torchvision, which charlm does not use, and about a deprecated function inside torch."""
    log = logging.getLogger("torch.onnx._internal.exporter._registration")

    def is_needed(record: logging.LogRecord) -> bool:
        return "torchvision is not installed" not in record.getMessage()

    log.addFilter(is_needed)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
            yield
    finally:
        log.removeFilter(is_needed)


def _package(name: str, format: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"--format {format} needs the package {name.split('.')[0]}, which is not installed:"
            " pip install 'lightning-charlm[export]'"
        ) from error
