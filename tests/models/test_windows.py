import math

import lightning.pytorch as pl
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.nn import functional as F

from charlm.data.batches import BatchLoader
from charlm.data.contexts import build_contexts
from charlm.data.datamodule import NamesDataModule
from charlm.inference.bigram_table import bigram_heatmap, character_labels
from charlm.models.registry import MODELS, LitCharLM
from charlm.models.windows import LitBigram, LitMLP
from charlm.nets.bigram import Bigram
from charlm.nets.loss import evaluate
from charlm.nets.mlp import MLP
from charlm.runs.checkpoint import load_checkpoint
from charlm.tokenizer import CharTokenizer

ALPHABET = "abc"
SMALL = {"LitBigram": {}, "LitMLP": {"n_embd": 2, "n_hidden": 4, "block_size": 2}}
NAMES = "abc bca cab aa bb cc abab bcbc caca ab ba ac ca abba cbbc a".replace(" ", "\n")

pytestmark = pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks used to create the")


def make(kind, **arguments):
    """A model with random weights, so that no loss is the same by chance."""
    torch.manual_seed(1)
    return kind(alphabet=ALPHABET, **{**SMALL[kind.__name__], "init": "notebook", **arguments})


@pytest.fixture
def data(tmp_path):
    (tmp_path / "names.txt").write_text(NAMES)
    path = str(tmp_path / "names.txt")
    return NamesDataModule(path, ALPHABET, block_size=2, batch_size=4, split=(0.5, 0.3, 0.2), eval_batch_size=5)


def by_hand(model, contexts):
    """Mean nats, perplexity and accuracy over all examples at once, in double precision."""
    context, target = contexts.tensors()
    with torch.no_grad():
        logits = model.net(context).double()
    surprise = -logits.log_softmax(1)[torch.arange(len(target)), target]
    accuracy = (logits.argmax(1) == target).double().mean().item()
    return surprise.mean().item(), math.exp(surprise.mean().item()), accuracy


@pytest.mark.parametrize("kind", [LitBigram, LitMLP])
@pytest.mark.parametrize(("split", "run"), [("val", "validate"), ("test", "test")])
def test_an_evaluation_is_the_exact_mean_over_unequal_batches(kind, split, run, data, trainer):
    model = make(kind)
    (metrics,) = getattr(trainer(limit_val_batches=1.0), run)(model, data, verbose=False)
    contexts = getattr(data.splits, split)
    assert len(contexts) % 5 != 0, "the last batch is to be a smaller one"
    expected = dict(zip(("loss", "perplexity", "accuracy"), by_hand(model, contexts), strict=True))
    assert metrics == {f"{name}/{split}": pytest.approx(value, rel=1e-5) for name, value in expected.items()}


def test_the_mean_of_the_batches_means_would_be_another_number(data):
    """So that the test above can fail."""
    model = make(LitBigram)
    batches = list(BatchLoader(data.splits.val, 5))
    means = [F.cross_entropy(model.net(context), target).item() for context, target in batches]
    assert sum(means) / len(means) != pytest.approx(by_hand(model, data.splits.val)[0], rel=1e-3)


@pytest.mark.parametrize("kind", [LitBigram, LitMLP])
def test_what_is_logged_has_the_tags_of_the_design(kind, data, trainer, tmp_path):
    logger = pl.loggers.TensorBoardLogger(tmp_path, default_hp_metric=False)
    fitter = trainer(max_epochs=1, logger=logger, limit_val_batches=1.0, num_sanity_val_steps=0)
    fitter.fit(make(kind), data)
    fitter.test(fitter.model, data, verbose=False)
    events = EventAccumulator(logger.log_dir).Reload()
    train = {"loss/train", "loss_mean/train", "perplexity/train"}
    evaluation = {f"{name}/{split}" for name in ("loss", "perplexity", "accuracy") for split in ("val", "test")}
    assert set(events.Tags()["scalars"]) == train | evaluation | {"epoch"}
    steps = len(data.train_dataloader())
    assert [event.step for event in events.Scalars("loss/train")] == list(range(steps))
    for event, loss in zip(events.Scalars("perplexity/train"), events.Scalars("loss/train"), strict=True):
        assert event.value == pytest.approx(math.exp(loss.value), rel=1e-5)


