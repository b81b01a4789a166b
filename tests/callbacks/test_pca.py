import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from charlm.callbacks.pca import align, principal_components

tables = st.builds(
    lambda seed, rows, columns: torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)),
    st.integers(0, 10**6),
    st.integers(2, 12),
    st.integers(2, 12),
)


def test_components_by_hand():
    """Two points 2 * sqrt(2) from (10, -4) on a line of slope 1, two at half that distance across: squares 16 and 4."""
    table = torch.tensor([[12.0, -2.0], [8.0, -6.0], [11.0, -5.0], [9.0, -3.0]])
    axes, explained, points = principal_components(table)
    assert (axes.abs() - math.sqrt(0.5)).abs().max() < 1e-12
    assert explained == pytest.approx([0.8, 0.2])
    assert (points.abs() - math.sqrt(2) * torch.tensor([[2, 0], [2, 0], [0, 1], [0, 1]])).abs().max() < 1e-6
    assert torch.allclose(points @ axes.T, table.double() - table.double().mean(0))


@given(tables, st.integers(2, 3))
@settings(deadline=None)
def test_axes_are_orthonormal_and_explain_what_a_reference_says(table, k):
    if table.shape[1] < k:
        return
    axes, explained, points = principal_components(table, k)
    assert torch.allclose(axes.T @ axes, torch.eye(k, dtype=torch.float64), atol=1e-9)
    spectrum = torch.linalg.svdvals(table.double() - table.double().mean(0)).square()
    share = (spectrum / spectrum.sum()).tolist()
    assert explained == pytest.approx([*share, 0.0][:k], abs=1e-9)
    assert points.square().sum(0).tolist() == pytest.approx([s * float(spectrum.sum()) for s in explained], abs=1e-7)


@given(tables, st.integers(0, 10**6))
@settings(deadline=None)
def test_pictures_do_not_flip_when_a_table_moves_a_little(table, seed):
    first = principal_components(table)
    noise = torch.randn(table.shape, generator=torch.Generator().manual_seed(seed))
    second = principal_components(table + 1e-6 * noise, previous=first.axes)
    agreement = (first.axes * second.axes).sum(0)
    assert (agreement >= 0).all()
    shares = torch.linalg.svdvals(table.double() - table.double().mean(0)).square()
    if len(shares) > 2 and shares[0] > 1.1 * shares[1] and shares[1] > 1.1 * shares[2] + 0.01:
        assert torch.allclose(first.points, second.points, atol=1e-3)


@given(tables, st.lists(st.sampled_from([-1.0, 1.0]), min_size=2, max_size=2))
@settings(deadline=None)
def test_align_undoes_any_flip_and_keeps_directions(table, signs):
    axes = principal_components(table).axes
    flipped = axes * torch.tensor(signs, dtype=torch.float64)
    assert torch.equal(align(flipped, axes), axes)
    assert torch.equal(align(flipped, None), align(axes, None))
    assert torch.equal(align(axes, None).abs(), axes.abs())


def test_a_previous_basis_of_another_shape_or_type_does_no_harm():
    axes = principal_components(torch.eye(4)[:, :3] * torch.tensor([3.0, 2.0, 1.0])).axes
    assert torch.equal(align(axes, torch.ones(5, 2)), align(axes, None))
    assert torch.equal(align(-axes, axes.to(torch.bfloat16)), axes)


@pytest.mark.parametrize("shape", [(50, 3), (3, 50)])
def test_tall_and_wide_tables_agree_with_the_singular_values(shape):
    table = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(table.double() - table.double().mean(0))
    points = principal_components(table).points
    assert points.norm(dim=0).tolist() == pytest.approx(values[:2].tolist())


def test_a_table_without_variance_explains_nothing():
    _, explained, points = principal_components(torch.full((5, 3), 2.5))
    assert explained == [0, 0]
    assert points.abs().max() == 0


def test_the_variance_along_an_axis_is_never_below_zero():
    """Ten rows on one line, where rounding gives eigenvalues on either side of zero."""
    for seed in range(20):
        draw = torch.Generator().manual_seed(seed)
        explained = principal_components(
            torch.randn(10, 1, generator=draw) @ torch.randn(1, 4, generator=draw), 3
        ).explained
        assert explained == pytest.approx([1, 0, 0])
        assert min(explained) >= 0


def test_two_rows_have_one_component():
    _, explained, points = principal_components(torch.tensor([[0.0, 0.0, 0.0], [0.0, 3.0, 4.0]]), 3)
    assert explained == pytest.approx([1, 0, 0])
    assert points[:, 0].abs().tolist() == pytest.approx([2.5, 2.5])


def test_half_precision_is_computed_in_double():
    table = torch.randn(20, 4, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    assert torch.equal(principal_components(table).points, principal_components(table.double()).points)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (torch.zeros(1, 4), "2 principal components need at least 2 rows and 2 columns, not 1 and 4"),
        (torch.zeros(4, 1), "need at least 2 rows and 2 columns, not 4 and 1"),
        (torch.tensor([[1.0, math.nan], [0.0, 1.0]]), "NaN or infinite values"),
        (torch.tensor([[1.0, math.inf], [0.0, 1.0]]), "NaN or infinite values"),
    ],
)
def test_what_has_no_components_is_refused(table, message):
    with pytest.raises(ValueError, match=message):
        principal_components(table)


def test_the_global_random_state_is_left_alone():
    before = torch.get_rng_state()
    principal_components(torch.eye(3))
    assert torch.equal(before, torch.get_rng_state())
