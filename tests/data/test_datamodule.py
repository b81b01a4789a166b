import json
import logging
import re
from collections import Counter
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn

from charlm.callbacks.run_checkpoint import RunCheckpoint
from charlm.data.datamodule import NamesDataModule
from charlm.models.windows import LitMLP

NAMES = [a + b for a in "abcdefgh" for b in "vwxyz"]  # 40: 96 examples to train on, 12 to validate and 12 to test
EPOCHS, BATCHES = 4, 6  # of 16


class Diary(pl.Callback):
    """Every training batch, in order."""

    def __init__(self):
        self.batches = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        context, target = batch
        self.batches.append(torch.cat([context, target[:, None]], 1).tolist())


def savers(directory):
    """A checkpoint at every moment a run may be left at: each step, validation and end of an epoch."""
    options = {"dirpath": directory, "save_top_k": -1, "auto_insert_metric_name": False}
    return [
        ModelCheckpoint(filename="step{step}", every_n_train_steps=1, **options),
        ModelCheckpoint(filename="val{step}", monitor="loss/val", **options),
        ModelCheckpoint(filename="end{step}", save_on_train_epoch_end=True, **options),
    ]


def fit(path, root, *callbacks, checkpoint=None, model=None, max_epochs=EPOCHS, **options):
    """The batches a run saw, the weights it came to, and its trainer."""
    data = NamesDataModule(path, **({"batch_size": 16} | options))
    torch.manual_seed(1)
    model = model or LitMLP(alphabet=data.alphabet, n_embd=3, n_hidden=5, optimizer="AdamW", lr=0.01)
    diary = Diary()
    quiet = {"accelerator": "cpu", "devices": 1, "enable_progress_bar": False, "enable_model_summary": False}
    quiet |= {"logger": False, "enable_checkpointing": bool(callbacks), "default_root_dir": root}
    trainer = pl.Trainer(max_epochs=max_epochs, callbacks=[diary, *callbacks], **quiet)
    trainer.fit(model, data, ckpt_path=checkpoint, weights_only=True)
    return diary.batches, [weights.clone() for weights in model.parameters()], trainer


def same(weights, others):
    return all(torch.equal(a, b) for a, b in zip(weights, others, strict=True))


@pytest.fixture(scope="module")
def names_path(tmp_path_factory):
    file = tmp_path_factory.mktemp("names") / "names.txt"
    file.write_text("\n".join(NAMES))
    return str(file)


@pytest.fixture(scope="module", params=["epoch", "replacement"])
def unbroken(request, names_path, tmp_path_factory):
    """An unbroken run: its sampling, batches, weights and directory of checkpoints."""
    root = tmp_path_factory.mktemp("unbroken")
    batches, weights, _ = fit(names_path, root, *savers(root), sampling=request.param)
    assert len(batches) == EPOCHS * BATCHES
    return request.param, batches, weights, root


def test_an_epoch_of_a_short_list_has_several_passes_and_a_resumed_one_goes_on_in_it(names_path, tmp_path):
    """96 examples, six batches of 16; four times as often for 24 of them, and as they are for four."""
    once, few, many = (NamesDataModule(names_path, batch_size=16, min_batches=n).train_dataloader() for n in (1, 4, 24))
    assert [len(loader) for loader in (once, few, many)] == [6, 6, 24]
    assert len(next(iter(NamesDataModule(names_path, batch_size=1000).train_dataloader()))[1]) == 96
    assert torch.equal(torch.cat([target for _, target in few]), torch.cat([target for _, target in once]))
    examples = [Counter(map(tuple, torch.cat([context for context, _ in loader]).tolist())) for loader in (once, many)]
    assert {context: 4 * count for context, count in examples[0].items()} == examples[1]
    whole, _, trainer = fit(names_path, tmp_path, *savers(tmp_path), min_batches=24)
    assert trainer.global_step == EPOCHS * 24
    found, _, _ = fit(names_path, tmp_path, checkpoint=tmp_path / "step7.ckpt", min_batches=24)
    assert found == whole[7:]


MOMENTS = ["step1", "step6", "val6", "end6", "step7", "end18", "step23", "val6 val12", "end6 step11"]


@pytest.mark.parametrize("moments", MOMENTS)
def test_a_run_resumed_once_or_twice_is_the_unbroken_one(unbroken, names_path, tmp_path, moments):
    """Batch for batch and weight for weight."""
    sampling, batches, weights, root = unbroken
    for moment in moments.split():
        options = {"checkpoint": root / f"{moment}.ckpt", "sampling": sampling}
        found, found_weights, trainer = fit(names_path, tmp_path, *savers(tmp_path), **options)
        assert found == batches[int(moment.strip("stepvalnd")) :]
        assert same(found_weights, weights)
        assert trainer.global_step == len(batches)
        root = tmp_path


@pytest.mark.parametrize(("sampling", "seed"), [("epoch", 0), ("epoch", None), ("replacement", 0)])
def test_with_overfit_batches_all_epochs_have_the_same_batches(names_path, tmp_path, trainer, sampling, seed):
    diary, data = Diary(), NamesDataModule(names_path, batch_size=16, sampling=sampling, shuffle_seed=seed)
    callbacks, last = [diary, RunCheckpoint(tmp_path)], tmp_path / "last.ckpt"
    for steps in (3, 4, 6):  # resumed in an epoch and between two
        training = trainer(callbacks=callbacks, overfit_batches=2, max_steps=steps, enable_checkpointing=True)
        with pytest.warns(UserWarning, match="You requested to overfit"):
            training.fit(LitMLP(alphabet=data.alphabet, n_embd=3), data, ckpt_path=last if diary.batches else None)
    assert diary.batches == diary.batches[:2] * 3
    assert diary.batches[0] != diary.batches[1]