def test_the_mean_train_loss_is_of_all_steps_since_the_last_validation(data, trainer, tmp_path):
    """With few steps logged, and taken up from a checkpoint between two validations."""
    saver = pl.callbacks.ModelCheckpoint(tmp_path / "saved", filename="{step}", save_top_k=-1, every_n_train_steps=3)
    means = {}
    for name, every, resumed in (("all", 1, None), ("few", 4, None), ("on", 4, tmp_path / "saved" / "step=3.ckpt")):
        logger = pl.loggers.TensorBoardLogger(tmp_path, name=name, default_hp_metric=False)
        callbacks = [saver] if name == "few" else []
        given = {"max_steps": 5, "val_check_interval": 5, "check_val_every_n_epoch": None, "limit_val_batches": 1}
        data.hparams["batch_size"] = 4
        given |= {"logger": logger, "callbacks": callbacks, "enable_checkpointing": bool(callbacks)}
        fitter = trainer(**given, log_every_n_steps=every)
        fitter.fit(make(LitMLP), data, ckpt_path=resumed)
        events = EventAccumulator(logger.log_dir).Reload()
        means[name] = [(event.step, event.value) for event in events.Scalars("loss_mean/train")]
        if every == 1:
            losses = [event.value for event in events.Scalars("loss/train")]
    assert [step for step, _ in means["all"]] == [4]
    assert means["all"][0][1] == pytest.approx(sum(losses) / 5, rel=1e-6)
    assert means["few"] == means["all"] == means["on"]


def test_an_evaluation_and_a_sanity_check_leave_the_mean_train_loss_alone(data, trainer):
    """Three of five steps after the validation, then an evaluation, then a training that goes on with its check."""
    model = make(LitMLP)
    data.hparams["batch_size"] = 4
    given = {"val_check_interval": 2, "check_val_every_n_epoch": None, "limit_val_batches": 1, "logger": False}
    fitter = trainer(max_steps=3, **given)
    fitter.fit(model, data)
    left = model._train_means.since_validation.state()
    assert left[1] == 1
    (measured,) = fitter.validate(model, data, verbose=False)
    assert set(measured) == {"loss/val", "perplexity/val", "accuracy/val"}
    assert model._train_means.since_validation.state() == left

    class Start(pl.Callback):
        def on_train_start(self, trainer, pl_module):
            assert trainer.num_sanity_val_batches == [1]
            self.state = pl_module._train_means.since_validation.state()

    start = Start()
    fitter.callbacks.append(start)
    fitter.num_sanity_val_steps = 1
    fitter.fit_loop.epoch_loop.max_steps = 5
    fitter.fit(model, data)
    assert start.state == left


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
    expected = start - 2.0 * (slope + 2 * 0.5 * start / 16)
    torch.testing.assert_close(model.net.W.detach(), expected.detach())


def test_the_mlp_has_no_penalty():
    assert make(LitMLP).penalty() is None


@pytest.mark.parametrize("kind", [LitBigram, LitMLP])
@pytest.mark.parametrize(("name", "optimizer"), [("SGD", torch.optim.SGD), ("AdamW", torch.optim.AdamW)])
def test_the_optimizer_is_the_one_that_was_asked_for(name, optimizer, kind):
    model = make(kind, optimizer=name, lr=0.25, weight_decay=0.125)
    made = model.configure_optimizers()
    assert type(made) is optimizer
    decaying = {"LitBigram": {"W"}, "LitMLP": {"hidden.weight", "output.weight"}}[kind.__name__]
    weights = dict(model.net.named_parameters())
    for group in made.param_groups:
        assert (group["lr"], group.get("momentum", 0)) == (0.25, 0)
        names = {name for name, weight in weights.items() if any(weight is held for held in group["params"])}
        assert names == (decaying if group["weight_decay"] else set(weights) - decaying)
        assert group["weight_decay"] in (0.125, 0)
    assert sum(len(group["params"]) for group in made.param_groups) == len(weights)


