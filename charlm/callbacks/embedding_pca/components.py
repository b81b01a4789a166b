"""Principal components from frame to frame, the global random numbers left alone.

Dimension key: V rows, C columns, k components, m directions.
"""

from itertools import permutations
from typing import NamedTuple

import torch
from torch import Tensor

_CLOSE = 0.1  # relative distance, |a - b| / (a + b), from which two variances are told apart in full
_KEEP = 0.4  # by how much the overlaps of another order of the axes have to be better for it to be drawn
_DOUBLE = 5e8  # multiplications up to which all components are computed, in float64
_EXTRA = 8  # random columns beside those asked for, and
_POWERS = 12  # powers of the Gram matrix, for the leading components of larger tables


class Components(NamedTuple):
    """The directions in which a table is drawn.

    axes: float64 (C, k), orthonormal columns.
    explained: the share of the whole variance along each axis as it is drawn, in [0, 1]; zeros where there is none.
    points: float64 (V, k), the centred rows on the axes.
    names: what each axis is: "PC1" for the component of most variance, "PC1/2" between the first two.
    """

    axes: Tensor
    explained: list[float]
    points: Tensor
    names: list[str]


def principal_components(table: Tensor, k: int = 2, previous: Tensor | None = None) -> Components:
    """The k directions along which the rows of `table` vary most, drawn as a film needs them.

    Without `previous` these are the principal components, the one of most variance first. With it, each axis goes on
    as the component that it overlaps with most, whatever its rank has become, and points the same way. Components whose
    variances are within 22 % of each other are hardly told apart by the data (North et al. 1982); the closer they are,
    the more their axes stay where they were, in the plane of the two, and so they turn over step by step as the
    variances pass each other, also where only one of them is drawn. All others are the components themselves.

    What cannot be smoothed: a table that has changed much since `previous`, and variances that pass each other,
    all these 22 %, within a frame or two.

    Args:
        table: (V, C), any floating type and device, V >= 2 and C >= k; constant columns and rows are fine.
        k: number of components, >= 1.
        previous: the axes (C, k) of an earlier version of the table; another shape counts as none.

    Returns:
        Exact in float64. Of a table of more than 5e8 multiplications, such as 2000 x 768, only the leading components
        are computed, in float32: the axes lie within about 1e-3 of the exact ones where these stand out by the 22 %,
        and hold their variance to a few percent where no component stands out.

    Raises:
        ValueError: a table that is too small, or that has NaN or infinite values.

    Source: Jolliffe 2002, Principal Component Analysis, chapter 3; North et al. 1982, Monthly Weather Review 110.
    """
    rows, columns = table.shape
    if rows < 2 or columns < k:
        raise ValueError(f"{k} principal components need at least 2 rows and {k} columns, not {rows} and {columns}")
    large = rows * columns * min(rows, columns) > _DOUBLE
    table = table.detach().to("cpu", torch.float32 if large else torch.float64)
    mean = table.mean(0)
    if not mean.isfinite().all():
        raise ValueError("the table has NaN or infinite values")
    centred = table - mean
    before = None if previous is None or previous.shape != (columns, k) else previous.to("cpu", torch.float64)
    variances, directions = _leading(centred, k, before) if large else _spectrum(centred, k)
    if before is None:
        axes = _pointing(_orthonormal(directions[:, :k]))
    else:
        axes = _orthonormal(directions @ _mixed(variances, directions.T @ before))
    points = (centred @ axes.to(centred.dtype)).double()
    total = float(centred.square().sum()) if large else float(variances.sum())
    explained = [along / total if total > 0 else 0.0 for along in points.square().sum(0).tolist()]
    return Components(axes, explained, points, [_name(weights) for weights in (directions.T @ axes).square().T])


