"""Several files as one list of names."""

import pytest

from charlm.data.datamodule import NamesDataModule
from charlm.data.splits import load_splits


def test_several_files_are_one_list(tmp_path, monkeypatch):
    """As a pattern or as a list, in which a file counts once; their weights and labels go along."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "b.csv").write_text("name,sex,n\n ida,F,2\nbo,M,3\n")
    (tmp_path / "lists" / "a.csv").write_text("sex,name,n\nX,zoe,5\nF,\nM,al,7\n")
    given = {"column": "name", "label": "sex", "weight": "n", "split": (1.0, 0.0, 0.0)}
    for path in ("lists/*.csv", ["lists/a.csv", "lists/*.csv"]):
        corpus = NamesDataModule(path, **given, bad_lines="skip").splits.corpus
        monkeypatch.chdir(tmp_path.parent)
        assert corpus.names() == ["zoe", "al", "ida", "bo"]
        assert corpus.weights.tolist() == [5, 7, 2, 3]
        assert [corpus.labels[number] for number in corpus.label_of] == ["X", "M", "F", "M"]
        assert corpus.note.startswith("2 names from a.csv, 2 names from b.csv, a.csv: the names are column 2, 'name'")
        assert corpus.source.endswith("a.csv and 1 more")
        monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no file matches n\*\.txt; give an existing file or another pattern"):
        load_splits("n*.txt")
    with pytest.raises(ValueError, match=r"`path` is an empty list; give a file of names"):
        NamesDataModule([])
