"""The models of the makemore family in a Trainer: those of windows and those of whole names."""

import copy
import math

import lightning.pytorch as pl
import pytest
import torch
from torch.nn import functional as F

from charlm.data.datamodule import NamesDataModule
from charlm.data.sequences import Sequences
from charlm.inference.sampling import sample_names
from charlm.inference.scoring import score_names
from charlm.models.names import LitBoW, LitEnsemble, LitGRU, LitLSTM, LitRNN, LitTransformer
from charlm.models.registry import MODELS, LitCharLM
from charlm.models.windows import LitDeepMLP, LitMLP, LitWaveNet
from charlm.nets.loss import evaluate
from charlm.runs.checkpoint import NETS, load_checkpoint

ALPHABET = "abc"
NAMES = ["abc", "bca", "cab", "aa", "bb", "cc", "abab", "bcbc", "caca", "ab", "ba", "ac", "ca", "abba", "cbbc", "a"]
SMALL = {
    LitBoW: {"n_embd": 4, "n_hidden": 3, "block_size": 8},
    LitRNN: {"n_embd": 3, "n_hidden": 4},
    LitGRU: {"n_embd": 3, "n_hidden": 4, "dropout": 0.2},
    LitLSTM: {"n_embd": 3, "n_hidden": 4, "n_layer": 2, "dropout": 0.2},
    LitEnsemble: {"members": 2, "n_embd": 3, "n_hidden": 4, "dropout": 0.2},
    LitTransformer: {"n_layer": 1, "n_head": 2, "n_embd": 4, "block_size": 8, "dropout": 0.2},
    LitDeepMLP: {"n_embd": 2, "n_hidden": 4, "n_layer": 2, "block_size": 8},
    LitWaveNet: {"n_embd": 2, "n_hidden": 4, "block_size": 8, "dropout": 0.2},
}
OF_NAMES = [LitBoW, LitRNN, LitGRU, LitLSTM, LitEnsemble, LitTransformer]
pytestmark = pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks used to create the")


def kinds(chosen=SMALL):
    return pytest.mark.parametrize("kind", chosen, ids=lambda kind: kind.__name__)


def make(kind, **arguments):
    torch.manual_seed(1)
    model = kind(alphabet=ALPHABET, **{**SMALL[kind], **arguments})
    with torch.no_grad():
        for net in getattr(model.net, "members", [model.net]):
            net.output.weight.normal_()  # so that no loss is the same by chance
    return model


@pytest.fixture
def data(tmp_path):
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    path = str(tmp_path / "names.txt")
    return NamesDataModule(path, ALPHABET, block_size=8, batch_size=3, split=(0.5, 0.3, 0.2), eval_batch_size=2)


def by_hand(model, data, part):
    """Mean nats, perplexity and accuracy over the characters of a split, name by name, in double precision."""
    net, total, right, count = copy.deepcopy(model.net).eval().double(), 0.0, 0, 0
    for name in data.splits.names(part):
        ids = [0, *(ALPHABET.index(ch) + 1 for ch in name), 0]
        for at in range(1, len(ids)):
            before = ids[:at] if model.takes == "names" else ([0] * 8 + ids[:at])[-8:]
            logits = net(torch.tensor([before])).flatten(0, -2)[-1]
            total -= logits.log_softmax(0)[ids[at]].item()
            right += int(logits.argmax()) == ids[at]
            count += 1
    return total / count, math.exp(total / count), right / count


@kinds()
@pytest.mark.parametrize(("part", "run"), [("val", "validate"), ("test", "test")])
def test_an_evaluation_is_the_exact_mean_over_the_characters(kind, part, run, data, trainer):
    """Windows and whole names give the same quantity: the second way is name by name, character by character."""
    model = make(kind)
    (metrics,) = getattr(trainer(limit_val_batches=1.0), run)(model, data, verbose=False)
    expected = dict(zip(("loss", "perplexity", "accuracy"), by_hand(model, data, part), strict=True))
    assert metrics == {f"{name}/{part}": pytest.approx(value, rel=1e-5) for name, value in expected.items()}


@kinds()
def test_the_report_evaluates_the_same_characters(kind, data, trainer):
    model = make(kind)
    fitter = trainer(max_steps=1)
    fitter.fit(model, data)
    loaders = data.whole_splits()
    assert set(loaders) == {"train", "val", "test"}
    for part, loader in loaders.items():
        found = evaluate(model.net, loader)
        assert found.count == sum(len(name) + 1 for name in data.splits.names(part))
        assert found.loss == pytest.approx(by_hand(model, data, part)[0], rel=1e-5)


