"""scripts/grid.py trains real models, with fewer nets and epochs."""

import pytest

from charlm.data.corpus import read_corpus

pytestmark = pytest.mark.slow


def test_best_stands_beside_the_lowest_of_the_others(script, capsys, monkeypatch, tmp_path):
    grid, file = script("grid"), tmp_path / "names.txt"
    monkeypatch.setattr(grid, "EPOCHS", 1)
    monkeypatch.setattr(grid, "GRID", dict(list(grid.GRID.items())[::6]))
    file.write_text("\n".join(sorted(set(read_corpus().names()))[::120] * 2))
    grid.main((str(file),), (30,))
    header, _, *rows = ([cell.strip() for cell in row.split("|")[1:3]] for row in capsys.readouterr().out.splitlines())
    losses = {model: float(loss) for model, loss in rows}
    assert header == ["model", "names-30"]
    assert losses["lowest but best"] == min(list(losses.values())[:3])  # ngram, gru and mlp
    assert losses["best above it"] == pytest.approx(losses["best"] - losses["lowest but best"], abs=2e-4)
    short, longer = (read_corpus(str(part)).names() for part in grid.parts_of(str(file), (5, 40), tmp_path))
    assert (short, len(set(longer))) == (longer[:5], 40)
    with pytest.raises(SystemExit, match="2"):
        grid.parts_of(str(file), (45,), tmp_path)
    with pytest.raises(SystemExit, match="2"):
        grid.main((str(file), "other/names.csv"))
    said = capsys.readouterr().err
    assert "44 distinct names, fewer than 45" in said
    assert "two files called names" in said
