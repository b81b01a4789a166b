"""The MLP's arithmetic by numpy, with its gradients derived by hand; the net itself is mlp.py.

Dimension key: B batch, T = block_size, C = n_embd, H = n_hidden, V = vocab_size. The weights are those of
`MLP.arrays()`: table (V, C), W1 (H, T * C), b1 (H,), W2 (V, H), b2 (V,).
"""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

_SMALL = 1 << 18  # multiplications up to which OpenBLAS, which numpy brings, takes no second thread


@np.errstate(over="ignore", invalid="ignore")  # a loss that diverges is infinite or NaN, as torch has it
def mlp_gradients(weights: Sequence[np.ndarray], context: Tensor, target: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The cross-entropy and its gradients; within float32 rounding of autograd's.

    A third of autograd's time at a batch of 32, three quarters at 1,024: numpy starts an operation sooner than torch
    and has a faster tanh.

    Args:
        weights: the net's `arrays()`.
        context: int64 (B, T), on the CPU.
        target: int64 (B,), each a character's id; B >= 1.

    Returns:
        loss: float (), in nats per character.
        gradients: of each of `weights`.

    Raises:
        IndexError: an id outside 0..V-1.
    """
    table, W1, _, W2, b2 = weights
    embedded, h = _hidden(weights, context)
    logits = _product(W2, h.T)  # (V, B): numpy sums over rows sooner than within them
    logits += b2[:, None]
    loss, slope = _cross_entropy(logits, target.numpy())
    d_hidden = _product(slope.T, W2)
    d_W2 = _product(slope, h)
    h *= h
    d_hidden *= np.subtract(1, h, out=h)
    d_table = _summed_by_id(_product(d_hidden, W1).reshape(-1, table.shape[1]), context, len(table))
    others = (_product(d_hidden.T, embedded), np.add.reduce(d_hidden, 0), d_W2, np.add.reduce(slope, 1))
    return torch.from_numpy(np.asarray(loss)), [d_table, *map(torch.from_numpy, others)]


@np.errstate(over="ignore", invalid="ignore")
def mlp_logits(
    weights: Sequence[np.ndarray], context: Tensor, tanh: Callable[[np.ndarray], np.ndarray] | None = None
) -> np.ndarray:
    """Logits (B, V) for the character after `context`, int64 (B, T).

    Args:
        weights: the net's `arrays()`.
        context: int64 (B, T), on the CPU.
        tanh: is called in place of numpy's with the hidden units' inputs, (B, H).

    Raises:
        IndexError: an id outside 0..V-1.
    """
    _, _, _, W2, b2 = weights
    logits = _product(_hidden(weights, context, tanh)[1], W2.T)
    logits += b2
    return logits


def fits(ids: np.ndarray, size: int) -> bool:
    """Whether all are in 0..size-1: a negative one is a huge one without its sign."""
    unsigned = ids.view(np.uint64 if ids.itemsize == 8 else f"u{ids.itemsize}")
    return bool(np.maximum.reduce(unsigned, None) < size)


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The product of two matrices: a small one by numpy, which starts sooner, a large one by torch.

    For large ones numpy's BLAS takes threads of its own, which torch's then wait for, and the other way round.
    """
    if a.size * b.shape[1] <= _SMALL:
        return a.dot(b)  # sooner than @
    return torch.from_numpy(a).mm(torch.from_numpy(b)).numpy()


def _hidden(
    weights: Sequence[np.ndarray], context: Tensor, tanh: Callable[[np.ndarray], np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Embedded characters (B, T * C) and hidden units (B, H)."""
    table, W1, b1, _, _ = weights
    ids = context.numpy()
    if not fits(ids, len(table)):
        raise IndexError(f"context has an id outside 0..{len(table) - 1}")
    embedded = table.take(ids, 0).reshape(len(ids), -1)
    h = _product(embedded, W1.T)
    h += b1
    return embedded, np.tanh(h, out=h) if tanh is None else tanh(h)


def _cross_entropy(logits: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean over the batch and its gradient (V, B) at `logits` (V, B), in the memory of which it is written."""
    V, B = logits.shape
    if not fits(target, V):
        raise IndexError(f"target has an id outside 0..{V - 1}")
    at = target.astype(np.intp)
    at *= B
    at += np.arange(B)  # of the targets among all logits
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
    """For each of `size` ids the sum of its rows: what an embedding's gradient is."""
    if max(rows.size, size) * size <= _SMALL:
        return torch.from_numpy(_one_hot(size, rows.dtype).take(ids.numpy().reshape(-1), 0).T.dot(rows))
    summed = torch.zeros(size, rows.shape[1], dtype=getattr(torch, str(rows.dtype)))
    return summed.index_add_(0, ids.reshape(-1), torch.from_numpy(rows))


@cache
def _one_hot(size: int, dtype: np.dtype) -> np.ndarray:
    return np.eye(size, dtype=dtype)
