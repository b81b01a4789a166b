"""scripts/bench/embedding_pca.py measures what it says. The times depend on the machine and are not tested."""

import re
import sys
import types

import numpy as np
import pytest


class PCA:
    """The part of scikit-learn's PCA that the script uses, where scikit-learn is not installed."""

    def __init__(self, n_components):
        self.n_components = n_components

    def fit(self, table):
        return self

    def fit_transform(self, table):
        centred = table - table.mean(0)
        return centred @ np.linalg.svd(centred, full_matrices=False)[2][: self.n_components].T


@pytest.fixture
def bench(script, monkeypatch):
    try:
        import sklearn.decomposition  # noqa: F401
    except ImportError:
        module = types.ModuleType("sklearn.decomposition")
        module.PCA = PCA
        package = types.ModuleType("sklearn")
        package.__spec__ = types.SimpleNamespace()
        monkeypatch.setitem(sys.modules, "sklearn", package)
        monkeypatch.setitem(sys.modules, "sklearn.decomposition", module)
    return script("embedding_pca")


@pytest.mark.slow
def test_it_prints_the_ratio_of_a_table_with_structure_and_of_one_without(bench, capsys):
    bench.main(["--rows", "3000", "--columns", "12", "--pairs", "2"])
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith("3000 x 12, ")
    assert [line.split(":")[0] for line in lines] == ["spectrum falls", "no structure"]
    for line in lines:
        assert re.search(
            r"frame \d\.\d{3} s, scikit-learn \d\.\d{3} s, ratio \d+\.\d\d \(goal <= 0.33, (met|missed)\)", line
        )


def test_without_scikit_learn_it_says_how_to_get_it(script, monkeypatch, capsys):
    bench = script("embedding_pca")
    monkeypatch.setattr(bench, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        bench.main([])
    assert "pip install scikit-learn" in capsys.readouterr().err


def test_a_frame_of_all_rows_holds_all_of_the_variance_and_one_of_a_sample_nearly_all(bench):
    small, large = bench.make_table(500, 20, 0.5), bench.make_table(30_000, 200, 0.5)
    for table, least in ((small, 1 - 1e-9), (large, 0.98)):
        rows = bench.choose_rows([""] * len(table), None, table.shape[1], max_rows=400)
        shown = bench.frame(table, rows, None)
        assert (len(rows.sample) == len(table)) == (table is small)
        assert shown.points.shape == (400, 2)
        assert least < bench.share_held(table, shown.axes) < 1 + 1e-9
