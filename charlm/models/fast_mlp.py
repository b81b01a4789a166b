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
from torch.autograd.function import once_differentiable

from charlm.callbacks.internals.fast_step import GradientFunction
from charlm.callbacks.internals.hooks import has_hooks
from charlm.nets.mlp import MLP

_SMALL = 1 << 18  # multiplications up to which OpenBLAS, which numpy brings, takes no second thread
_PARTS = [MLP, nn.Embedding, nn.Linear, nn.Tanh, nn.Linear]


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


def gradient_function(net: MLP, log: Callable[[Tensor], None]) -> GradientFunction | None:
    """Loss and gradients of a batch without autograd, for StepsPerExecution; None where the net needs autograd.

    Args:
        net: the net that is trained.
        log: gets the loss of each batch, float (), in nats per character.
    """
    if not is_plain(net):
        return None
    weights = list(net.parameters())
    arrays = _arrays(weights)

    def gradients(batch: tuple[Tensor, Tensor], batch_idx: int) -> tuple[Tensor, list[Tensor]] | None:
        if not all(weight.requires_grad for weight in weights):  # frozen since
            return None
        loss, of_weights = mlp_gradients(arrays, *batch)
        log(loss)
        return loss, of_weights

    return gradients


class AnalyticLoss(Function):
    """The same loss and gradients for autograd: the steps that Lightning does itself are equal bit for bit."""

    @staticmethod
    def forward(ctx: Any, context: Tensor, target: Tensor, *weights: Tensor) -> Tensor:
        """Context int64 (B, T), target int64 (B,), the parameters of a plain MLP; gives the loss, float ()."""
        loss, ctx.gradients = mlp_gradients(_arrays(weights), context, target)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients times `slope`, float ()."""
        return None, None, *(slope * gradient for gradient in ctx.gradients)


@np.errstate(over="ignore", invalid="ignore")  # a diverging loss becomes infinite or NaN without a warning, as in torch
def mlp_gradients(weights: Sequence[np.ndarray], context: Tensor, target: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The cross-entropy and its gradients, within float32 rounding of autograd's.

    Args:
        weights: as above.
        context: int64 (B, T), on the CPU.
        target: int64 (B,), each a character's id; B >= 1.

    Returns:
        loss: float (), in nats per character.
        gradients: one for each of `weights`, of the same shape.

    Raises:
        IndexError: an id outside 0..V-1.
        ValueError: the shapes of context and target do not fit the weights or each other.
    """
    table, W1, b1, W2, b2 = weights
    rows, C = table.shape
    if (*target.shape, W1.shape[1] // C) != tuple(context.shape):
        raise ValueError(f"context is {tuple(context.shape)}, target {tuple(target.shape)}; give (B, T) and (B,)")
    embedded = table.take(_checked(context, rows, "context"), 0).reshape(len(target), -1)
    h = _product(embedded, W1.T)
    h += b1
    np.tanh(h, out=h)
    logits = _product(W2, h.T)  # (V, B): numpy sums over rows sooner than within them
    logits += b2[:, None]
    loss, slope = _cross_entropy(logits, _checked(target, len(W2), "target"))
    d_hidden = _product(slope.T, W2)
    d_W2 = _product(slope, h)
    h *= h
    d_hidden *= np.subtract(1, h, out=h)
    d_table = _summed_by_id(_product(d_hidden, W1).reshape(-1, C), context, rows)
    others = (_product(d_hidden.T, embedded), np.add.reduce(d_hidden, 0), d_W2, np.add.reduce(slope, 1))
    return torch.from_numpy(np.asarray(loss)), [d_table, *map(torch.from_numpy, others)]


def _arrays(weights: Sequence[Tensor]) -> list[np.ndarray]:
    """The weights as numpy sees them: the same memory."""
    return [weight.detach().numpy() for weight in weights]


def _checked(ids: Tensor, size: int, what: str) -> np.ndarray:
    array = ids.numpy()
    if np.maximum.reduce(array.view(np.uint64), None) >= size:  # without its sign a negative id is a huge one
        raise IndexError(f"{what} has an id outside 0..{size - 1}")
    return array


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The product of two matrices: a small one by numpy, which starts sooner, a large one by torch.

    For large ones numpy's BLAS takes threads of its own, which torch's then wait for, and the other way round.
    """
    if a.size * b.shape[1] <= _SMALL:
        return a.dot(b)  # sooner than @
    return torch.from_numpy(a).mm(torch.from_numpy(b)).numpy()


def _cross_entropy(logits: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean over the batch, and its gradient (V, B), which takes the memory of `logits` (V, B)."""
    B = logits.shape[1]
    at = target.astype(np.intp)
    at *= B
    at += np.arange(B)  # where the targets are among all logits
    logits -= np.maximum.reduce(logits, 0)
    of_target = logits.take(at)
    slope = np.exp(logits, out=logits)
    total = np.add.reduce(slope, 0)
    loss = np.add.reduce(np.log(total) - of_target) / B
    total *= B
    slope /= total
    slope.reshape(-1)[at] -= 1 / B
    return loss, slope


def _summed_by_id(rows: np.ndarray, ids: Tensor, size: int) -> Tensor:
    """For each of `size` ids the sum of its rows: an embedding's gradient."""
    if max(rows.size, size) * size <= _SMALL:
        return torch.from_numpy(_one_hot(size, rows.dtype).take(ids.numpy().reshape(-1), 0).T.dot(rows))
    summed = torch.zeros(size, rows.shape[1], dtype=getattr(torch, str(rows.dtype)))
    return summed.index_add_(0, ids.reshape(-1), torch.from_numpy(rows))


@cache
def _one_hot(size: int, dtype: np.dtype) -> np.ndarray:
    return np.eye(size, dtype=dtype)
