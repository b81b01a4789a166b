"""scripts/bench/embedding_pca.py measures what it says. The times depend on the machine and are not tested."""

import pytest


@pytest.fixture
def bench(script):
    return script("embedding_pca")


def test_a_frame_of_all_rows_holds_all_of_the_variance_and_one_of_a_sample_nearly_all(bench):
    small, large = bench.make_table(500, 20, 0.5), bench.make_table(30_000, 200, 0.5)
    for table, least in ((small, 1 - 1e-9), (large, 0.98)):
        rows = bench.choose_rows([], None, None, len(table), "table", max_rows=2000).drawn
        shown = bench.frame(table, rows, None)
        assert shown.points.shape == (min(len(table), 2000), 2)
        assert least < bench.share_held(table, shown.axes) < 1 + 1e-9
