"""Models of names from a table that gives their weights or labels."""

import inspect
import itertools
import math

import lightning.pytorch as pl
import pytest
import torch

from charlm.data.datamodule import NamesDataModule
from charlm.data.sequences import Sequences
from charlm.inference import candidates
from charlm.inference.character_sampler import CharacterSampler
from charlm.inference.conditions import Conditions
from charlm.inference.labelled import losses_by_label, net_given_label, sample_with_labels
from charlm.inference.sampling import draw_names, sample_names
from charlm.inference.scoring import score_names
from charlm.models.names import LitGRU
from charlm.models.ngram import LitNGram
from charlm.models.registry import MODELS, LitCharLM
from charlm.models.windows import LitBigram, LitMLP
from charlm.nets.loss import evaluate
from charlm.nets.ngram import NGram
from charlm.runs.load_checkpoint import load_checkpoint
from charlm.tokenizer import CharTokenizer

NAMES = ["abc", "bca", "cab", "aa", "bb", "cc", "abab", "bcbc", "caca", "ab", "ba", "ac", "ca", "abba", "cbbc", "a"]
WEIGHTS = [1 + number % 4 for number in range(len(NAMES))]
LABELS = ["F", "M", "X"]  # no name is X
SETTINGS = {"alphabet": "abc", "block_size": 8, "batch_size": 3, "split": (0.5, 0.3, 0.2), "eval_batch_size": 2}


@pytest.fixture
def table(tmp_path):
    """Names with weights, as a table; and the list in which they stand so many times."""
    rows, copies = tmp_path / "names.csv", tmp_path / "copies.txt"
    rows.write_text("".join(f"{name},{weight}\n" for name, weight in zip(NAMES, WEIGHTS, strict=True)))
    copies.write_text("".join(f"{name}\n" * weight for name, weight in zip(NAMES, WEIGHTS, strict=True)))
    return NamesDataModule(str(rows), column=1, weight=2, **SETTINGS), NamesDataModule(str(copies), **SETTINGS)


@pytest.fixture
def labelled(tmp_path):
    """Names with labels and weights: those that begin with "a" are F, of which train has 18/37 by weight."""
    rows = tmp_path / "labelled.csv"
    cells = zip(NAMES, WEIGHTS, strict=True)
    rows.write_text("".join(f"{'F' if name[0] == 'a' else 'M'},{name},{weight}\n" for name, weight in cells))
    return NamesDataModule(str(rows), column=2, label=1, weight=3, labels=LABELS, **SETTINGS)


@pytest.mark.parametrize("kind", [LitMLP, LitGRU])
def test_a_name_counts_as_if_it_stood_as_often_in_the_list_as_its_weight_says(kind, make, table, trainer):
    model, (weighted, copies) = make(kind), table
    assert set(weighted.splits.names("test")) == set(copies.splits.names("test"))
    runners = [trainer(limit_val_batches=1.0) for _ in table]
    for run in ("validate", "test"):
        (found,), (expected,) = (
            getattr(runner, run)(model, data, verbose=False) for runner, data in zip(runners, table, strict=True)
        )
        assert found == pytest.approx(expected, rel=1e-5)
    for part, loader in weighted.whole_splits().items():
        found, expected = evaluate(model.net, loader), evaluate(model.net, copies.whole_splits()[part])
        assert (found.loss, found.count) == (pytest.approx(expected.loss, rel=1e-6), expected.count)


def test_counted_names_have_their_weights_in_the_checkpoint(make, table, trainer, tmp_path):
    keep = pl.callbacks.ModelCheckpoint(tmp_path / "kept", "counted")
    model = make(LitNGram)
    trainer(max_epochs=1, callbacks=[keep], enable_checkpointing=True).fit(model, table[0])
    train = table[0].splits.train
    direct = type(model.net).from_contexts(train.with_block_size(3), 4)
    loaded = load_checkpoint(tmp_path / "kept" / "counted.ckpt")
    context = table[0].splits.val.tensors()[0][:, -3:]
    for net in (loaded.net, direct, LitNGram.load_from_checkpoint(loaded.path).net):
        torch.testing.assert_close(net(context), model.net(context), rtol=1e-12, atol=0)
    assert model.net.weights.sum() == train.example_weights.sum()