@pytest.mark.parametrize("kind", [LitBigram, LitMLP])
def test_without_decay_there_is_one_group_of_all_weights(kind):
    (group,) = make(kind, optimizer="AdamW").configure_optimizers().param_groups
    assert len(group["params"]) == len(list(make(kind).net.parameters()))
    assert group["weight_decay"] == 0


def test_the_defaults_are_those_of_the_design():
    common = {"alphabet": "abcdefghijklmnopqrstuvwxyz", "vocab_size": None, "init": "default", "optimizer": "SGD"}
    common |= {"weight_decay": 0.0, "schedule": "constant", "warmup": 0.1, "label_smoothing": 0.0}
    assert dict(LitBigram().hparams) == {**common, "weight_penalty": 0.01, "lr": 50.0}
    assert dict(LitMLP().hparams) == {**common, "block_size": 3, "n_embd": 10, "n_hidden": 200, "lr": 0.1}


@pytest.mark.parametrize(("kind", "net"), [(LitBigram, Bigram), (LitMLP, MLP)])
def test_a_model_is_its_net_with_the_arguments_given(kind, net):
    model = make(kind)
    assert type(model.net) is net
    assert MODELS[net.__name__] is kind
    context = torch.tensor([[0, 1], [2, 3]])
    assert torch.equal(model(context), model.net(context))
    assert model(context).shape == (2, 4)
    assert make(kind, vocab_size=27)(context).shape == (2, 27)
    assert model.embedding_labels == [".", "a", "b", "c"]
    assert model.tokenizer.vocab_size == 4


def test_the_base_class_is_no_model():
    with pytest.raises(TypeError, match="abstract"):
        LitCharLM(ALPHABET)


def test_a_prediction_says_what_the_net_makes_of_every_example(data, trainer):
    model = make(LitMLP)
    batches = trainer().predict(model, data)
    context, target = data.splits.test.tensors()
    assert torch.equal(torch.cat([batch["context"] for batch in batches]), context)
    assert torch.equal(torch.cat([batch["target"] for batch in batches]), target)
    surprise = torch.cat([batch["nats"] for batch in batches])
    assert surprise.mean().item() == pytest.approx(by_hand(model, data.splits.test)[0], rel=1e-5)
    logits = model.net(context)
    assert torch.equal(torch.cat([batch["likeliest"] for batch in batches]), logits.argmax(1))


# checkpoints


@pytest.fixture
def saved(data, trainer, tmp_path):
    """Train a model for two steps and save it; gives the model and the file."""

    def save(kind, **arguments):
        model = make(kind, **arguments)
        fitter = trainer(max_steps=2)
        fitter.fit(model, data)
        fitter.save_checkpoint(tmp_path / "model.ckpt")
        return model, tmp_path / "model.ckpt"

    return save


@pytest.mark.parametrize("kind", [LitBigram, LitMLP])
def test_a_checkpoint_comes_back_by_the_base_class_and_by_its_own(kind, saved):
    model, file = saved(kind, optimizer="AdamW", lr=0.5)
    for loaded in (LitCharLM.load_from_checkpoint(file), kind.load_from_checkpoint(str(file))):
        assert type(loaded) is kind
        assert dict(loaded.hparams) == dict(model.hparams)
        weights = zip(model.state_dict().items(), loaded.state_dict().items(), strict=True)
        assert all(name == other and torch.equal(a, b) for (name, a), (other, b) in weights)


