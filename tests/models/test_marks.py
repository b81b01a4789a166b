"""Models of names from a table that gives their weights."""

import lightning.pytorch as pl
import pytest
import torch

from charlm.data.datamodule import NamesDataModule
from charlm.models.names import LitGRU
from charlm.models.ngram import LitNGram
from charlm.models.windows import LitMLP
from charlm.nets.loss import evaluate
from charlm.runs.checkpoint_file import load_checkpoint

pytestmark = [
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks used to create the"),
    pytest.mark.filterwarnings("ignore:`LightningModule.configure_optimizers` returned `None`"),
    pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization"),
]

NAMES = ["abc", "bca", "cab", "aa", "bb", "cc", "abab", "bcbc", "caca", "ab", "ba", "ac", "ca", "abba", "cbbc", "a"]
WEIGHTS = [1 + number % 4 for number in range(len(NAMES))]
SETTINGS = {"alphabet": "abc", "block_size": 8, "batch_size": 3, "split": (0.5, 0.3, 0.2), "eval_batch_size": 2}


@pytest.fixture
def table(tmp_path):
    """Names with weights, as a table; and the list in which they stand so many times."""
    rows, copies = tmp_path / "names.csv", tmp_path / "copies.txt"
    rows.write_text("".join(f"{name},{weight}\n" for name, weight in zip(NAMES, WEIGHTS, strict=True)))
    copies.write_text("".join(f"{name}\n" * weight for name, weight in zip(NAMES, WEIGHTS, strict=True)))
    return NamesDataModule(str(rows), column=1, weight=2, **SETTINGS), NamesDataModule(str(copies), **SETTINGS)


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


def test_a_resumed_training_with_weights_is_the_unbroken_one(make, table, trainer, tmp_path):
    unbroken, resumed = (make(LitMLP, optimizer="AdamW") for _ in range(2))
    keep = pl.callbacks.ModelCheckpoint(tmp_path / "kept", "{step}", every_n_train_steps=2, save_top_k=-1)
    trainer(max_steps=14, callbacks=[keep], enable_checkpointing=True).fit(unbroken, table[0])
    trainer(max_steps=14).fit(resumed, table[0], ckpt_path=tmp_path / "kept" / "step=4.ckpt", weights_only=True)
    assert all(map(torch.equal, unbroken.parameters(), resumed.parameters()))


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