@kinds()
def test_training_lowers_the_loss(kind, data, trainer):
    model = make(kind, lr=0.02)
    data.setup("fit")
    before = by_hand(model, data, "train")[0]
    trainer(max_epochs=40).fit(model, data)
    assert by_hand(model, data, "train")[0] < before - 0.2


@kinds()
def test_a_resumed_training_is_the_unbroken_one(kind, data, trainer, tmp_path):
    """In mid-epoch, the state of dropout's generator given: it is the trainer's to keep (a callback of its own)."""
    off = {"dropout": 0.0} if "dropout" in SMALL[kind] else {}
    unbroken, resumed = make(kind, **off), make(kind, **off)
    keep = pl.callbacks.ModelCheckpoint(tmp_path / "kept", "{step}", every_n_train_steps=2, save_top_k=-1)
    trainer(max_steps=7, callbacks=[keep], enable_checkpointing=True).fit(unbroken, data)
    trainer(max_steps=7).fit(resumed, data, ckpt_path=tmp_path / "kept" / "step=4.ckpt", weights_only=True)
    for (name, expected), found in zip(unbroken.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(expected, found), name


@kinds()
def test_a_checkpoint_alone_can_be_loaded_sampled_and_scored(kind, data, trainer, tmp_path):
    model = make(kind)
    fitter = trainer(max_steps=2)
    fitter.fit(model, data)
    fitter.save_checkpoint(tmp_path / "model.ckpt")
    loaded = load_checkpoint(tmp_path / "model.ckpt")
    assert type(loaded.net) is kind.net_class
    assert loaded.net.training is False
    model.net.eval()
    names = sample_names(loaded.net, loaded.tokenizer, 20, max_length=8)
    assert names == sample_names(model.net, model.tokenizer, 20, max_length=8)
    total = sum(score.total for score in score_names(loaded.net, loaded.tokenizer, data.splits.names("val")))
    count = sum(len(name) + 1 for name in data.splits.names("val"))
    assert total / count == pytest.approx(by_hand(model, data, "val")[0], rel=1e-5)
    again = LitCharLM.load_from_checkpoint(tmp_path / "model.ckpt")
    assert type(again) is kind
    assert dict(again.hparams) == dict(model.hparams)
    for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b)


@kinds()
def test_a_prediction_says_what_the_net_makes_of_every_character(kind, data, trainer):
    model = make(kind)
    batches = trainer().predict(model, data)
    surprise = torch.cat([batch["nats"] for batch in batches])
    expected = [
        nats for score in score_names(model.net, model.tokenizer, data.splits.names("test")) for nats in score.nats
    ]
    torch.testing.assert_close(surprise, torch.tensor(expected))
    target = torch.cat([batch["target"] for batch in batches])
    known = ["".join(ALPHABET[i - 1] for i in row if i) for batch in batches for row in batch["context"].tolist()]
    names = data.splits.names("test")
    assert known == [name[:at] for name in names for at in range(len(name) + 1)]
    assert target.tolist() == [ALPHABET.index(ch) + 1 if ch else 0 for name in names for ch in [*name, ""]]
    assert all(len(batch["likeliest"]) == len(batch["target"]) for batch in batches)


@kinds()
def test_what_decays_are_the_tables_that_inputs_are_multiplied_with(kind):
    model = make(kind, weight_decay=0.1)
    decaying, others = model.configure_optimizers().param_groups
    assert (decaying["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    names = {id(weight): name for name, weight in model.net.named_parameters()}
    left = [names[id(weight)] for weight in others["params"]]
    assert all(("bias" in n or "norm" in n or "embedding" in n or "positions" in n or ".1." in n) for n in left)
    kept = [names[id(weight)] for weight in decaying["params"]]
    assert all("weight" in name and "norm" not in name and "embedding" not in name for name in kept)
    assert len(left) + len(kept) == len(names)


@kinds()
def test_label_smoothing_is_in_what_is_minimised_and_not_in_what_is_logged(kind, data, trainer):
    model = make(kind, label_smoothing=0.3, **({"dropout": 0.0} if "dropout" in SMALL[kind] else {}))
    seen = {}

    class Look(pl.Callback):
        def on_before_backward(self, trainer, pl_module, loss):
            seen["minimised"] = loss.item()

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            context, target = batch
            pl_module.net.train()
            flat, plain, uniform = target.flatten(), [], []
            for net in getattr(pl_module.net, "members", [pl_module.net]):
                logits = net(context).detach().flatten(0, -2)
                log_p, counts = logits.log_softmax(1)[flat >= 0], flat[flat >= 0]
                plain.append(-log_p[torch.arange(len(counts)), counts].mean().item())
                uniform.append(-log_p.mean().item())
            seen["plain"] = sum(plain) / len(plain)
            seen["expected"] = 0.7 * seen["plain"] + 0.3 * sum(uniform) / len(uniform)

    one = trainer(max_steps=1, callbacks=[Look()])
    one.fit(model, data)
    assert seen["minimised"] == pytest.approx(seen["expected"], rel=1e-5)
    assert one.callback_metrics["loss/train"].item() == pytest.approx(seen["plain"], rel=1e-5)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, float("nan")])
