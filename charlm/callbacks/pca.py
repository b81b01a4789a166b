"""Principal components, exact and without random numbers. Dimension key: V rows, C columns, k components."""

from typing import NamedTuple

import torch
from torch import Tensor


class Components(NamedTuple):
    """The first principal components of a table.

    axes: float64 (C, k), orthonormal columns, the direction of most variance first.
    explained: the share of the whole variance along each axis, in [0, 1]; zeros where there is none.
    points: float64 (V, k), the centred rows on the axes.
    """

    axes: Tensor
    explained: list[float]
    points: Tensor


def principal_components(table: Tensor, k: int = 2, previous: Tensor | None = None) -> Components:
    """The k directions along which the rows of `table` vary most.

    Args:
        table: (V, C), any floating type and device, V >= 2 and C >= k; constant columns and rows are fine.
        k: number of components, >= 1.
        previous: the axes (C, k) of an earlier version of the table, for `align`.

    Raises:
        ValueError: a table that is too small, or that has NaN or infinite values.

    Source: Jolliffe 2002, Principal Component Analysis, chapter 3; by the smaller of the two Gram matrices.
    """
    rows, columns = table.shape
    if rows < 2 or columns < k:
        raise ValueError(f"{k} principal components need at least 2 rows and {k} columns, not {rows} and {columns}")
    table = table.detach().to("cpu", torch.float64)
    if not table.isfinite().all():
        raise ValueError("the table has NaN or infinite values")
    centred = table - table.mean(0)
    if rows < columns:
        _, spread, directions = torch.linalg.svd(centred, full_matrices=rows < k)
        variances, axes = spread.square(), directions.T[:, :k]
    else:
        rising, directions = torch.linalg.eigh(centred.T @ centred)
        variances, axes = rising.clamp(min=0).flip(0), directions[:, -k:].flip(1)
    axes = align(axes, previous)
    total = float(variances.sum())
    explained = [float(v) / total if total > 0 else 0.0 for v in variances[:k]]
    return Components(axes, explained + [0.0] * (k - len(explained)), centred @ axes)


def align(axes: Tensor, previous: Tensor | None) -> Tensor:
    """Choose the sign of each axis, which is free: the one nearer to that axis before, so that pictures do not flip.

    Args:
        axes: (C, k), columns.
        previous: (C, k) as returned for the table before; without it, or with one of another shape, each axis has its
            largest element positive.

    Returns:
        (C, k): the axes, some turned round; the dot product with the previous one is never negative.
    """
    if previous is None or previous.shape != axes.shape:
        agreement = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    else:
        agreement = (axes * previous.to(axes)).sum(0, keepdim=True)
    return torch.where(agreement < 0, -axes, axes)
