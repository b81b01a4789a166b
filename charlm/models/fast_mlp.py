"""Analytic gradients of the MLP in numpy: a training step in half of autograd's time.

Dimension key: B batch, T = block_size, C = n_embd, H = n_hidden, V = vocab_size, K = n_labels. The weights are the
MLP's parameters as numpy arrays, in their order: table (V + K, C), W1 (H, T * C), b1 (H,), W2 (V, H), b2 (V,).
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function

from charlm.callbacks.internals.module_parts import has_hooks
from charlm.callbacks.internals.step import GradientFunction
from charlm.nets.mlp import MLP
from charlm.nets.parts.first_order import first_order
from charlm.nets.parts.layers import Tanh

_SMALL = 1 << 18  # multiplications up to which OpenBLAS, which numpy brings, takes no second thread
_PARTS = [MLP, nn.Embedding, nn.Linear, Tanh, nn.Linear]


def is_plain(net: MLP) -> bool:
    """Whether the analytic gradients are those of `net`: an unchanged MLP, float32, on the CPU, without hooks."""
    weights = list(net.parameters())
    return (
        [type(part) for part in net.modules()] == _PARTS
        and net.embedding.extra_repr() == f"{net.embedding.num_embeddings}, {net.embedding.embedding_dim}"  # no options
        and len(weights) == 5
        and all(type(weight) is nn.Parameter and weight.requires_grad for weight in weights)
        and all(weight.dtype is torch.float32 and weight.device.type == "cpu" for weight in weights)
        and not has_hooks(net)
    )


def gradient_function(
    net: MLP, record: Callable[[float], None], log: Callable[[float], None]
) -> GradientFunction | None:
    """Loss and gradients of a batch without autograd, for StepsPerExecution; None where the net needs autograd.

    Args:
        net: the net that is trained.
        record: gets the loss of a batch, in nats per character, in a step in which nothing is logged.
        log: gets that of any other batch.
    """
    if not is_plain(net):
        return None
    arrays = _arrays(list(net.parameters()))

    def gradients(batch: tuple[Tensor, Tensor], logs: bool) -> tuple[float, list[Tensor]]:
        loss, of_weights = mlp_gradients(arrays, *batch)
        (log if logs else record)(loss)
        return loss, of_weights

    return gradients


class AnalyticLoss(Function):
    """The same loss and gradients for autograd: the steps that Lightning does itself are equal bit for bit."""

    @staticmethod
    def forward(ctx: Any, context: Tensor, target: Tensor, *weights: Tensor) -> Tensor:
        """Context int64 (B, T), target int64 (B,), the parameters of a plain MLP; gives the loss, float ()."""
        loss, ctx.gradients = mlp_gradients(_arrays(weights), context, target)
        return torch.tensor(loss, dtype=weights[0].dtype)

    @staticmethod
    @first_order
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients times `slope`, float ()."""
        return None, None, *(slope * gradient for gradient in ctx.gradients)


@np.errstate(over="ignore", invalid="ignore")  # a diverging loss becomes infinite or NaN without a warning, as in torch
def mlp_gradients(weights: Sequence[np.ndarray], context: Tensor, target: Tensor) -> tuple[float, list[Tensor]]:
    """The cross-entropy and its gradients, within float32 rounding of autograd's.

    Args:
        weights: as above.
        context: int64 (B, T), on the CPU.
        target: int64 (B,), each a character's id; B >= 1.

    Returns:
        loss: in nats per character.
        gradients: one for each of `weights`, of the same shape.

    Raises:
        IndexError: an id outside 0..V-1.
        ValueError: the shapes of context and target do not fit the weights or each other.
    """
    table, W1, b1, W2, b2 = weights
    ids, targets = context.numpy(), target.numpy()  # whose shapes and lengths take less time than tensors'
    (rows, C), B = table.shape, len(targets)
    if (*targets.shape, W1.shape[1] // C) != ids.shape:
        raise ValueError(f"context is {ids.shape}, target {targets.shape}; give (B, T) and (B,)")
    _check(ids, rows, "context")
    _check(targets, len(W2), "target")
    dot = np.ndarray.dot if B * max(W1.size, W2.size) <= _SMALL else _large_product
    ones = _ones(B, b1.dtype)
    embedded = table.take(ids, 0).reshape(B, -1)
    h = dot(embedded, W1.T)
    h += b1
    np.tanh(h, h)
    logits = dot(W2, h.T)  # (V, B): numpy sums over rows sooner than within them
    logits += b2[:, None]
    loss, slope = _cross_entropy(logits, targets, ones)
    d_hidden = dot(slope.T, W2)
    d_W2 = dot(slope, h)
    h *= h
    d_hidden *= np.subtract(1, h, h)
    d_table = _summed_by_id(dot(d_hidden, W1).reshape(-1, C), ids.reshape(-1), rows)
    # a product with ones takes a third of the time of a sum
    others = dot(d_hidden.T, embedded), ones.dot(d_hidden), d_W2, slope.dot(ones)
    return loss, [d_table, *map(torch.from_numpy, others)]


def _arrays(weights: Sequence[Tensor]) -> list[np.ndarray]:
    """The weights as numpy sees them: the same memory."""
    return [weight.detach().numpy() for weight in weights]


def _check(ids: np.ndarray, size: int, what: str) -> None:
    if np.maximum.reduce(ids.view(np.uint64), None) >= size:  # without its sign a negative id is a huge one
        raise IndexError(f"{what} has an id outside 0..{size - 1}")


def _large_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The product of two large matrices by torch; numpy starts a small one sooner.

    For large ones numpy's BLAS takes threads of its own, which torch's then wait for, and the other way round.
    """
    return torch.from_numpy(a).mm(torch.from_numpy(b)).numpy()


def _cross_entropy(logits: np.ndarray, target: np.ndarray, ones: np.ndarray) -> tuple[float, np.ndarray]:
    """The mean over the batch, and its gradient (V, B), which takes the memory of `logits` (V, B)."""
    V, B = logits.shape
    at = target * B
    at += _first_numbers(B)  # where the targets are among all logits
    logits -= np.maximum.reduce(logits, 0)
    of_target = logits.take(at)
    slope = np.exp(logits, logits)
    total = _ones(V, logits.dtype).dot(slope)
    loss = (np.log(total) - of_target).dot(ones) / B
    total *= B
    slope /= total
    slope.reshape(-1)[at] -= 1 / B
    return float(loss), slope


def _summed_by_id(rows: np.ndarray, ids: np.ndarray, size: int) -> Tensor:
    """For each of `size` ids the sum of its rows: an embedding's gradient."""
    if max(rows.size, size) * size <= _SMALL:
        return torch.from_numpy(_one_hot(size, rows.dtype).take(ids, 0).T.dot(rows))
    summed = torch.zeros(size, rows.shape[1], dtype=getattr(torch, str(rows.dtype)))
    return summed.index_add_(0, torch.from_numpy(ids), torch.from_numpy(rows))


@cache
def _one_hot(size: int, dtype: np.dtype) -> np.ndarray:
    return np.eye(size, dtype=dtype)


@cache
def _ones(size: int, dtype: np.dtype) -> np.ndarray:
    return np.ones(size, dtype)


@cache
def _first_numbers(size: int) -> np.ndarray:
    return np.arange(size)
