"""The training losses, checkpoints and schedules of LitCharLM, and the bigram's picture."""

import math

import lightning.pytorch as pl
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from charlm.data.datamodule import NamesDataModule
from charlm.models.registry import LitCharLM
from charlm.models.windows import LitBigram, LitMLP

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


@pytest.mark.parametrize("change", [{"n_hidden": 5}, {"n_embd": 1, "lr": 1.0}, {"alphabet": "abcd"}])
def test_a_size_that_the_weights_do_not_have_cannot_be_set_on_loading(change, saved):
    _, file = saved(LitMLP)
    given = ", ".join(f"{key}={value!r}" for key, value in change.items())
    with pytest.raises(ValueError, match=rf"the weights in .*model\.ckpt do not fit {given}; leave sizes .* new model"):
        LitMLP.load_from_checkpoint(file, **change)


@pytest.mark.parametrize("make_device", [str, torch.device])
def test_loading_goes_to_the_device_asked_for_and_leaves_the_global_generator_alone(make_device, saved):
    _, file = saved(LitBigram)
    before = torch.get_rng_state()
    assert LitCharLM.load_from_checkpoint(file, map_location=make_device("meta")).net.W.is_meta
    assert LitCharLM.load_from_checkpoint(file).net.W.device.type == "cpu"
    assert torch.equal(torch.get_rng_state(), before)


def test_a_checkpoint_of_another_model_is_refused(saved):
    _, file = saved(LitBigram)
    with pytest.raises(ValueError, match=r"model\.ckpt holds a LitBigram, not a LitMLP; load it by charlm\.LitCharLM"):
        LitMLP.load_from_checkpoint(file)


def test_a_file_that_is_not_a_checkpoint_is_refused(tmp_path):
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
    assert all(key.startswith("net.") for key in content["state_dict"]), "metrics are not weights"


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


@pytest.mark.parametrize("end", ["max_steps", "max_epochs"])
def test_one_cycle_is_not_resumed_beyond_its_end(end, data, trainer, tmp_path):
    steps = {"max_steps": 1, "max_epochs": len(data.train_dataloader())}[end]
    lengths = [{"max_steps": 6, "max_epochs": -1}, {"max_steps": 9, "max_epochs": -1}]
    if end == "max_epochs":
        lengths = [{"max_epochs": 6, "max_steps": 10 * steps * 6}, {"max_epochs": 9}]
    first = trainer(**lengths[0])
    first.fit(make(LitMLP, schedule="one-cycle"), data)
    first.save_checkpoint(tmp_path / "first.ckpt")
    refused = rf"schedule ends at step {6 * steps}, and this training would go to step {9 * steps}; resume with"
    with pytest.raises(ValueError, match=refused):
        trainer(**lengths[1]).fit(make(LitMLP, schedule="one-cycle"), data, ckpt_path=tmp_path / "first.ckpt")


@pytest.mark.parametrize(("warmup", "steps"), [(0.1, 10), (0.5, 2)])
def test_a_warm_up_of_one_step_does_not_divide_by_zero(warmup, steps, data, trainer):
    rates = []

    class Look(pl.Callback):
        def on_train_batch_start(self, trainer, *_):
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    trainer(max_steps=steps, callbacks=[Look()]).fit(make(LitMLP, schedule="one-cycle", warmup=warmup, lr=1.0), data)
    assert len(rates) == steps
    assert rates[0] == pytest.approx(1 / 25, rel=1e-3)
    assert rates == [rates[0], *sorted(rates[1:], reverse=True)]


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
