"""Every model in a Trainer: those of windows and those of whole names."""

import copy
import inspect
import math

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.callbacks import EMAWeightAveraging
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch.nn import functional as F
from torch.utils.data import DataLoader

from charlm.callbacks.steps_per_execution.callback import StepsPerExecution
from charlm.inference.sampling import sample_names
from charlm.inference.scoring import score_names
from charlm.models.mixture import LitMixture
from charlm.models.names import LitBoW, LitTransformer
from charlm.models.ngram import LitNGram
from charlm.models.registry import MODELS, LitCharLM
from charlm.models.windows import LitBigram, LitDeepMLP, LitMLP, LitWaveNet
from charlm.nets.loss import evaluate
from charlm.runs.load_checkpoint import NETS

LEARNED = [kind for kind in MODELS.values() if kind is not LitNGram]
"""By gradient descent."""
OF_NAMES = ("vocab_size", "weighted", "n_labels")
"""Arguments of nets that follow from the names."""


def kinds(*chosen):
    return pytest.mark.parametrize("kind", chosen or MODELS.values(), ids=lambda kind: kind.__name__)


def by_hand(model, data, part):
    """Mean nats, perplexity and accuracy over the characters of a split, name by name, in double precision."""
    net, total, right, count = copy.deepcopy(model.net).eval().double(), 0.0, 0, 0
    for name in data.splits.names(part):
        ids = [0, *("abc".index(ch) + 1 for ch in name), 0]
        for at in range(1, len(ids)):
            before = ids[:at] if model.takes == "names" else ([0] * 8 + ids[:at])[-8:]
            logits = net(torch.tensor([before])).flatten(0, -2)[-1]
            total -= logits.log_softmax(0)[ids[at]].item()
            right += int(logits.argmax()) == ids[at]
            count += 1
    return total / count, math.exp(total / count), right / count


@kinds()
def test_an_evaluation_is_the_exact_mean_over_the_characters(kind, make, data, trainer):
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


def test_a_validation_in_float64_has_all_its_digits(make, data, trainer):
    """From its first batch on, so that a resumed training has the same ones."""
    validated = trainer(precision="64-true", limit_val_batches=1.0).validate(model := make(LitMLP), data, verbose=False)
    assert validated[0]["loss/val"] == pytest.approx(by_hand(model, data, "val")[0], rel=1e-14)


