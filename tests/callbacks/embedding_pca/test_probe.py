import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from charlm.callbacks.embedding_pca.probe import told_apart


def auc_by_hand(table, kinds, kind):
    """Leave one out: a ridge regression of its own for each row, and all pairs of a row of the kind and another."""
    table = (table - table.mean(0)).double()
    penalty = table.square().sum() / min(table.shape)
    scores = []
    for row in range(len(table)):
        others = [other for other in range(len(table)) if other != row]
        targets = torch.tensor([float(kinds[other] == kind) for other in others], dtype=torch.float64)
        squares = table[others].T @ table[others] + penalty * torch.eye(table.shape[1], dtype=torch.float64)
        scores.append(float(table[row] @ torch.linalg.solve(squares, table[others].T @ targets)))
    pairs = [(a, b) for a, k in zip(scores, kinds, strict=True) if k == kind
             for b, other in zip(scores, kinds, strict=True) if other != kind]  # fmt: skip
    return sum(a > b for a, b in pairs) / len(pairs)


@given(st.integers(0, 10**6), st.integers(1, 9))
@settings(max_examples=20)
def test_the_auc_is_that_of_a_regression_that_never_saw_the_row(seed, columns):
    table = torch.randn(11, columns, generator=torch.Generator().manual_seed(seed))
    kinds = ["v", "c", "c", "v", "c", "w", "c", "v", "c", "w", "c"]
    expected = sum(auc_by_hand(table, kinds, kind) for kind in "vcw") / 3
    found = told_apart(table, kinds)
    assert found.auc == pytest.approx(expected)
    assert found.what == "3 kinds"


def test_kinds_are_told_apart_where_they_show_and_not_where_they_do_not():
    kinds = ["vowel"] * 5 + ["consonant"] * 21 + ["boundary", ""]
    table = torch.randn(28, 10, generator=torch.Generator().manual_seed(1))
    noise = told_apart(table, kinds)
    table[:5] += 2
    found = told_apart(table, kinds)
    assert (found.auc > 0.99, noise.auc < noise.by_chance) == (True, True)
    assert 0.7 < noise.by_chance < 0.9, "five vowels are few"
    assert (
        found.note() == f"Linear probe, vowel or consonant: AUC {found.auc:.2f}, by chance up to {found.by_chance:.2f}"
    )
    assert math.isnan(told_apart(table, kinds, shuffles=0).by_chance)
    table[26:] = math.nan  # rows of no kind, or the only ones of theirs, are not looked at
    assert told_apart(table, kinds) == found


def test_a_large_table_is_sampled_without_the_global_generator():
    table, before = torch.randn(30_000, 20), torch.get_rng_state()
    found = told_apart(table, ["a", "b"] * 15_000)
    assert found == told_apart(table, ["a", "b"] * 15_000)
    assert torch.equal(before, torch.get_rng_state())
    assert abs(found.auc - 0.5) < 0.1


@pytest.mark.parametrize(
    ("table", "kinds"),
    [
        (torch.eye(4), ["a", "a", "a", "b"]),
        (torch.eye(4), ["", "", "", ""]),
        (torch.ones(4, 3), ["a", "a", "b", "b"]),
        (torch.full((4, 3), math.nan), ["a", "a", "b", "b"]),
    ],
)
def test_nothing_is_said_where_nothing_can_be_measured(table, kinds):
    assert told_apart(table, kinds) is None
