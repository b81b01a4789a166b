"""Principal components whose axes carry on from frame to frame. The global random state is not used.

Dimension key: V rows, C columns, k axes, m components.
"""

from itertools import permutations
from typing import NamedTuple

import torch
from torch import Tensor

_CLOSE = 0.1  # two variances a and b count as different from |a - b| / (a + b) = 0.1 on: 22 % apart
_BETTER = 0.4  # axes keep another order than that of the variances if it raises the sum of their overlaps by this
_EXACT = 5e8  # multiplications up to which all components are computed in float64
_BLOCK, _ITERATIONS = 32, 12  # size of the subspace iteration for larger tables


class Components(NamedTuple):
    """The axes on which a table is drawn.

    axes: float64 (C, k), orthonormal columns.
    explained: share of the table's variance along each axis, in [0, 1]; zeros for a table without variance.
    points: float64 (V, k), the centred rows on the axes.
    names: "PC1" for the component of largest variance, "PC1/2" for an axis between the first two.
    """

    axes: Tensor
    explained: list[float]
    points: Tensor
    names: list[str]


def principal_components(table: Tensor, k: int = 2, previous: Tensor | None = None) -> Components:
    """Compute the `k` axes along which the rows of `table` vary most, so that successive frames can be compared.

    Without `previous`, the axes are the principal components in the order of their variances. With `previous`, each
    axis continues as the component that overlaps with it most, whatever the rank of that component, and keeps its sign.
    Components whose variances are within 22 % of each other are hardly told apart by the data (North et al. 1982). The
    closer two variances are, the more an axis keeps its earlier direction in the plane of the two components, so it
    turns gradually while the variances pass each other. All other axes are the components themselves.

    Axes still jump when the table itself has changed much since `previous`, or when two variances pass each other
    within a frame or two.

    Args:
        table: (V, C), any floating type and device, V >= 2 and C >= k; constant columns and rows are fine.
        k: number of axes, >= 1.
        previous: the axes (C, k) of an earlier frame; axes of another shape are ignored.

    Returns:
        Exact components in float64. For a table that takes more than 5e8 multiplications, such as 2000 x 768, the
        leading components in float32: the axes are within about 1e-3 of the exact ones where these stand out by 22 %,
        and hold the same variance to a few percent where no component stands out.

    Raises:
        ValueError: `table` is too small, or has NaN or infinite values.

    Example:
        >>> found = principal_components(torch.tensor([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]]))
        >>> found.names, [round(share, 3) for share in found.explained]
        (['PC1', 'PC2'], [1.0, 0.0])
        >>> [round(value, 3) for value in found.points[:, 0].tolist()]
        [-5.0, 0.0, 5.0]

    Source: Jolliffe 2002, Principal Component Analysis, chapter 3; North et al. 1982, Monthly Weather Review 110.
    """
    rows, columns = table.shape
    if rows < 2 or columns < k:
        raise ValueError(f"{k} principal components need at least 2 rows and {k} columns, not {rows} and {columns}")
    exact = rows * columns * min(rows, columns) <= _EXACT
    table = table.detach().to("cpu", torch.float64 if exact else torch.float32)
    mean = table.mean(0)
    if not mean.isfinite().all():
        raise ValueError("the table has NaN or infinite values")
    centred = table - mean
    before = None if previous is None or previous.shape != (columns, k) else previous.to("cpu", torch.float64)
    variances, components = _all_components(centred, k) if exact else _leading_components(centred, before)
    if before is None:
        axes = _first_signs(_orthonormal(components[:, :k]))
    else:
        axes = _orthonormal(components @ _continued(variances, components.T @ before))
    points = (centred @ axes.to(centred.dtype)).double()
    total = float(centred.square().sum())
    explained = [along / total if total > 0 else 0.0 for along in points.square().sum(0).tolist()]
    return Components(axes, explained, points, [_name(weights) for weights in (components.T @ axes).square().T])


def _all_components(centred: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Variances (m,), falling, and orthonormal components (C, m), both float64, m >= k."""
    if len(centred) < centred.shape[1]:
        padded = torch.nn.functional.pad(centred, (0, 0, 0, max(0, k - len(centred))))  # fewer rows have fewer than k
        _, spread, components = torch.linalg.svd(padded, full_matrices=False)
        return spread.square(), components.T
    variances, components = torch.linalg.eigh(centred.T @ centred)  # rising; several times as fast as the SVD
    return variances.clamp(min=0).flip(0), components.flip(1)


def _leading_components(centred: Tensor, previous: Tensor | None) -> tuple[Tensor, Tensor]:
    """The first components of `_all_components`, about thirty, by subspace iteration from `previous` and fixed columns.

    Source: Halko, Martinsson and Tropp 2011, SIAM Review 53, algorithm 4.4.
    """
    block = torch.randn(centred.shape[1], _BLOCK, generator=torch.Generator().manual_seed(0))
    if previous is not None:
        block = torch.cat([previous.float(), block], 1)
    for _ in range(_ITERATIONS):
        block = torch.linalg.qr(centred.T @ (centred @ block)).Q
    _, spread, inner = torch.linalg.svd(centred @ block, full_matrices=False)
    return spread.double().square(), (block @ inner.T).double()


def _continued(variances: Tensor, overlap: Tensor) -> Tensor:
    """Each new axis as weights (m, k) of the components: its earlier direction, as far as the data allow, and its own.

    Args:
        variances: (m,), of the components.
        overlap: (m, k), of the components with the earlier axes.
    """
    axis = torch.arange(overlap.shape[1])
    own = _own_components(overlap[: len(axis)].abs())
    gap = (variances[:, None] - variances[own]).abs()
    total = (variances[:, None] + variances[own]).clamp(min=1e-300)
    similar = 1 - (gap / (_CLOSE * total)).clamp(max=1).square()  # 1 for equal variances, 0 from 22 % apart on
    similar[own, axis] = 0
    similar[own, axis] = most = similar.amax(0)
    weights = similar * overlap
    # the pull to the axis's own component: never 0, since an axis at right angles to it would have nowhere to go
    weights[own, axis] += (1 - most).clamp(min=1e-9) * torch.where(overlap[own, axis] < 0, -1.0, 1.0)
    return weights


def _own_components(overlap: Tensor) -> Tensor:
    """The component (k,) that each axis continues as, from overlaps (k, k); in order of variance unless others fit."""
    axis = torch.arange(len(overlap))
    orders = [torch.tensor(order) for order in permutations(range(len(overlap)))]  # the first is that of the variances
    sums = [float(overlap[order, axis].sum()) for order in orders]
    sums[0] += _BETTER
    return orders[sums.index(max(sums))]


def _orthonormal(columns: Tensor) -> Tensor:
    """The orthonormal columns (C, k) nearest to `columns`: orthogonal Procrustes."""
    left, _, right = torch.linalg.svd(columns, full_matrices=False)
    return left @ right


def _first_signs(axes: Tensor) -> Tensor:
    """Axes (C, k) with signs that make the largest element of each positive."""
    largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    return torch.where(largest < 0, -axes, axes)


def _name(weights: Tensor) -> str:
    """Name an axis by the components that make up nine tenths of it, from its squared overlaps (m,) with all."""
    falling, ranks = weights.sort(descending=True)
    needed = int((falling.cumsum(0) < 0.9 * falling.sum()).sum()) + 1
    first, last = int(ranks[:needed].min()) + 1, int(ranks[:needed].max()) + 1
    if needed == 1:
        return f"PC{first}"
    return f"PC{first}/{last}" if needed == 2 else f"PC{first} to {last} mixed"
