"""Nets as torch.export programs. Dimension key: B batch, L length, C = n_embd, H = n_hidden."""

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
"""The version of ONNX's operators."""

_RECURRENT = (torch.ops.aten.rnn_tanh.input, torch.ops.aten.gru.input, torch.ops.aten.lstm.input)


def traced(net: nn.Module) -> ExportedProgram:
    """The net for any batch, and any length that it can take."""
    net.requires_grad_(False)  # so that the logits can go to numpy
    dims = {0: Dim("batch")}
    if has_lengths(net):
        dims[1] = Dim("length", min=1, max=positions_of(net))
    length = 2 if has_lengths(net) else 1 if takes_names(net) else block_size_of(net)
    ids = torch.zeros(3, length, dtype=torch.int64)
    with any_length(), torch.inference_mode(False), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"The tensor attributes self\.\S*recurrent\._flat_weights", UserWarning)
        program = torch.export.export(net, (ids,), dynamic_shapes=(dims,), strict=False)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # where on this machine each line of code is
    return program


def has_lengths(net: nn.Module) -> bool:
    """Whether names of several lengths go into it."""
    return takes_names(net) and positions_of(net) != 1


@contextmanager
def any_length() -> Iterator[None]:
    """Keep torch's recurrent layers whole, for any length, while a net is traced.

    Torch (2.13) learns the shapes of their results by going through the example's characters one by one, which nails
    its length. Here it gets the shapes alone. (torch.export._patches does the like, with a loop, for two of the three.)
    """
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    slots: list[tuple[dict[Any, Any], Any]] = [(op.py_kernels, key) for op in _RECURRENT]
    slots += [(torch._decomp.decomposition_table, op) for op in _RECURRENT]
    held = [table[at] for table, at in slots]
    try:
        for table, at in slots:
            table[at] = _shapes
        yield
    finally:
        for (table, at), kept in zip(slots, held, strict=True):
            table[at] = kept


def _shapes(input: Tensor, state: Tensor | list[Tensor], params: list[Tensor], *_: Any) -> tuple[Tensor, ...]:
    """Results of the right shapes for `input` (L, B, C): units (L, B, H) and what each tensor of the state becomes."""
    states = [state] if isinstance(state, Tensor) else state
    return input.new_empty(*input.shape[:2], states[0].shape[2]), *(held.clone() for held in states)


def onnx_rnn(input: Any, state: Any, params: Any, has_biases: bool, num_layers: int, *_: Any) -> tuple[Any, Any]:
    """ONNX's operators for nn.RNN as `Recurrent` makes it; those for GRU and LSTM come with onnxscript.

    Args:
        input: (L, B, C).
        state: (num_layers, B, H), at first.
        params: of each layer the weights (H, C), (H, H) and, if `has_biases`, the biases (H,), (H,).
        has_biases: whether there are some.
        num_layers: each reads the one below.
    """
    op = getattr(import_module("onnxscript"), f"opset{OPSET}")
    x, last = input, []
    of_each = len(params) // num_layers
    for layer in range(num_layers):
        weight, recurrent, *biases = params[layer * of_each : (layer + 1) * of_each]
        bias = op.Unsqueeze(op.Concat(*biases, axis=0), [0]) if has_biases else None
        first = op.Slice(state, [layer], [layer + 1], [0])
        weights = (op.Unsqueeze(weight, [0]), op.Unsqueeze(recurrent, [0]), bias)
        hidden, held = op.RNN(x, *weights, None, first, hidden_size=recurrent.shape[1])
        x = op.Squeeze(hidden, [1])  # of one direction
        last.append(held)
    return x, op.Concat(*last, axis=0)
