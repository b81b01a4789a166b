import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from charlm.callbacks.embedding_pca.components import principal_components


def draw(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def basis(seed, rows, columns):
    """Orthonormal columns."""
    return torch.linalg.qr(draw(seed, rows, columns)).Q


def with_variances(variances, seed=0, rows=40):
    """A table whose components have these variances, and their directions (C, C) in that order."""
    centred = draw(seed, rows, len(variances))
    points = torch.linalg.qr(centred - centred.mean(0)).Q
    directions = basis(seed + 1, len(variances), len(variances))
    return points * torch.tensor(variances, dtype=torch.float64).sqrt() @ directions.T, directions


def angles(axes, others):
    """Degrees between each axis and the same one of another frame."""
    return torch.rad2deg(torch.acos((axes * others).sum(0).clamp(-1, 1)))


tables = st.builds(lambda *args: draw(*args).float(), st.integers(0, 10**6), st.integers(2, 12), st.integers(3, 12))


def test_components_by_hand():
    """Two points 2 * sqrt(2) from (10, -4) on a line of slope 1, two at half that distance across: squares 16 and 4."""
    table = torch.tensor([[12.0, -2.0], [8.0, -6.0], [11.0, -5.0], [9.0, -3.0]])
    axes, explained, points, _ = principal_components(table)
    assert (axes.abs() - math.sqrt(0.5)).abs().max() < 1e-12
    assert explained == pytest.approx([0.8, 0.2])
    assert (points.abs() - math.sqrt(2) * torch.tensor([[2, 0], [2, 0], [0, 1], [0, 1]])).abs().max() < 1e-6
    assert torch.allclose(points @ axes.T, table.double() - table.double().mean(0))


@given(tables, st.integers(2, 3), st.none() | st.integers(0, 10**6))
@settings(deadline=None)
def test_axes_are_orthonormal_and_explain_what_lies_along_them(table, k, earlier):
    """With or without an earlier frame; without one, that is what the singular values say."""
    previous = None if earlier is None else basis(earlier, table.shape[1], k)
    axes, explained, points, _ = principal_components(table, k, previous)
    centred = table.double() - table.double().mean(0)
    assert torch.allclose(axes.T @ axes, torch.eye(k, dtype=torch.float64), atol=1e-9)
    assert torch.allclose(points, centred @ axes, atol=1e-9)
    assert explained == pytest.approx((points.square().sum(0) / centred.square().sum()).tolist(), abs=1e-9)
    if previous is None:
        spectrum = torch.linalg.svdvals(centred).square()
        assert explained == pytest.approx([*(spectrum / spectrum.sum()).tolist(), 0.0][:k], abs=1e-9)


@given(
    st.lists(st.floats(1.25, 4), min_size=3, max_size=6),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.integers(2, 3),
)
@settings(deadline=None)
def test_where_variances_are_apart_the_axes_are_the_components_but_for_sign_and_order(ratios, seed, earlier, k):
    variances = [math.prod(ratios[i:]) for i in range(len(ratios) + 1)]
    table, directions = with_variances(variances, seed)
    axes, _, _, names = principal_components(table, k, basis(earlier, len(variances), k))
    agreement = (directions[:, :k].T @ axes).abs()
    order = agreement.argmax(0)
    assert sorted(order.tolist()) == list(range(k))
    assert torch.allclose(agreement.amax(0), torch.ones(k, dtype=torch.float64), atol=1e-9)
    assert names == [f"PC{rank + 1}" for rank in order.tolist()]
    assert ((axes * basis(earlier, len(variances), k)).sum(0) >= -1e-9).all()


@given(st.lists(st.floats(0.5, 1), min_size=3, max_size=6), st.integers(0, 10**6), st.floats(1e-7, 1e-4))
@settings(deadline=None)
def test_a_small_change_of_the_table_moves_the_points_a_little(variances, seed, change):
    """Also where variances are equal, and raw components would turn anywhere in their plane."""
    table, _ = with_variances([*variances, 0.6, 0.6, 1.0, 1.0], seed)
    first = principal_components(table)
    noise = draw(seed + 7, *table.shape)
    second = principal_components(table + change * noise / noise.norm(), previous=first.axes)
    assert (first.points - second.points).norm() < 200 * change * first.points.norm()


def crossing(before, after, frames, noise=0.0):
    """Frames of a table whose variances go from one list to another: the components of each, and the largest angle."""
    points, directions = torch.linalg.qr(draw(0, 40, len(before)) - draw(0, 40, len(before)).mean(0)).Q, basis(1, 6, 6)
    shown, largest = [], 0.0
    for frame in range(frames):
        share = frame / (frames - 1)
        variances = torch.tensor(before) * (1 - share) + torch.tensor(after) * share
        table = points * variances.double().sqrt() @ directions.T + noise * draw(frame, 40, 6)
        shown.append(principal_components(table, previous=shown[-1].axes if shown else None))
        if frame:
            largest = max(largest, float(angles(shown[-1].axes, shown[-2].axes).max()))
    return shown, largest


REST = [0.1, 0.02, 0.02, 0.02]


@pytest.mark.parametrize("noise", [0, 1e-3])
def test_two_axes_whose_variances_cross_stay_where_they_are_and_say_so(noise):
    shown, largest = crossing([1, 0.6, *REST], [0.6, 1, *REST], 60, noise)
    assert largest < 3
    assert (shown[0].names, shown[-1].names) == (["PC1", "PC2"], ["PC2", "PC1"])
    assert shown[0].explained == pytest.approx(shown[-1].explained[::-1], rel=0.05)
    assert angles(shown[0].axes, shown[-1].axes).max() < 10


@pytest.mark.parametrize(("frames", "most"), [(60, 20), (400, 7)])
def test_an_axis_that_is_overtaken_by_one_not_drawn_turns_to_it_slowly(frames, most):
    shown, largest = crossing([2, 1, 0.6, *REST[1:]], [2, 0.6, 1, *REST[1:]], frames)
    assert largest < most
    assert (shown[0].names, shown[-1].names) == (["PC1", "PC2"], ["PC1", "PC2"])
    assert angles(shown[0].axes, shown[-1].axes).tolist() == pytest.approx([0, 90], abs=0.01)
    names = [frame.names for frame in shown]
    assert names.index(["PC1", "PC3"]) < names.index(["PC1", "PC2/3"])  # still the old one, then on its way


def test_an_axis_between_many_components_of_one_variance_says_so():
    table, directions = with_variances([1.02, 1.01, 1.0, 0.99, 0.98])
    between = directions @ torch.tensor([[1.0, 1, 1, 1, 1], [1, -1, 0, 0, 0]], dtype=torch.float64).T
    shown = principal_components(table, previous=between / between.norm(dim=0))
    assert shown.names[0] == "PC1 to 5 mixed"
    assert shown.explained == pytest.approx([0.2, 0.2], abs=0.01)


def test_a_table_that_has_nothing_to_do_with_the_one_before_has_its_first_component_on_the_first_axis():
    table, _ = with_variances([8.0, 4, 2, 1, 0.5, 0.25, 0.12, 0.06, 0.03, 0.01])
    assert principal_components(table, previous=torch.eye(10, 2)).names == ["PC1", "PC2"]


def test_axes_of_another_shape_are_ignored():
    table = torch.eye(4)[:, :3] * torch.tensor([3.0, 2.0, 1.0])
    alone = principal_components(table)
    assert torch.equal(principal_components(table, previous=torch.ones(5, 2)).axes, alone.axes)
    assert torch.allclose(principal_components(table, previous=-alone.axes.float()).axes, -alone.axes)
    assert (alone.axes.gather(0, alone.axes.abs().argmax(0, keepdim=True)) > 0).all()


@pytest.mark.parametrize("shape", [(2100, 520), (520, 2100)])
def test_a_large_table_is_decomposed_to_within_the_tolerance(shape):
    """In float32, and the axes are orthonormal in float64 all the same."""
    table = draw(0, *shape).float() * 0.97 ** torch.arange(shape[1]) + 3
    axes, explained, points, _ = principal_components(table, 3)
    centred = table.double() - table.double().mean(0)
    _, values, exact = torch.linalg.svd(centred, full_matrices=False)
    assert torch.allclose(axes.T @ axes, torch.eye(3, dtype=torch.float64), atol=1e-12)
    assert ((exact[:3] @ axes).abs().diagonal() - 1).abs().max() < 1e-6
    assert explained == pytest.approx((values.square() / values.square().sum())[:3].tolist(), rel=1e-4)
    assert (points - centred @ axes).norm() < 1e-4 * points.norm()


def test_a_large_table_without_structure_keeps_nearly_the_most_variance_and_moves_little():
    table = draw(0, 600, 2000).float()
    most = torch.linalg.svdvals(table.double() - table.double().mean(0)).square()
    first = principal_components(table)
    assert sum(first.explained) > 0.96 * float(most[:2].sum() / most.sum())
    second = principal_components(table + 1e-3 * draw(1, 600, 2000).float(), previous=first.axes)
    assert (first.points - second.points).norm() < 0.1 * first.points.norm()


@pytest.mark.parametrize(
    ("table", "explained"),
    [
        (torch.full((5, 3), 2.5), [0, 0, 0]),
        (torch.tensor([[0.0, 0.0, 0.0], [0.0, 3.0, 4.0]]), [1, 0, 0]),  # fewer rows than axes
        *[(draw(seed, 10, 1) @ draw(seed + 50, 1, 4), [1, 0, 0]) for seed in range(9)],  # eigenvalues rounded below 0
    ],
)
def test_a_table_of_few_dimensions_explains_nothing_on_the_other_axes(table, explained):
    found = principal_components(table, 3)
    assert found.explained == pytest.approx(explained)
    assert min(found.explained) >= 0
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


def test_the_global_random_state_is_left_alone():
    before = torch.get_rng_state()
    for table in (torch.eye(3), torch.eye(900)[:, :800]):  # the large one by a generator of its own
        assert torch.equal(principal_components(table).points, principal_components(table).points)
    assert torch.equal(before, torch.get_rng_state())
