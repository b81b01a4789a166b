"""Every model in a Trainer: those of windows and those of whole names."""

import copy
import inspect
import math

import lightning.pytorch as pl
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.nn import functional as F

from charlm.data.datamodule import NamesDataModule
from charlm.data.sequences import Sequences
from charlm.inference.sampling import sample_names
from charlm.inference.scoring import score_names
from charlm.models.names import LitBoW, LitEnsemble, LitGRU, LitLSTM, LitRNN, LitTransformer
from charlm.models.registry import MODELS, LitCharLM
from charlm.models.windows import LitBigram, LitDeepMLP, LitMLP, LitWaveNet
from charlm.nets.loss import evaluate
from charlm.runs.checkpoint import NETS, load_checkpoint

ALPHABET = "abc"
NAMES = ["abc", "bca", "cab", "aa", "bb", "cc", "abab", "bcbc", "caca", "ab", "ba", "ac", "ca", "abba", "cbbc", "a"]
SMALL = {
    LitBigram: {"init": "notebook"},
    LitMLP: {"n_embd": 2, "n_hidden": 4, "block_size": 8, "init": "notebook"},
    LitDeepMLP: {"n_embd": 2, "n_hidden": 4, "n_layer": 2, "block_size": 8},
    LitWaveNet: {"n_embd": 2, "n_hidden": 4, "block_size": 8, "dropout": 0.2},
    LitBoW: {"n_embd": 4, "n_hidden": 3, "block_size": 8},
    LitRNN: {"n_embd": 3, "n_hidden": 4},
    LitGRU: {"n_embd": 3, "n_hidden": 4, "dropout": 0.2},
    LitLSTM: {"n_embd": 3, "n_hidden": 4, "n_layer": 2, "dropout": 0.2},
    LitTransformer: {"n_layer": 1, "n_head": 2, "n_embd": 4, "block_size": 8, "dropout": 0.2},
    LitEnsemble: {"members": 2, "n_embd": 3, "n_hidden": 4, "dropout": 0.2},
}
OF_NAMES = [LitBoW, LitRNN, LitGRU, LitLSTM, LitTransformer, LitEnsemble]
pytestmark = pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks used to create the")


def kinds(chosen=SMALL):
    return pytest.mark.parametrize("kind", chosen, ids=lambda kind: kind.__name__)


def make(kind, **arguments):
    """A model whose logits differ, so that no loss is the same by chance."""
    torch.manual_seed(1)
    model = kind(alphabet=ALPHABET, **{**SMALL[kind], **arguments})
    with torch.no_grad():
        for net in getattr(model.net, "members", [model.net]):
            (net.W if kind is LitBigram else net.output.weight).normal_()
    return model


def without_dropout(kind):
    return {"dropout": 0.0} if "dropout" in SMALL[kind] else {}


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
def test_an_evaluation_is_the_exact_mean_over_the_characters(kind, data, trainer):
    """By Lightning and by the report; the expected values come name by name, character by character."""
    model, runner = make(kind), trainer(max_steps=1, limit_val_batches=1.0)
    for part, run in (("val", runner.validate), ("test", runner.test)):
        (metrics,) = run(model, data, verbose=False)
        expected = dict(zip(("loss", "perplexity", "accuracy"), by_hand(model, data, part), strict=True))
        assert metrics == {f"{name}/{part}": pytest.approx(value, rel=1e-5) for name, value in expected.items()}
    runner.fit(model, data)
    for part, loader in data.whole_splits().items():
        found = evaluate(model.net, loader)
        assert found.count == sum(len(name) + 1 for name in data.splits.names(part))
        assert found.loss == pytest.approx(by_hand(model, data, part)[0], rel=1e-5)


@kinds()
def test_training_lowers_the_loss(kind, data, trainer):
    model = make(kind, lr=0.5 if kind is LitBigram else 0.02, optimizer="AdamW")
    data.setup("fit")
    before = by_hand(model, data, "train")[0]
    trainer(max_epochs=40).fit(model, data)
    assert by_hand(model, data, "train")[0] < before - 0.2