def test_a_hyperparameter_can_be_replaced_on_loading(saved):
    _, file = saved(LitMLP)
    loaded = LitMLP.load_from_checkpoint(file, lr=0.001)
    assert loaded.configure_optimizers().param_groups[0]["lr"] == 0.001
    assert loaded.hparams["n_hidden"] == 4


@pytest.mark.parametrize("change", [{"n_hidden": 5}, {"block_size": 3}, {"n_embd": 1, "lr": 1.0}, {"alphabet": "abcd"}])
def test_a_size_that_the_weights_do_not_have_cannot_be_set_on_loading(change, saved):
    _, file = saved(LitMLP)
    given = ", ".join(f"{key}={value!r}" for key, value in change.items())
    with pytest.raises(
        ValueError, match=rf"^the weights in .*model\.ckpt do not fit {given}; leave sizes .* new model$"
    ):
        LitMLP.load_from_checkpoint(file, **change)


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("make_device", [str, torch.device])
def test_the_model_goes_to_the_device_asked_for(device, make_device, saved):
    _, file = saved(LitBigram)
    assert LitCharLM.load_from_checkpoint(file, map_location=make_device(device)).net.W.device.type == device
    assert LitCharLM.load_from_checkpoint(file).net.W.device.type == "cpu"


@pytest.mark.parametrize("kind", [LitBigram, LitMLP])
def test_loading_leaves_the_global_generator_alone(kind, saved):
    _, file = saved(kind)
    before = torch.get_rng_state()
    LitCharLM.load_from_checkpoint(file)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_checkpoint_of_another_model_is_refused(saved):
    _, file = saved(LitBigram)
    with pytest.raises(ValueError, match=r"model\.ckpt holds a LitBigram, not a LitMLP; load it by charlm\.LitCharLM"):
        LitMLP.load_from_checkpoint(file)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "model.ckpt").write_text("hello")
    with pytest.raises(ValueError, match="is some other file, not a checkpoint"):
        LitCharLM.load_from_checkpoint(tmp_path / "model.ckpt")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        LitCharLM.load_from_checkpoint(tmp_path / "nothing.ckpt")


def plain(value):
    """Whether a value is made of tensors, numbers, texts, lists and dictionaries only."""
    if isinstance(value, dict):
        return all(isinstance(key, str | int) and plain(part) for key, part in value.items())
    if isinstance(value, list | tuple):
        return all(map(plain, value))
    return value is None or type(value) in (int, float, str, bool, torch.Tensor)


@pytest.mark.parametrize("kind", [LitBigram, LitMLP])
def test_a_checkpoint_is_plain_and_loads_safely(kind, saved):
    model, file = saved(kind, optimizer="AdamW")
    content = torch.load(file, weights_only=True)
    assert {part for part in content if not plain(content[part])} == set()
    assert content["hyper_parameters"] == dict(model.hparams)
    net_args = {**SMALL[kind.__name__], "vocab_size": 4, "init": "notebook"}
    name = type(model.net).__name__
    assert content["charlm"] == {"format": 1, "net": name, "net_args": net_args, "alphabet": ALPHABET}
    assert all(key.startswith("net.") for key in content["state_dict"]), "metrics are no weights"


@pytest.mark.parametrize("kind", [LitBigram, LitMLP])
def test_a_checkpoint_is_enough_to_score(kind, saved, data):
    model, file = saved(kind)
    loaded = load_checkpoint(file)
    assert loaded.step == 2
    assert (
        evaluate(loaded.net, BatchLoader(data.splits.test, 3)).loss
        == evaluate(model.net, BatchLoader(data.splits.test, 3)).loss
    )


