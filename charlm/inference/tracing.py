"""Trace nets as torch.export programs. Dimension key: B batch, L length, C = n_embd, H = n_hidden."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from charlm.nets.interface import block_size_of, positions_of, takes_names

OPSET = 20
"""The version of ONNX's operator set."""

_RECURRENT = (torch.ops.aten.rnn_tanh.input, torch.ops.aten.gru.input, torch.ops.aten.lstm.input)


def traced(net: nn.Module) -> ExportedProgram:
    """Trace a net for batches of any size, and for names of any length that it can take; its weights are then frozen.

    Raises:
        ValueError: a net that was counted.
    """
    if hasattr(net, "grows"):
        raise ValueError(
            f"{type(net).__name__} looks up n-grams in steps that depend on its input, and cannot be exported as a"
            " program; give --format safetensors, which holds its counts"
        )
    net.requires_grad_(False)  # so that the logits can be converted to numpy
    dims = {0: Dim("batch")}
    if has_lengths(net):
        dims[1] = Dim("length", min=1, max=positions_of(net))
    length = 2 if has_lengths(net) else 1 if takes_names(net) else block_size_of(net)
    ids = torch.zeros(3, length, dtype=torch.int64)
    with any_length(), torch.inference_mode(False), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"The tensor attributes self\.\S*recurrent\._flat_weights", UserWarning)
        program = torch.export.export(net, (ids,), dynamic_shapes=(dims,), strict=False)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    return program


def has_lengths(net: nn.Module) -> bool:
    """Whether a net takes inputs of several lengths."""
    return takes_names(net) and positions_of(net) != 1


@contextmanager
def any_length() -> Iterator[None]:
    """Trace torch's recurrent layers as single operators, for names of any length.

    Torch (2.13) finds the shapes of their results by a loop over the example's characters, which fixes the length. Here
    it gets the shapes from `_result_shapes` instead. (torch.export._patches does this for two of the three layers, but
    with a loop.)
    """
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    entries: list[tuple[dict[Any, Any], Any]] = [(op.py_kernels, key) for op in _RECURRENT]
    entries += [(torch._decomp.decomposition_table, op) for op in _RECURRENT]
    originals = [table[entry] for table, entry in entries]
    try:
        for table, entry in entries:
            table[entry] = _result_shapes
        yield
    finally:
        for (table, entry), original in zip(entries, originals, strict=True):
            table[entry] = original


def _result_shapes(input: Tensor, state: Tensor | list[Tensor], params: list[Tensor], *_: Any) -> tuple[Tensor, ...]:
    """Tensors of the right shapes for `input` (L, B, C): hidden units (L, B, H) and the tensors of the new state."""
    states = [state] if isinstance(state, Tensor) else state
    return input.new_empty(*input.shape[:2], states[0].shape[2]), *(tensor.clone() for tensor in states)


def onnx_rnn(input: Any, state: Any, params: Any, has_biases: bool, num_layers: int, *_: Any) -> tuple[Any, Any]:
    """Write nn.RNN in ONNX's operators, in the form that `Recurrent` uses; onnxscript does so for GRU and LSTM.

    Args:
        input: (L, B, C).
        state: (num_layers, B, H), the initial state.
        params: for each layer the weights (H, C), (H, H) and, if `has_biases`, the biases (H,), (H,).
        has_biases: whether the layers have biases.
        num_layers: each layer reads the one before it.

    Returns:
        the hidden units of the last layer (L, B, H), and the final state (num_layers, B, H).
    """
    op = getattr(import_module("onnxscript"), f"opset{OPSET}")
    x, final_states = input, []
    per_layer = len(params) // num_layers
    for layer in range(num_layers):
        weight, recurrent, *biases = params[layer * per_layer : (layer + 1) * per_layer]
        bias = op.Unsqueeze(op.Concat(*biases, axis=0), [0]) if has_biases else None
        initial = op.Slice(state, [layer], [layer + 1], [0])
        weights = (op.Unsqueeze(weight, [0]), op.Unsqueeze(recurrent, [0]), bias)
        hidden, final = op.RNN(x, *weights, None, initial, hidden_size=recurrent.shape[1])
        x = op.Squeeze(hidden, [1])  # there is one direction
        final_states.append(final)
    return x, op.Concat(*final_states, axis=0)
