"""scripts/results.py trains real configs, in fewer steps, and does nothing twice."""

import json
from pathlib import Path

import pytest

from charlm.data.corpus import read_corpus
from charlm.data.splits import load_splits
from charlm.inference.scoring import score_names
from charlm.runs.checkpoint import load_checkpoint

pytestmark = pytest.mark.slow
FEWER = ("--trainer.max_epochs=1", "--trainer.check_val_every_n_epoch=1", "--trainer.limit_train_batches=5")


@pytest.fixture(scope="module")
def results(script):
    results = script("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "_DRAWN", 300)
        yield results


@pytest.fixture(scope="module")
def done(results, tmp_path_factory):
    """The rows of two configs with two seeds; gives the folder, the names and what makes them again."""
    folder = tmp_path_factory.mktemp("results")
    names = folder / "names.txt"
    names.write_text("\n".join(read_corpus().names()[::20]) + "\n", encoding="utf-8")

    def make(**options):
        given = {"configs": ("bow", "bigram"), "seeds": 2, "split_by": "line", "fit": FEWER}
        results.main(str(names), str(folder / "out"), **{**given, **options})

    make()
    return folder / "out" / "line", names, make


def test_a_row_has_the_losses_of_the_kept_checkpoint(done):
    out, names, _ = done
    row = json.loads((out / "bow-seed1" / "row.json").read_text())
    loaded = load_checkpoint(out / "bow-seed1")
    splits = load_splits(str(names), split_by="line", block_size=65)
    for part, loss in (("val", row["val"]), ("test_unseen", row["test_unseen"])):
        known = set(splits.names("train")) if "unseen" in part else set()
        scores = score_names(
            loaded.net, loaded.tokenizer, [n for n in splits.names(part[:4].strip("_")) if n not in known]
        )
        characters = sum(len(score.nats) for score in scores)
        assert loss == pytest.approx(sum(score.total for score in scores) / characters, rel=1e-5)
    assert row["model"] == "BoW"
    assert 0 < row["new"] <= 300
    assert len(row["examples"]) == 5
    assert not set(row["examples"]) & set(splits.names("train"))


def test_seeds_give_other_trainings_of_the_same_split(done):
    out, _, _ = done
    first, second = (json.loads((out / f"bow-seed{seed}" / "row.json").read_text()) for seed in (0, 1))
    assert first["val"] != second["val"]
    assert first["settings"] == second["settings"]


def test_the_table_has_means_and_spreads(done):
    out, _, _ = done
    header, _, bow, bigram = (out / "results.md").read_text(encoding="utf-8").splitlines()
    assert [cell.strip() for cell in header.strip("|").split("|")][:4] == ["config", "parameters", "val", "test"]
    assert bow.startswith("| bow |")
    assert bigram.startswith("| bigram |")
    rows = [json.loads((out / f"bow-seed{seed}" / "row.json").read_text())["val"] for seed in (0, 1)]
    assert f"{sum(rows) / 2:.4f} ± {abs(rows[0] - rows[1]) / 2**0.5:.4f}" in bow


def test_what_is_done_is_not_done_again(done, results, monkeypatch):
    _, names, make = done
    trained = []
    monkeypatch.setattr(results, "train", lambda run, *_: trained.append(run.name) or 1 / 0)
    make()
    assert trained == []
    make(configs=("bigram",), seeds=1)
    assert trained == []
    names.write_text(names.read_text(encoding="utf-8") + "zoe\n", encoding="utf-8")
    with pytest.raises(ZeroDivisionError):
        make(configs=("bigram",), seeds=1)
    assert trained == ["bigram-seed0"]


def test_an_unknown_config_is_named_before_anything_is_trained(results, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        results.main(None, str(tmp_path), configs=("bow", "gpt"))
    assert stop.value.code == 2
    assert "there is no config 'gpt': bigram, bow" in capsys.readouterr().err
    assert list(Path(tmp_path).iterdir()) == []