@pytest.mark.parametrize("kind", [LitBigram, LitMLP])
def test_a_resumed_training_is_the_unbroken_one(kind, data, trainer, tmp_path):
    """The optimizer's moments and the order of the batches come from the checkpoint."""
    unbroken, resumed = make(kind, optimizer="AdamW", lr=0.1), make(kind, optimizer="AdamW", lr=0.1, init="default")
    keep = pl.callbacks.ModelCheckpoint(tmp_path / "kept", "{step}", every_n_train_steps=2, save_top_k=-1)
    trainer(max_steps=5, callbacks=[keep], enable_checkpointing=True).fit(unbroken, data)
    trainer(max_steps=5).fit(resumed, data, ckpt_path=tmp_path / "kept" / "step=2.ckpt", weights_only=True)
    weights = zip(unbroken.state_dict().values(), resumed.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)


@pytest.mark.parametrize("kind", [LitBigram, LitMLP])
def test_the_gradient_of_what_is_minimised_is_right(kind):
    """Compared with finite differences in double precision, the penalty included."""
    model = make(kind).double()
    context, target = build_contexts(["abc", "ba", "c"], CharTokenizer(ALPHABET), 2)
    names = [name for name, _ in model.net.named_parameters()]

    def minimised(*weights):
        logits = torch.func.functional_call(model.net, dict(zip(names, weights, strict=True)), (context,))
        penalty = 0.01 * weights[0].square().mean() if kind is LitBigram else 0.0
        return F.cross_entropy(logits, target) + penalty

    weights = [table.detach().clone().requires_grad_() for table in model.net.parameters()]
    assert torch.autograd.gradcheck(minimised, weights)
    loss = F.cross_entropy(model(context), target) + (0 if model.penalty() is None else model.penalty())
    loss.backward()
    slopes = torch.autograd.grad(minimised(*weights), weights)
    for table, slope in zip(model.net.parameters(), slopes, strict=True):
        torch.testing.assert_close(table.grad, slope)