@kinds()
def test_a_resumed_training_is_the_unbroken_one(kind, make, data, trainer, tmp_path):
    """Mid-epoch: the optimizer's moments and the order of the batches come from the checkpoint."""
    optimizer = {"optimizer": "AdamW"} if kind in LEARNED else {}
    unbroken, resumed = (make(kind, without_dropout=True, **optimizer) for _ in range(2))
    keep = pl.callbacks.ModelCheckpoint(tmp_path / "kept", "{step}", every_n_train_steps=2, save_top_k=-1)
    trainer(max_steps=7, callbacks=[keep], enable_checkpointing=True).fit(unbroken, data)
    trainer(max_steps=7).fit(resumed, data, ckpt_path=tmp_path / "kept" / "step=4.ckpt", weights_only=True)
    for (name, expected), found in zip(unbroken.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(expected, found), name


@kinds()
def test_a_prediction_tells_of_every_character(kind, make, data, trainer):
    model = make(kind)
    batches = trainer().predict(model, data)
    names = data.splits.names("test")
    scores = score_names(model.net, model.tokenizer, names)
    surprise = torch.cat([batch["nats"] for batch in batches])
    torch.testing.assert_close(surprise, torch.tensor([nats for score in scores for nats in score.nats]).to(surprise))
    known = ["".join("abc"[i - 1] for i in row if i) for batch in batches for row in batch["context"].tolist()]
    assert known == [name[:at] for name in names for at in range(len(name) + 1)]


@kinds(*LEARNED)
def test_weight_decay_is_for_the_tables_that_inputs_are_multiplied_with(kind, make):
    model = make(kind, weight_decay=0.1, optimizer="AdamW", lr=0.25)
    groups = model.configure_optimizers().param_groups
    assert {(group["lr"], group["fused"]) for group in groups} == {(0.25, True)}
    names = {id(weight): name for name, weight in getattr(model, "learner", model.net).named_parameters()}
    for group in groups:
        for weight in group["params"]:
            table = weight.dim() > 1 and "embedding" not in names[id(weight)] and "positions" not in names[id(weight)]
            assert group["weight_decay"] == (0.1 if table else 0.0), names[id(weight)]
    (group,) = make(kind).configure_optimizers().param_groups
    assert len(group["params"]) == sum(len(of_two["params"]) for of_two in groups) == len(names)


@kinds(*LEARNED)
def test_label_smoothing_is_in_what_is_minimised_and_not_in_what_is_logged(kind, make, data, trainer):
    penalty = {"weight_penalty": 0.0} if kind is LitBigram else {}
    model = make(kind, label_smoothing=0.3, without_dropout=True, **penalty)
    seen = {}

    class Look(pl.Callback):
        def on_before_backward(self, trainer, pl_module, loss):
            seen["minimised"] = loss.item()

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            context, target = batch[0], batch[1].flatten()
            pl_module.net.train()
            nets = getattr(pl_module.net, "members", [getattr(pl_module, "learned", pl_module.net)])
            log_p = torch.cat([net(context).detach().flatten(0, -2).log_softmax(1)[target >= 0] for net in nets])
            seen["plain"] = F.nll_loss(log_p, target[target >= 0].repeat(len(nets))).item()
            seen["expected"] = 0.7 * seen["plain"] - 0.3 * log_p.mean().item()

    one = trainer(max_steps=1, callbacks=[Look()])
    one.fit(model, data)
    assert seen["minimised"] == pytest.approx(seen["expected"], rel=1e-5)
    assert one.callback_metrics["loss/train"].item() == pytest.approx(seen["plain"], rel=1e-5)


def test_every_net_has_a_model_and_can_be_in_a_checkpoint():
    assert {name: kind.net_class.__module__ for name, kind in MODELS.items()} == NETS
    with pytest.raises(TypeError, match="abstract"):
        LitCharLM()


@kinds()
def test_a_model_has_the_arguments_and_the_defaults_of_its_net(kind, make):
    of_net = inspect.signature(kind.net_class).parameters
    given = dict(kind().hparams)
    assert {name: given[name] for name in of_net if name not in OF_NAMES} == {
        name: parameter.default for name, parameter in of_net.items() if name not in OF_NAMES
    }
    assert make(kind, vocab_size=27)._net_args["vocab_size"] == 27


def test_the_train_loss_is_the_cross_entropy_alone_and_the_penalty_is_minimised_too(make, data, trainer):
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


@kinds(LitBoW, LitTransformer)
def test_a_name_has_to_fit_into_the_positions(kind, make, data, trainer):
    model = make(kind, block_size=4)
    said = r"the longest name of \S+names\.txt has 4 characters, and this \w+ takes names of at most 3 \(block_size 4"
    with pytest.raises(ValueError, match=said + r", less one\); leave it out, or train with `block_size` 5"):
        trainer(max_steps=1).fit(model, data)
    with pytest.raises(ValueError, match=r"'abcabc' has 6 characters, and this \w+ takes names of at most 3"):
        score_names(model.net, model.tokenizer, ["a", "abcabc"])
    assert max(map(len, sample_names(model.net, model.tokenizer, 200))) == 4
    assert max(map(len, model.sample_names(200, 0))) == 4


@kinds(LitDeepMLP, LitWaveNet)
def test_a_training_batch_may_have_one_example(kind, make, data, trainer):
    data.hparams["batch_size"] = 1
    model = make(kind)
    trainer(max_steps=3).fit(model, data)
    assert all(weight.isfinite().all() for weight in model.state_dict().values())


def test_counting_ends_after_one_pass_begins_anew_in_another_fit_and_takes_one_process(make, data, trainer):
    model, examples = make(LitNGram), len(data.splits.train)
    for _ in range(2):
        run = trainer(max_epochs=3)
        run.fit(model, data)
        assert (run.current_epoch, int(model.net.counts.sum())) == (1, examples)
    model.trainer = pl.Trainer(devices=2, strategy="ddp", accelerator="cpu", logger=False, enable_checkpointing=False)
    with pytest.raises(ValueError, match="an n-gram model is counted by one process; give --trainer"):
        model.setup("fit")
    data.hparams["min_batches"] = 2
    with pytest.raises(ValueError, match="counts each name once; leave `min_batches` out"):
        trainer(max_epochs=1).fit(model, data)


@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but")
def test_counting_a_large_batch_takes_little_memory(make, trainer):
    """A list may have thousands of characters, and a training batch a million contexts."""
    model, run, rows = make(LitNGram), trainer(max_epochs=1, log_every_n_steps=1, limit_val_batches=0), []
    model.net.register_forward_pre_hook(lambda net, inputs: rows.append(len(inputs[0])))
    batches = [(context := torch.randint(4, (3000, 3)), context[:, 0])]
    run.fit(model, DataLoader(batches, batch_size=None))
    assert rows == [1024, 1024, 952]
    assert float(run.callback_metrics["loss/train"]) == pytest.approx(evaluate(model.net, batches).loss)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vocab_size": 3}, "vocab_size is 3, and the alphabet needs 4 ids; leave it out"),
        ({"warmup": math.nan}, "warmup is nan; give a share of the steps, between 0 and 1"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0; give a share of 0 or more, below 1"),
        ({"weight_decay": math.inf}, "weight_decay is inf; give a number of 0 or more"),
    ],
)
def test_arguments_outside_their_range_are_refused(arguments, message, make):
    with pytest.raises(ValueError, match=message):
        make(LitMLP, **arguments)


def test_a_second_mean_of_the_weights_is_refused(make, data, trainer):
    training = trainer(callbacks=[EMAWeightAveraging()], max_steps=1)
    with pytest.raises(ValueError, match="LitMixture already trains a mean of its weights; leave WeightAveraging out"):
        training.fit(make(LitMixture), data)


@kinds(*(kind for kind in LEARNED if kind is not LitMixture))  # it looks up n-grams on the CPU
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_a_training_asks_a_device_for_no_values(kind, label_smoothing, make, data, trainer):
    """A GPU would be waited for: tensors of the device "meta" have no values, so that asking for one raises."""
    strategy = SingleDeviceStrategy(torch.device("meta"), accelerator=CPUAccelerator())
    # at the start and the end of a training Lightning checks the device, reads lengths and copies the weights back
    vars(strategy).update(setup_environment=lambda: None, reduce=lambda *_, **__: 1, teardown=lambda: None)
    model = make(kind, label_smoothing=label_smoothing)
    options = {"accelerator": "auto", "strategy": strategy, "gradient_clip_val": 1.0, "log_every_n_steps": 10}
    trainer(max_steps=4, callbacks=[StepsPerExecution(4)], **options).fit(model, data)
    assert {weight.grad.device.type for weight in model.parameters() if weight.requires_grad} == {"meta"}