def _spectrum(centred: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Variances (m,), falling, and their directions (C, m), orthonormal in float64; m >= k.

    By way of the Gram matrix where there are more rows than columns.
    """
    rows, columns = centred.shape
    if rows < columns:
        _, spread, wide = torch.linalg.svd(centred, full_matrices=rows < k)
        variances, directions = torch.zeros(len(wide), dtype=torch.float64), wide.T.double()
        variances[: len(spread)] = spread.double().square()
        return variances, directions
    rising, directions = torch.linalg.eigh(centred.T @ centred)
    return rising.double().clamp(min=0).flip(0), directions.double().flip(1)


def _leading(centred: Tensor, k: int, previous: Tensor | None) -> tuple[Tensor, Tensor]:
    """The first some hundred of `_spectrum`, the ones that stand out to float32's precision.

    By a block Krylov space of the smaller Gram matrix, which starts from the axes before and fixed random columns.

    Source: Musco and Musco 2015, Randomized Block Krylov Methods, algorithm 2.
    """
    rows, columns = centred.shape
    block = torch.randn(columns, k + _EXTRA, generator=torch.Generator().manual_seed(0))
    if previous is not None:
        block = torch.cat([previous.float(), block], 1)
    wide = rows < columns
    gram = centred @ centred.T if wide else centred.T @ centred
    blocks = [torch.linalg.qr(centred @ block if wide else block).Q]
    for _ in range(_POWERS):
        blocks.append(torch.linalg.qr(gram @ blocks[-1]).Q)
    basis = torch.linalg.qr(torch.cat(blocks, 1)).Q
    rising, inner = torch.linalg.eigh(basis.T @ (gram @ basis))
    directions = (basis @ inner).flip(1)
    if wide:
        directions = torch.linalg.qr(centred.T @ directions).Q
    return rising.double().clamp(min=0).flip(0), directions.double()


def _mixed(variances: Tensor, overlap: Tensor) -> Tensor:
    """Where the axes go on, in the basis of the components: (m, k), columns not yet orthonormal.

    Args:
        variances: (m,), of the components.
        overlap: (m, k), of the components with the axes before.
    """
    axis = torch.arange(overlap.shape[1])
    rank = _ranks(overlap[: len(axis)].abs())
    between, sums = (variances[:, None] - variances[rank]).abs(), variances[:, None] + variances[rank]
    apart = (between / (_CLOSE * sums).clamp(min=1e-300)).clamp(max=1)
    close = 1 - apart.square()  # 1 where variances are equal, 0 from _CLOSE on
    exact = torch.zeros_like(overlap)
    exact[rank, axis] = torch.where(overlap[rank, axis] < 0, -1.0, 1.0).double()
    close[rank, axis] = 0
    free = close.amax(0).clamp(
        max=1 - 1e-9
    )  # how free the axis is to stay; never quite, so that it has somewhere to go
    close[rank, axis] = free
    return close * overlap + (1 - free) * exact


def _orthonormal(columns: Tensor) -> Tensor:
    """The nearest orthonormal columns to those of (C, k): orthogonal Procrustes, by the polar decomposition."""
    left, _, right = torch.linalg.svd(columns, full_matrices=False)
    return left @ right


def _ranks(overlap: Tensor) -> Tensor:
    """The component that each axis goes on as: those of k x k that overlap most, by rank unless others are better."""
    axis = torch.arange(len(overlap))
    orders = [torch.tensor(order) for order in permutations(range(len(overlap)))]  # by rank is the first of them
    sums = [float(overlap[order, axis].sum()) for order in orders]
    sums[0] += _KEEP
    return orders[sums.index(max(sums))]


def _pointing(axes: Tensor) -> Tensor:
    """Axes (C, k) whose signs, which are free, are such that each one's largest element is positive."""
    largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    return torch.where(largest < 0, -axes, axes)


def _name(weights: Tensor) -> str:
    """The components that make up nine tenths of an axis, from its squared overlaps (m,) with all of them."""
    falling, ranks = weights.sort(descending=True)
    needed = int((falling.cumsum(0) < 0.9 * falling.sum()).sum()) + 1
    first, last = int(ranks[:needed].min()) + 1, int(ranks[:needed].max()) + 1
    if needed == 1:
        return f"PC{first}"
    return f"PC{first}/{last}" if needed == 2 else f"PC{first} to {last} mixed"