def test_a_share_of_smoothing_is_a_share(smoothing):
    with pytest.raises(ValueError, match=r"label_smoothing is \S+; give a share from 0 on, below 1"):
        make(LitGRU, label_smoothing=smoothing)


def test_every_net_has_a_model_and_can_be_in_a_checkpoint():
    assert set(MODELS) == set(NETS)
    assert {name: kind.net_class.__module__ for name, kind in MODELS.items()} == NETS


@kinds(OF_NAMES)
def test_the_data_module_gives_whole_names_to_the_models_that_take_them(kind, data, trainer):
    model = make(kind)
    shapes = []

    class Look(pl.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            names, target = batch
            shapes.append(names.shape)
            assert (names[:, 0] == 0).all()
            assert torch.equal(names[:, 1:][target[:, 1:] >= 0], target[:, :-1][target[:, 1:] >= 0])

    trainer(max_epochs=1, callbacks=[Look()]).fit(model, data)
    train = Sequences.of_contexts(data.splits.train)
    assert sum(rows for rows, _ in shapes) == len(train) == len(data.splits.names("train"))


@kinds([LitBoW, LitTransformer])
def test_a_name_that_has_no_room_is_refused_before_training(kind, data, trainer):
    model = make(kind, block_size=4)
    said = r"the longest name of \S+names\.txt has 4 characters, and this \w+ takes names of at most 3 \(block_size 4"
    with pytest.raises(ValueError, match=said + r", less one\); leave it out, or train with --data\.block_size 5"):
        trainer(max_steps=1).fit(model, data)


@kinds([LitBoW, LitTransformer])
def test_a_name_that_has_no_room_cannot_be_scored(kind):
    model = make(kind, block_size=4)
    with pytest.raises(ValueError, match=r"'abcabc' has 6 characters, and this \w+ takes names of at most 3"):
        score_names(model.net, model.tokenizer, ["a", "abcabc"])


@kinds([LitBoW, LitTransformer])
def test_sampled_names_end_where_the_positions_do(kind):
    model = make(kind, block_size=4)
    assert max(map(len, sample_names(model.net, model.tokenizer, 200))) == 4
    assert max(map(len, model.sample_names(200, 0))) == 4


def test_windows_of_pairs_that_were_split_cannot_be_whole_names(data, trainer):
    data.hparams["split_by"] = "pair"
    with pytest.raises(ValueError, match=r"this model takes whole names, and data\.split_by pair"):
        trainer(max_steps=1).fit(make(LitGRU), data)


def test_without_a_trainer_the_data_are_windows(data):
    context, target = next(iter(data.train_dataloader()))
    assert (context.shape, target.shape) == ((3, 8), (3,))


def test_gradients_by_hand_are_left_where_labels_are_smoothed(data, trainer):
    model = LitMLP(alphabet=ALPHABET, block_size=8, label_smoothing=0.1)
    assert model.gradient_function() is None
    assert LitMLP(alphabet=ALPHABET, block_size=8).gradient_function() is not None


def test_a_batch_norm_counts_on_after_loading(data, trainer, tmp_path):
    model = make(LitDeepMLP)
    fitter = trainer(max_steps=3)
    fitter.fit(model, data)
    fitter.save_checkpoint(tmp_path / "model.ckpt")
    counts = [b for n, b in load_checkpoint(tmp_path / "model.ckpt").net.named_buffers() if "num_batches" in n]
    assert [count.item() for count in counts] == [3, 3]


def test_the_loss_of_a_padded_batch_is_that_of_its_names_alone():
    model = make(LitGRU)
    model.net.eval()
    names = torch.tensor([[0, 1, 2, 3], [0, 2, 0, 0]])
    target = torch.tensor([[1, 2, 3, 0], [2, 0, -1, -1]])
    first = F.cross_entropy(model.net(names[:1])[0], target[0], reduction="sum")
    second = F.cross_entropy(model.net(names[1:, :2])[0], target[1, :2], reduction="sum")
    assert model.loss(names, target).item() == pytest.approx((first + second).item() / 6, rel=1e-6)


@kinds([LitDeepMLP, LitWaveNet])
def test_a_training_batch_may_have_one_example(kind, data, trainer):
    data.hparams["batch_size"] = 1
    model = make(kind)
    trainer(max_steps=3).fit(model, data)
    assert all(weight.isfinite().all() for weight in model.state_dict().values())