@pytest.mark.parametrize("names", [[*NAMES, "va"], NAMES[::-1], [*NAMES[1:], "aw"]], ids=["more", "order", "a letter"])
def test_to_resume_with_other_names_is_refused(names_path, tmp_path, names, trainer, caplog):
    state, other = NamesDataModule(names_path).state_dict(), tmp_path / "other.txt"
    other.write_bytes("\r\n".join(NAMES).encode("utf-8-sig"))
    NamesDataModule(str(other)).load_state_dict(state)  # the same names, saved in another way
    other.write_text("\n".join(names))
    message = f"{other} holds other names than the checkpoint was trained on ({names_path})"
    with pytest.raises(ValueError, match=rf"^{re.escape(message)}; resume with the same list \(--data FILE\)"):
        NamesDataModule(str(other)).load_state_dict(state)
    data = NamesDataModule(str(other))
    data.trainer = trainer()
    data.trainer.state.fn = TrainerFn.TESTING
    caplog.set_level("INFO")
    data.load_state_dict(state)
    assert caplog.messages[-1] == message, "an evaluation says so and goes on"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"split_seed": 7}, r"`split_seed` is 7, and the checkpoint was trained with 42: "),
        ({"split": (0.8, 0.2, 0)}, r"`split` is \[0.8, 0.2, 0\], and .* with \[0.8, 0.1, 0.1\]"),
    ],
)
def test_to_resume_with_another_split_is_refused(names_path, option, message):
    state = NamesDataModule(names_path).state_dict()
    with pytest.raises(ValueError, match=message):
        NamesDataModule(names_path, **option).load_state_dict(state)


def test_names_are_read_once_and_what_was_changed_is_said(tmp_path, caplog):
    file = tmp_path / "names.txt"
    with pytest.raises(FileNotFoundError, match=rf"^there is no names file {file}"):
        NamesDataModule(str(file)).setup("fit")
    file.write_text("\n\n".join(NAMES) + " ")
    data = NamesDataModule(str(file))
    with caplog.at_level(logging.INFO, logger="charlm.data.datamodule"):
        for stage in ("fit", "test"):
            data.setup(stage)
    assert (data.alphabet, data.vocab_size, data.tokenizer.encode("av")) == ("abcdefghvwxyz", 14, [1, 9])
    assert [record.message for record in caplog.records] == [
        "names.txt: 40 names over 13 characters, abcdefghvwxyz",
        "names.txt: 39 blank lines dropped, outer white space cut in 1 lines",
    ]


def test_a_checkpoint_knows_its_names_and_arguments(unbroken, names_path, monkeypatch):
    checkpoint = torch.load(unbroken[3] / "step9.ckpt", weights_only=True)
    data = NamesDataModule(names_path)
    assert checkpoint["NamesDataModule"] == {
        **{"sha256": data.splits.corpus.sha256, "source": names_path},
        **{"split": [0.8, 0.1, 0.1], "split_by": "name", "split_seed": 42},
    }
    arguments = checkpoint["datamodule_hyper_parameters"]
    assert NamesDataModule(**arguments).hparams == arguments
    assert json.loads(json.dumps(arguments)) == arguments
    assert (arguments["path"], arguments["split"], arguments["batch_size"]) == (names_path, [0.8, 0.1, 0.1], 16)
    monkeypatch.chdir(Path(names_path).parent)
    assert NamesDataModule("names.txt").hparams["path"] == names_path, "the path is saved as an absolute one"


def test_every_split_is_evaluated_in_order(names_path):
    data = NamesDataModule(names_path, eval_batch_size=10)
    whole = data.whole_splits()
    assert list(whole) == ["train", "val", "test"]
    loaders = [*whole.values(), data.val_dataloader(), data.test_dataloader(), data.predict_dataloader()]
    splits = [data.splits.train, *[data.splits.val, data.splits.test] * 2, data.splits.test]
    for loader, split in zip(loaders, splits, strict=True):
        batches = list(loader)
        assert max(len(target) for _, target in batches) == 10
        assert torch.equal(torch.cat([context for context, _ in batches]), split.tensors()[0])


@pytest.mark.filterwarnings("ignore:Total length of `list` across ranks is zero")
def test_a_run_may_do_without_a_val_and_a_test_split(names_path, tmp_path):
    data = NamesDataModule(names_path, split=(1, 0, 0))
    assert data.val_dataloader() == data.test_dataloader() == data.predict_dataloader() == []
    batches, _, _ = fit(names_path, tmp_path, split=(1, 0, 0), max_epochs=1)
    assert sum(len(batch) for batch in batches) == 120


@pytest.mark.parametrize("name", ["batch_size", "eval_batch_size", "block_size"])
def test_a_size_below_one_is_refused_at_once(name):
    with pytest.raises(ValueError, match=f"^{name} is 0; it must be at least 1$"):
        NamesDataModule(**{name: 0})
