import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from charlm.callbacks.embedding_pca.components import principal_components


def draw(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def basis(seed, rows, columns):
    """Orthonormal columns."""
    return torch.linalg.qr(draw(seed, rows, columns)).Q


tables = st.builds(lambda *args: draw(*args).float(), st.integers(0, 10**6), st.integers(2, 12), st.integers(3, 12))


@given(tables, st.integers(2, 3), st.none() | st.integers(0, 10**6))
def test_axes_are_orthonormal_and_hold_the_most_variance(table, k, earlier):
    """As much as the singular values say, with an earlier frame and without one."""
    previous = None if earlier is None else basis(earlier, table.shape[1], k)
    axes, explained, points = principal_components(table, k, previous)
    centred = table.double() - table.double().mean(0)
    assert torch.allclose(axes.T @ axes, torch.eye(k, dtype=torch.float64), atol=1e-9)
    assert torch.allclose(points, centred @ axes, atol=1e-9)
    assert explained == pytest.approx((points.square().sum(0) / centred.square().sum()).tolist(), abs=1e-9)
    spectrum = torch.linalg.svdvals(centred).square()
    assert sum(explained) == pytest.approx(float(spectrum[:k].sum() / spectrum.sum()))
    if previous is None:
        assert explained == pytest.approx([*(spectrum / spectrum.sum()).tolist(), 0.0][:k], abs=1e-9)


@given(tables, st.integers(0, 10**6), st.integers(0, 10**6))
def test_no_other_axes_of_the_same_plane_are_nearer_to_the_previous_ones(table, earlier, turn):
    """So they neither flip nor change places: orthogonal Procrustes."""
    previous = basis(earlier, table.shape[1], 2)
    axes = principal_components(table, 2, previous).axes
    turned = axes @ basis(turn, 2, 2)
    assert (axes - previous).norm() <= (turned - previous).norm() + 1e-9
    assert torch.allclose(principal_components(table, 2, axes).axes, axes)


def test_axes_of_another_shape_are_ignored_and_signs_are_always_the_same():
    table = torch.eye(4)[:, :3] * torch.tensor([3.0, 2.0, 1.0])
    alone = principal_components(table)
    assert torch.equal(principal_components(table, previous=torch.ones(5, 2)).axes, alone.axes)
    assert torch.allclose(principal_components(table, previous=-alone.axes.float()).axes, -alone.axes)
    assert (alone.axes.gather(0, alone.axes.abs().argmax(0, keepdim=True)) > 0).all()


@pytest.mark.parametrize("shape", [(2100, 520), (520, 2100)])
def test_a_large_table_is_decomposed_to_within_the_tolerance(shape):
    table = draw(0, *shape).float() * 0.97 ** torch.arange(shape[1]) + 3
    before = torch.get_rng_state()
    axes, explained, points = principal_components(table, 3)
    assert torch.equal(before, torch.get_rng_state())
    centred = table.double() - table.double().mean(0)
    _, values, exact = torch.linalg.svd(centred, full_matrices=False)
    assert torch.allclose(axes.T @ axes, torch.eye(3, dtype=torch.float64), atol=1e-12)
    assert ((exact[:3] @ axes).abs().diagonal() - 1).abs().max() < 1e-6
    assert explained == pytest.approx((values.square() / values.square().sum())[:3].tolist(), rel=1e-4)
    assert torch.allclose(points, centred @ axes)


@pytest.mark.parametrize(
    ("table", "explained"),
    [
        (torch.full((5, 3), 2.5), [0, 0, 0]),
        (torch.tensor([[0.0, 0.0, 0.0], [0.0, 3.0, 4.0]]), [1, 0, 0]),  # fewer rows than axes
        *[(draw(seed, 10, 1) @ draw(seed + 50, 1, 4), [1, 0, 0]) for seed in range(3)],
    ],
)
def test_a_table_of_few_dimensions_explains_nothing_on_the_other_axes(table, explained):
    found = principal_components(table, 3)
    assert found.explained == pytest.approx(explained)
    assert found.points.norm() == pytest.approx(float((table - table.mean(0)).norm()))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (torch.zeros(1, 4), "2 principal components need at least 2 rows and 2 columns, not 1 and 4"),
        (torch.zeros(4, 1), "need at least 2 rows and 2 columns, not 4 and 1"),
        (torch.tensor([[1.0, math.inf], [0.0, 1.0]]), "NaN or infinite values"),
    ],
)
def test_a_table_without_components_is_refused(table, message):
    with pytest.raises(ValueError, match=message):
        principal_components(table)