def test_one_cycle_rises_to_lr_and_falls_to_nearly_nothing(data, trainer):
    """Cosine from lr / 25 to lr within the warm-up's steps, then to a ten-thousandth of where it began."""
    rates = []

    class Rates(pl.Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            rates.append(optimizer.param_groups[0]["lr"])

    model = make(LitMLP, optimizer="AdamW", lr=0.5, schedule="one-cycle", warmup=0.25)
    trainer(max_steps=41, max_epochs=-1, callbacks=[Rates()]).fit(model, data)
    up = 0.25 * 41 - 1
    by_hand = [0.5 + (0.02 - 0.5) * (1 + math.cos(math.pi * step / up)) / 2 for step in range(10)]
    assert rates[:10] == pytest.approx(by_hand)
    last = 0.02 / 10_000
    down = [last + (0.5 - last) * (1 + math.cos(math.pi * (step - up) / (40 - up))) / 2 for step in range(10, 41)]
    assert rates[10:] == pytest.approx(down)


def test_one_cycle_needs_an_end(data, trainer):
    model = make(LitMLP, schedule="one-cycle")
    with pytest.raises(ValueError, match=r"needs to know the end of the training; give trainer.max_steps"):
        trainer(max_epochs=-1).fit(model, data)


def test_one_cycle_is_not_taken_up_beyond_its_end(data, trainer, tmp_path):
    model = make(LitMLP, schedule="one-cycle")
    first = trainer(max_steps=6, max_epochs=-1)
    first.fit(model, data)
    first.save_checkpoint(tmp_path / "six.ckpt")
    refused = r"one-cycle schedule ends at step 6, and this training would go to step 9; resume with .*max_steps 6, or"
    with pytest.raises(ValueError, match=refused):
        trainer(max_steps=9, max_epochs=-1).fit(
            make(LitMLP, schedule="one-cycle"), data, ckpt_path=tmp_path / "six.ckpt"
        )


def test_nor_where_the_end_is_given_in_epochs(data, trainer, tmp_path):
    """And a new training may end by its epochs before its max_steps."""
    per_epoch = len(data.train_dataloader())
    first = trainer(max_epochs=1, max_steps=10 * per_epoch)
    first.fit(make(LitMLP, schedule="one-cycle"), data)
    assert first.global_step == per_epoch
    first.save_checkpoint(tmp_path / "one.ckpt")
    refused = rf"ends at step {per_epoch}, and this training would go to step {2 * per_epoch}"
    with pytest.raises(ValueError, match=refused):
        trainer(max_epochs=2).fit(make(LitMLP, schedule="one-cycle"), data, ckpt_path=tmp_path / "one.ckpt")


@pytest.mark.parametrize(("warmup", "steps"), [(0.1, 10), (0.05, 20), (0.2, 5), (0.5, 2)])
def test_a_warm_up_of_one_step_is_no_division_by_zero(warmup, steps, data, trainer):
    rates = []

    class Look(pl.Callback):
        def on_train_batch_start(self, trainer, *_):
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    trainer(max_steps=steps, callbacks=[Look()]).fit(make(LitMLP, schedule="one-cycle", warmup=warmup, lr=1.0), data)
    assert len(rates) == steps
    assert rates[0] == pytest.approx(1 / 25, rel=1e-3)
    assert rates == [rates[0], *sorted(rates[1:], reverse=True)]


def test_mixed_precision_and_clipping_go_together(data, trainer):
    model = make(LitMLP, optimizer="AdamW")
    before = [weight.clone() for weight in model.parameters()]
    trainer(max_steps=2, precision="bf16-mixed", gradient_clip_val=1.0).fit(model, data)
    assert not any(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_fewer_ids_than_the_alphabet_has_are_refused():
    with pytest.raises(ValueError, match="vocab_size is 3, and the alphabet needs 4 ids; leave it out"):
        make(LitMLP, vocab_size=3)


@pytest.mark.parametrize("warmup", [0, 1, -0.1, math.nan])
def test_a_warm_up_that_is_no_share_is_refused(warmup):
    with pytest.raises(ValueError, match=r"warmup is .*; give a share of the steps, between 0 and 1"):
        make(LitMLP, warmup=warmup)


@pytest.mark.parametrize(
    ("count", "shown"),
    [(9_999, "9999"), (10_000, "10k"), (999_999, "1000k"), (12_345_678, "12M"), (10**10, "10G")],
)
def test_a_large_count_fits_into_its_cell_beside_the_colour_of_its_share(count, shown):
    shares = torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    counts = torch.full((2, 2), count)
    figure = bigram_heatmap([("counts", shares)], character_labels("a"), cell_text=True, cell_numbers=[counts])
    assert figure.axes[0].texts[1].get_text() == f".a\n{shown}"
    assert figure.axes[0].images[0].get_clim() == (0, 1)


def test_a_character_that_would_not_show_is_labelled_by_its_escape():
    assert character_labels("a \u2028é") == [".", "a", "␣", "\\u2028", "é"]


@pytest.mark.parametrize("size", [39, 40])
def test_the_cells_of_a_large_alphabet_have_no_text(size):
    model = LitBigram(alphabet="".join(chr(0x100 + i) for i in range(size)))
    model.trainer = pl.Trainer(accelerator="cpu", logger=False, barebones=True)
    assert len(model.figures()["bigram"].axes[0].texts) == (1600 if size == 39 else 0)


def test_the_bigrams_picture_has_what_was_learnt_as_colours_and_the_counts_as_numbers(data, trainer):
    model = make(LitBigram)
    trainer(max_steps=1).fit(model, data)
    (axes, _) = model.figures()["bigram"].axes
    context, target = data.splits.train.tensors()
    pairs = [[int(((context[:, -1] == i) & (target == j)).sum()) for j in range(4)] for i in range(4)]
    assert [text.get_text().split("\n")[1] for text in axes.texts] == [str(n) for row in pairs for n in row]
    learnt = model.net.W.detach().softmax(1)
    torch.testing.assert_close(torch.as_tensor(axes.images[0].get_array()).float(), learnt)
