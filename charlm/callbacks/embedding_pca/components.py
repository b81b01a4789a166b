"""Principal components whose axes continue from frame to frame. The global random state is not used.

Dimension key: V rows, C columns, k axes.
"""

from typing import NamedTuple

import torch
from torch import Tensor

_EXACT = 5e7  # multiplications up to which the components are exact
_BLOCK, _ITERATIONS = 32, 12  # of the subspace iteration for larger tables


class Components(NamedTuple):
    """The axes on which a table is drawn.

    axes: float64 (C, k), orthonormal columns.
    explained: share of the table's variance along each axis, in [0, 1]; zeros for a table without variance.
    points: float64 (V, k), the centred rows on the axes.
    """

    axes: Tensor
    explained: list[float]
    points: Tensor


def principal_components(table: Tensor, k: int = 2, previous: Tensor | None = None) -> Components:
    """Compute the `k` axes along which the rows of `table` vary most, so that successive frames can be compared.

    With `previous`, the axes are turned and mirrored within their plane to be as near to `previous` as possible
    (orthogonal Procrustes), so they neither flip nor change places.

    Args:
        table: (V, C), any floating type and device, V >= 2 and C >= k; constant columns and rows are fine.
        k: number of axes, >= 1.
        previous: the axes (C, k) of an earlier frame; axes of another shape are ignored.

    Returns:
        Exact components. For a table that takes more than 5e7 multiplications, such as 2000 x 200, axes within about
        1e-3 of the exact ones where their variances stand out by 22 %, else with the same variance to a few percent.

    Raises:
        ValueError: `table` is too small, or has NaN or infinite values.

    Example:
        >>> found = principal_components(torch.tensor([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]]))
        >>> [round(share, 3) for share in found.explained], [round(value, 3) for value in found.points[:, 0].tolist()]
        ([1.0, 0.0], [-5.0, 0.0, 5.0])

    Source: Jolliffe 2002, Principal Component Analysis, chapter 3; Schönemann 1966, Psychometrika 31, on Procrustes;
    for large tables Halko, Martinsson and Tropp 2011, SIAM Review 53, as in torch.svd_lowrank.
    """
    rows, columns = table.shape
    if rows < 2 or columns < k:
        raise ValueError(f"{k} principal components need at least 2 rows and {k} columns, not {rows} and {columns}")
    if not table.isfinite().all():
        raise ValueError("the table has NaN or infinite values")
    centred = _centred(table)
    if rows * columns * min(rows, columns) <= _EXACT:
        padded = torch.nn.functional.pad(centred, (0, 0, 0, max(0, k - rows)))  # fewer rows have fewer components
        axes = torch.linalg.svd(padded, full_matrices=False).Vh[:k].T
    else:
        with torch.random.fork_rng([]):  # svd_lowrank begins with random columns
            torch.default_generator.manual_seed(0)
            found = torch.svd_lowrank(centred.float(), min(_BLOCK + k, rows, columns), _ITERATIONS)[2]
        axes = torch.linalg.qr(found[:, :k].double()).Q
    if previous is None or previous.shape != axes.shape:
        axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()  # the same signs on every machine
    else:
        left, _, right = torch.linalg.svd(axes.T @ previous.to(axes))  # orthogonal Procrustes
        axes = axes @ left @ right
    return on_axes(table, axes)


def on_axes(table: Tensor, axes: Tensor) -> Components:
    """The rows of `table` (V, C), centred, on the orthonormal columns of `axes`, float64 (C, k)."""
    centred = _centred(table)
    points = centred @ axes
    shares = points.square().sum(0) / centred.square().sum().clamp(min=1e-300)
    return Components(axes, shares.tolist(), points)


def _centred(table: Tensor) -> Tensor:
    centred = table.detach().to("cpu", torch.float64)
    return centred - centred.mean(0)