@pytest.mark.parametrize("kind", MODELS.values(), ids=lambda kind: kind.__name__)
def test_a_model_learns_names_given_their_label(kind, make, labelled, trainer, tmp_path):
    """It never predicts a label, tells the labels apart, and its test has the loss of each; the checkpoint knows them.

    The label is an input and no output: sixteen names of a's and of others are told apart from their first letter on.
    """
    learned = {} if kind is LitNGram else {"lr": 0.5 if kind is LitBigram else 0.05, "optimizer": "AdamW"}
    learned |= {"block_size": 8} if "block_size" in inspect.signature(kind).parameters else {}
    model = make(kind, labels=LABELS, **learned)
    keep = pl.callbacks.ModelCheckpoint(tmp_path / "kept", "it")
    runner = trainer(max_steps=60, callbacks=[keep], enable_checkpointing=True)
    runner.fit(model, labelled)
    (losses,) = runner.test(model, labelled, verbose=False)
    tokenizer, test = labelled.tokenizer, labelled.splits.test
    weights = [test.example_weights[test.attributes.labels == 4 + number].sum() for number in range(2)]
    parts = [losses[f"loss/test/{label}"] * weight for label, weight in zip("FM", weights, strict=True)]
    assert sum(parts) / sum(weights) == pytest.approx(losses["loss/test"], rel=1e-5)
    by_label = losses_by_label(model.net, tokenizer, labelled.test_dataloader())
    assert by_label == {label: pytest.approx(losses[f"loss/test/{label}"], rel=1e-5) for label in "FM"}
    assert "loss/test/X" not in losses
    loaded = load_checkpoint(tmp_path / "kept" / "it.ckpt")
    again = LitCharLM.load_from_checkpoint(loaded.path)
    assert loaded.tokenizer.labels == again.tokenizer.labels == tuple(LABELS)
    assert again.embedding_labels == [".", "a", "b", "c", "<F>", "<M>", "<X>"], "labels are no letters"
    assert loaded.label_shares == labelled.label_shares
    inputs = test.tensors()[0] if model.takes == "windows" else Sequences.of_contexts(test).tensors()[0]
    for net in (loaded.net, again.net.eval()):
        torch.testing.assert_close(net(inputs), model.net.eval()(inputs))
        assert net(inputs).shape[-1] == 4
    first = {}
    for label in "FM":
        given = net_given_label(loaded.net, tokenizer, label)
        p = given(torch.zeros(1, 1 if model.takes == "names" else given.block_size, dtype=torch.int64)).softmax(-1)
        assert p.sum().item() == pytest.approx(1, abs=1e-6)
        first[label] = p.flatten().tolist()
        (score,) = score_names(given, CharTokenizer("abc"), ["abca"])
        assert math.exp(-score.nats[0]) == pytest.approx(first[label][1], rel=1e-4)
        assert len(sample_names(given, CharTokenizer("abc"), 20)) == 20
    assert first["F"][1] > first["M"][1]
    for ask in (lambda: sample_names(loaded.net, tokenizer, 1), lambda: score_names(loaded.net, tokenizer, ["ab"])):
        with pytest.raises(ValueError, match="names have labels; give the net one of them"):
            ask()


def test_under_conditions_a_label_is_as_frequent_as_its_names_meet_them(monkeypatch):
    """By Bayes' theorem, with and without a look-ahead; the seed of a net's names is not that of the labels."""
    net, tokenizer = NGram(4, block_size=2, n_labels=2), CharTokenizer("abc", ("F", "M"))
    names = [["bc", "ca", "ab", "bca"], ["ca", "ac", "bb", "cab"]]
    for start, having in enumerate(names, 4):
        ids = [[start, start, start, *tokenizer.encode(name), 0] for name in having]
        windows = torch.tensor([[row[0], *row[i - 2 : i + 1]] for row in ids for i in range(3, len(row))])
        net.count(windows[:, :3], windows[:, 3])
    nets, shares, plain = [net_given_label(net, tokenizer, label) for label in "FM"], [0.8, 0.2], CharTokenizer("abc")
    possible = ["".join(letters) for n in range(1, 5) for letters in itertools.product("abc", repeat=n)]
    of_net = [{score.name: math.exp(-score.total) for score in score_names(net, plain, possible)} for net in nets]
    for settings in ({}, {"_PLAIN": 1024, "_ENOUGH": 2, "_FASTER": 0}):
        for setting, value in settings.items():
            monkeypatch.setattr(candidates, setting, value)
        for conditions in (Conditions(max_length=4, suffix="ca", contains="b"), Conditions(prefix="b", max_length=4)):
            drawn = list(
                itertools.chain.from_iterable(
                    draw_names(nets, plain, 4000, conditions, CharacterSampler(), shares=shares, seed=2)
                )
            )
            joint = {
                (name, k): shares[k] * p for k in (0, 1) for name, p in of_net[k].items() if conditions.are_met(name)
            }
            total = sum(joint.values())
            assert all(
                abs(drawn.count(one) / 4000 - p / total) < 4 * math.sqrt(p / total / 4000) for one, p in joint.items()
            )
    first = [sample_with_labels(net, tokenizer, 1, seed, shares)[0] for seed in range(500)]
    begun = sum(p for name, p in of_net[0].items() if name[0] == "a") / sum(of_net[0].values())
    of_f = [name[0] == "a" for label, name in first if label == "F"]
    assert sum(of_f) / len(of_f) == pytest.approx(begun, abs=0.08)


def test_labels_are_drawn_by_their_shares():
    class First(torch.nn.Module):
        """Each label has a letter of its own: "a" after F, "b" after M."""

        block_size = 1

        def __init__(self):
            super().__init__()
            rows = [[0.0] * 3, [9, -99, -99], [9, -99, -99], [-99, 9, -99], [-99, -99, 9]]
            self.rows = torch.nn.Parameter(torch.tensor(rows))

        def forward(self, context):
            return self.rows[context[:, -1]]

    tokenizer = CharTokenizer("ab", ("F", "M"))
    drawn = sample_with_labels(First(), tokenizer, 400, 1, [0.75, 0.25])
    assert set(drawn) == {("F", "a"), ("M", "b")}
    assert 270 < drawn.count(("F", "a")) < 330
    assert sample_with_labels(First(), tokenizer, 10, 1, [0.75, 0.25]) == drawn[:10]
    for label, message in (("X", "'X' is none of the model's labels"), (None, "the model's names have labels")):
        with pytest.raises(ValueError, match=f"{message}; give one of them as `label`: F, M"):
            net_given_label(First(), tokenizer, label)
    with pytest.raises(ValueError, match=r"^label is 'F', and the model's names have no labels; leave it out"):
        net_given_label(First(), CharTokenizer("ab"), "F")
