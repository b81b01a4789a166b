"""Labels and marks never hide each other: in numbers here, and in pictures in ../embedding_pca/test_scatter.py."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charlm.callbacks.shared.labels import place_labels

PAGE = np.array([[0.0, 0.0], [300.0, 300.0]])


@given(st.integers(0, 10**6), st.integers(1, 80), st.sampled_from([(16, None, 0), (9, 4, 5)]))
@settings(max_examples=40)
def test_no_label_hides_another_or_leaves_the_page(seed, count, style):
    height, gap, marks = style
    random = np.random.default_rng(seed)
    points = np.clip(random.normal(150, 50, (count, 2)), 10, 290)
    sizes = np.stack([random.uniform(height, 3 * height, count), np.full(count, height)], 1)
    offsets = place_labels(points, sizes, PAGE, gap, marks)
    placed = ~np.isnan(offsets[:, 0])
    centres, half = (points + offsets)[placed], sizes[placed] / 2
    assert placed.sum() >= min(count, 8)
    assert (centres - half >= 0).all()
    assert (centres + half <= 300).all()
    clashes = (np.abs(centres[:, None] - centres) < half[:, None] + half - 1e-6).all(-1)
    assert clashes.sum() == len(centres), "each with itself"
    if marks:
        hidden = (np.abs(centres[:, None] - points) < half[:, None] + marks / 2 - 1e-6).all(-1)
        assert not hidden.any()


@pytest.mark.parametrize(
    ("points", "gap", "offsets"),
    [
        ([(50, 50), (150, 150)], None, [(0, 0), (0, 0)]),
        ([(50, 50), (52, 50)], None, [(0, 0), (16, 0)]),  # the second one gives way
        ([(50, 50), (52, 50), (68, 50)], None, [(0, 0), (0, 16), (0, 0)]),  # and those that need not stay
        ([(50, 50)], 3, [(11, 0)]),  # beside its point
        ([(295, 50)], 3, [(-5.5, 9.526279)]),  # above it, at the edge of the page
    ],
)
def test_a_label_goes_to_the_nearest_free_place(points, gap, offsets):
    found = place_labels(np.array(points, float), np.full((len(points), 2), 16.0), PAGE, gap)
    assert np.abs(found - offsets).max() < 17
    assert np.allclose(found[0], offsets[0])
    assert [tuple(offset) == (0, 0) for offset in found] == [offset == (0, 0) for offset in offsets]
