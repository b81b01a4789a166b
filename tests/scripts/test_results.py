"""scripts/results.py trains real configs, with fewer steps, and repeats nothing."""

import json

import pytest

from charlm.data.corpus import read_corpus
from charlm.data.splits import load_splits
from charlm.inference.scoring import score_names
from charlm.runs.load_checkpoint import load_checkpoint

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
    """The rows of a config with two seeds: their folder, the list of names, and a function to make them again."""
    folder = tmp_path_factory.mktemp("results")
    names = folder / "names.txt"
    names.write_text("".join(f"{name},a\n" for name in read_corpus().names()[::25]), encoding="utf-8")

    def make(**options):
        given = {"configs": ("bow",), "seeds": 2, "split_by": "line", "fit": ("--data.column=1", *FEWER)}
        results.main(str(names), str(folder / "out"), **{**given, **options})

    make()
    return folder / "out" / "line", names, make


def test_a_row_has_the_losses_of_the_best_checkpoint_and_names_that_it_draws(done):
    out, names, _ = done
    row = json.loads((out / "bow-seed1" / "row.json").read_text())
    loaded = load_checkpoint(out / "bow-seed1")
    splits = load_splits(str(names), split_by="line", block_size=65, column=1)
    train = set(splits.names("train"))
    for key, part, known in (("val", "val", set()), ("test_unseen", "test", train)):
        wanted = [name for name in splits.names(part) if name not in known]
        scores = score_names(loaded.net, loaded.tokenizer, wanted)
        characters = sum(len(score.nats) for score in scores)
        assert row[key] == pytest.approx(sum(score.total for score in scores) / characters, rel=1e-5)
    assert 0 < row["new"] <= 300
    assert len(row["examples"]) == 5
    assert not set(row["examples"]) & train


def test_seeds_share_the_split_and_the_table_has_their_means_and_spreads(done):
    out, _, _ = done
    first, second = (json.loads((out / f"bow-seed{seed}" / "row.json").read_text()) for seed in (0, 1))
    assert first["val"] != second["val"]
    assert first["settings"] == second["settings"]
    header, _, bow = (out / "results.md").read_text(encoding="utf-8").splitlines()
    assert [cell.strip() for cell in header.strip("|").split("|")][:4] == ["config", "parameters", "val", "test"]
    mean, deviation = (first["val"] + second["val"]) / 2, abs(first["val"] - second["val"]) / 2**0.5
    assert f"{mean:.4f} ± {deviation:.4f}" in bow


def test_a_finished_run_is_repeated_only_for_another_list(done, results, monkeypatch):
    _, names, make = done
    trained = []
    monkeypatch.setattr(results, "train", lambda run, *_: trained.append(run.name) or 1 / 0)
    make()
    assert trained == []
    names.write_text(names.read_text(encoding="utf-8") + "zoe,a\n", encoding="utf-8")
    with pytest.raises(ZeroDivisionError):
        make(seeds=1)
    assert trained == ["bow-seed0"]


def test_lists_stand_side_by_side_and_two_of_the_same_name_are_refused(done, results, capsys):
    """Their runs and their columns would be one."""
    out, names, make = done
    (copy := names.with_name("copy.csv")).write_bytes(names.read_bytes())
    make(lists=(str(names), str(copy)), configs=("ngram",), seeds=1, fit=("--data.column=1",))
    loss = json.loads((out.parent / "copy" / "line" / "ngram-seed0" / "row.json").read_text())["val"]
    header, _, ngram = capsys.readouterr().out.splitlines()[-3:]
    assert [cell.strip() for cell in header.split("|")][1:-1] == ["config", "names (221)", "copy (221)"]
    assert [cell.strip() for cell in ngram.split("|")][1:-1] == ["ngram", *[f"{loss:.4f}"] * 2]
    with pytest.raises(SystemExit, match="2"):
        make(lists=("a/names.txt", "b/names.csv"))
    assert "--lists has two files called names, which names a folder and a column; rename" in capsys.readouterr().err