@kinds()
def test_a_resumed_training_is_the_unbroken_one(kind, data, trainer, tmp_path):
    """Mid-epoch: the optimizer's moments and the order of the batches come from the checkpoint."""
    unbroken, resumed = (make(kind, optimizer="AdamW", **without_dropout(kind)) for _ in range(2))
    keep = pl.callbacks.ModelCheckpoint(tmp_path / "kept", "{step}", every_n_train_steps=2, save_top_k=-1)
    trainer(max_steps=7, callbacks=[keep], enable_checkpointing=True).fit(unbroken, data)
    trainer(max_steps=7).fit(resumed, data, ckpt_path=tmp_path / "kept" / "step=4.ckpt", weights_only=True)
    for (name, expected), found in zip(unbroken.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(expected, found), name


@kinds()
def test_a_prediction_tells_of_every_character(kind, data, trainer):
    model = make(kind)
    batches = trainer().predict(model, data)
    names = data.splits.names("test")
    scores = score_names(model.net, model.tokenizer, names)
    surprise = torch.cat([batch["nats"] for batch in batches])
    torch.testing.assert_close(surprise, torch.tensor([nats for score in scores for nats in score.nats]))
    known = ["".join(ALPHABET[i - 1] for i in row if i) for batch in batches for row in batch["context"].tolist()]
    assert known == [name[:at] for name in names for at in range(len(name) + 1)]
    target = torch.cat([batch["target"] for batch in batches])
    assert target.tolist() == [ALPHABET.index(ch) + 1 if ch else 0 for name in names for ch in [*name, ""]]
    assert all(len(batch["likeliest"]) == len(batch["target"]) for batch in batches)


@kinds()
def test_weight_decay_is_for_the_tables_that_inputs_are_multiplied_with(kind):
    model = make(kind, weight_decay=0.1, optimizer="AdamW", lr=0.25)
    groups = model.configure_optimizers().param_groups
    assert {group["lr"] for group in groups} == {0.25}
    of = {id(weight): (name, weight) for name, weight in model.net.named_parameters()}
    for name, weight in (of.pop(id(weight)) for group in groups[:1] for weight in group["params"]):
        assert weight.dim() > 1
        assert not any(part in name for part in ("norm", "embedding", "positions"))
    assert [group["weight_decay"] for group in groups] == ([0.1, 0.0] if of else [0.1])
    assert all("bias" in n or "norm" in n or "embedding" in n or "positions" in n or ".1." in n for n, _ in of.values())
    (group,) = make(kind).configure_optimizers().param_groups
    assert len(group["params"]) == len(list(model.net.parameters()))


@kinds()
def test_label_smoothing_is_in_what_is_minimised_and_not_in_what_is_logged(kind, data, trainer):
    penalty = {"weight_penalty": 0.0} if kind is LitBigram else {}
    model = make(kind, label_smoothing=0.3, **without_dropout(kind), **penalty)
    seen = {}

    class Look(pl.Callback):
        def on_before_backward(self, trainer, pl_module, loss):
            seen["minimised"] = loss.item()

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            context, target = batch
            pl_module.net.train()
            flat, plain, uniform = target.flatten(), [], []
            for net in getattr(pl_module.net, "members", [pl_module.net]):
                log_p = net(context).detach().flatten(0, -2).log_softmax(1)[flat >= 0]
                plain.append(F.nll_loss(log_p, flat[flat >= 0]).item())
                uniform.append(-log_p.mean().item())
            seen["plain"] = sum(plain) / len(plain)
            seen["expected"] = 0.7 * seen["plain"] + 0.3 * sum(uniform) / len(uniform)

    one = trainer(max_steps=1, callbacks=[Look()])
    one.fit(model, data)
    assert seen["minimised"] == pytest.approx(seen["expected"], rel=1e-5)
    assert one.callback_metrics["loss/train"].item() == pytest.approx(seen["plain"], rel=1e-5)


def test_every_net_has_a_model_and_can_be_in_a_checkpoint():
    assert {name: kind.net_class.__module__ for name, kind in MODELS.items()} == NETS
    with pytest.raises(TypeError, match="abstract"):
        LitCharLM()


@kinds()
def test_a_model_has_the_arguments_and_the_defaults_of_its_net(kind):
    of_net = inspect.signature(kind.net_class).parameters
    given = dict(kind().hparams)
    assert {name: given[name] for name in of_net if name != "vocab_size"} == {
        name: parameter.default for name, parameter in of_net.items() if name != "vocab_size"
    }
    assert make(kind, vocab_size=27)._net_args["vocab_size"] == 27


def test_the_defaults_of_training():
    common = {"alphabet": "abcdefghijklmnopqrstuvwxyz", "vocab_size": None, "init": "default", "optimizer": "SGD"}
    common |= {"weight_decay": 0.0, "schedule": "constant", "warmup": 0.1, "label_smoothing": 0.0}
    assert dict(LitBigram().hparams) == {**common, "weight_penalty": 0.01, "lr": 50.0}
    assert dict(LitMLP().hparams) == {**common, "block_size": 3, "n_embd": 10, "n_hidden": 200, "lr": 0.1}


@kinds([LitBigram, LitMLP])
def test_the_tags_that_are_logged(kind, data, trainer, tmp_path):
    logger = pl.loggers.TensorBoardLogger(tmp_path, default_hp_metric=False)
    fitter = trainer(max_epochs=1, logger=logger, limit_val_batches=1.0, num_sanity_val_steps=0)
    fitter.fit(make(kind), data)
    fitter.test(fitter.model, data, verbose=False)
    events = EventAccumulator(logger.log_dir).Reload()
    train = {"loss/train", "loss_mean/train", "perplexity/train"}
    evaluation = {f"{name}/{split}" for name in ("loss", "perplexity", "accuracy") for split in ("val", "test")}
    assert set(events.Tags()["scalars"]) == train | evaluation | {"epoch"}
    for event, loss in zip(events.Scalars("perplexity/train"), events.Scalars("loss/train"), strict=True):
        assert event.value == pytest.approx(math.exp(loss.value), rel=1e-5)


def test_the_train_loss_is_the_cross_entropy_alone_and_the_penalty_is_minimised_too(data, trainer):
    """One full-batch step of SGD by hand: W - lr * (dCE/dW + 2 * penalty * W / V^2)."""
    data.hparams["batch_size"] = None
    model = make(LitBigram, weight_penalty=0.5, lr=2.0)
    start = model.net.W.detach().clone().requires_grad_()
    context, target = data.splits.train.tensors()
    loss = F.cross_entropy(start[context[:, -1]], target)
    (slope,) = torch.autograd.grad(loss, start)
    assert model.penalty().item() == pytest.approx(0.5 * (start**2).mean().item())
    one = trainer(max_steps=1)
    one.fit(model, data)
    assert one.callback_metrics["loss/train"].item() == pytest.approx(loss.item())
    torch.testing.assert_close(model.net.W.detach(), (start - 2.0 * (slope + start / 16)).detach())


@kinds(OF_NAMES)
def test_the_data_module_gives_whole_names_to_the_models_that_take_them(kind, data, trainer):
    rows = []

    class Look(pl.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            names, target = batch
            rows.append(len(names))
            assert (names[:, 0] == 0).all()
            assert torch.equal(names[:, 1:][target[:, 1:] >= 0], target[:, :-1][target[:, 1:] >= 0])

    trainer(max_epochs=1, callbacks=[Look()]).fit(make(kind), data)
    assert sum(rows) == len(Sequences.of_contexts(data.splits.train)) == len(data.splits.names("train"))


@kinds([LitBoW, LitTransformer])
def test_a_name_has_to_fit_into_the_positions(kind, data, trainer):
    model = make(kind, block_size=4)
    said = r"the longest name of \S+names\.txt has 4 characters, and this \w+ takes names of at most 3 \(block_size 4"
    with pytest.raises(ValueError, match=said + r", less one\); leave it out, or train with --data\.block_size 5"):
        trainer(max_steps=1).fit(model, data)
    with pytest.raises(ValueError, match=r"'abcabc' has 6 characters, and this \w+ takes names of at most 3"):
        score_names(model.net, model.tokenizer, ["a", "abcabc"])
    assert max(map(len, sample_names(model.net, model.tokenizer, 200))) == 4
    assert max(map(len, model.sample_names(200, 0))) == 4


def test_windows_of_pairs_that_were_split_cannot_be_whole_names(data, trainer):
    data.hparams["split_by"] = "pair"
    with pytest.raises(ValueError, match=r"this model takes whole names, and data\.split_by pair"):
        trainer(max_steps=1).fit(make(LitGRU), data)


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


def test_a_checkpoint_has_the_count_of_a_batch_norm(data, trainer, tmp_path):
    fitter = trainer(max_steps=3)
    fitter.fit(make(LitDeepMLP), data)
    fitter.save_checkpoint(tmp_path / "model.ckpt")
    counts = [b for n, b in load_checkpoint(tmp_path / "model.ckpt").net.named_buffers() if "num_batches" in n]
    assert [count.item() for count in counts] == [3, 3]


def test_mixed_precision_and_clipping_go_together(data, trainer):
    model = make(LitMLP, optimizer="AdamW")
    before = [weight.clone() for weight in model.parameters()]
    trainer(max_steps=2, precision="bf16-mixed", gradient_clip_val=1.0).fit(model, data)
    assert not any(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vocab_size": 3}, "vocab_size is 3, and the alphabet needs 4 ids; leave it out"),
        ({"warmup": 0}, "warmup is 0; give a share of the steps, between 0 and 1"),
        ({"warmup": math.nan}, "warmup is nan; give a share"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0; give a share from 0 on, below 1"),
        ({"lr": -1.0}, "lr is -1.0; give a number from 0 on"),
        ({"weight_decay": math.inf}, "weight_decay is inf; give a number from 0 on"),
    ],
)
def test_arguments_outside_their_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(LitMLP, **arguments)
