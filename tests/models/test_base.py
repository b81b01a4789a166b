"""The training losses, checkpoints and schedules of LitCharLM, and the bigram's picture."""

import math

import lightning.pytorch as pl
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from charlm.callbacks import LRFinder
from charlm.models.registry import LitCharLM
from charlm.models.train_mean import StepMean
from charlm.models.windows import LitBigram, LitMLP


class Rates(pl.Callback):
    """Records the learning rate of every optimizer step."""

    def __init__(self):
        self.seen = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.seen.append(optimizer.param_groups[0]["lr"])


# the mean training loss


def test_the_mean_train_loss_is_of_all_steps_since_the_last_validation(make, data, trainer, tmp_path):
    """With few steps logged, resumed between two validations, and around a search; beside it are the steps' losses."""
    saver = pl.callbacks.ModelCheckpoint(tmp_path / "saved", filename="{step}", save_top_k=-1, every_n_train_steps=3)
    finder, means = LRFinder(num_steps=20, trial_steps=0, apply=False, at_epochs=[1]), {}
    callbacks = {"few": [saver], "searched": [finder]}
    every, resumed = {"all": 1}, {"on": tmp_path / "saved" / "step=3.ckpt"}
    for name in ("all", "few", "on", "searched"):
        logger = pl.loggers.TensorBoardLogger(tmp_path, name=name, default_hp_metric=False)
        given = {"max_steps": 5, "val_check_interval": 5, "check_val_every_n_epoch": None, "limit_val_batches": 1}
        given |= {"logger": logger, "callbacks": callbacks.get(name, []), "enable_checkpointing": name == "few"}
        given |= {"log_every_n_steps": every.get(name, 4), "limit_train_batches": 2}
        trainer(**given).fit(make(LitMLP), data, ckpt_path=resumed.get(name))
        events = EventAccumulator(logger.log_dir).Reload()
        means[name] = [(event.step, event.value) for event in events.Scalars("loss_mean/train")]
        if name == "all":
            losses, perplexities = (
                [event.value for event in events.Scalars(f"{name}/train")] for name in ("loss", "perplexity")
            )
    assert means["all"] == [(4, pytest.approx(sum(losses) / 5, rel=1e-6))]
    assert means["few"] == means["all"] == means["on"] == means["searched"]
    assert perplexities == pytest.approx([math.exp(loss) for loss in losses])


class Losses(pl.Callback):
    """What is known of the loss at the end of a validation, in both hooks."""

    def __init__(self):
        self.seen = []

    def on_validation_epoch_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            self.seen.append(trainer.callback_metrics["loss/val"].item())

    on_validation_end = on_validation_epoch_end


def test_callbacks_know_the_loss_of_a_validation_at_its_end(make, data, trainer):
    losses = Losses()
    given = {"max_steps": 4, "val_check_interval": 2, "check_val_every_n_epoch": None, "limit_val_batches": 1}
    trainer(**given, callbacks=[losses]).fit(make(LitMLP), data)
    first, also_first, second, also_second = losses.seen
    assert (first, second) == (also_first, also_second)
    assert first != second


def test_an_evaluation_and_a_sanity_check_leave_the_mean_train_loss_alone(make, data, trainer):
    """Three of five steps after the validation, then an evaluation, then a training that goes on with its check."""
    model, states = make(LitMLP), []
    given = {"val_check_interval": 2, "check_val_every_n_epoch": None, "limit_val_batches": 1, "logger": False}
    fitter = trainer(max_steps=3, **given)
    fitter.fit(model, data)
    left = model._train_means.since_validation.state()
    assert left[1] == 1
    (measured,) = fitter.validate(model, data, verbose=False)
    assert set(measured) == {"loss/val", "perplexity/val", "accuracy/val"}
    assert model._train_means.since_validation.state() == left
    start = pl.Callback()
    start.on_train_start = lambda *_: states.append(model._train_means.since_validation.state())
    fitter.callbacks.append(start)
    fitter.num_sanity_val_steps = 1
    fitter.fit_loop.epoch_loop.max_steps = 5
    fitter.fit(model, data)
    assert fitter.num_sanity_val_batches == [1]
    assert states == [left]


def test_a_mean_is_the_same_to_the_bit_wherever_its_state_was_saved():
    losses = torch.rand(50, dtype=torch.float64).unbind()
    whole, parts = StepMean(), StepMean()
    for loss in losses:
        whole.add(loss)
        parts.add(loss)
        parts.load(parts.state())
    assert parts.take() == whole.take()


# checkpoints


@pytest.fixture
def saved(make, data, trainer, tmp_path):
    """Train a model for two steps and save it; gives the model and the file."""

    def save(kind, **arguments):
        model = make(kind, **arguments)
        fitter = trainer(max_steps=2)
        fitter.fit(model, data)
        fitter.save_checkpoint(tmp_path / "model.ckpt")
        return model, tmp_path / "model.ckpt"

    return save


@pytest.mark.parametrize("kind", [LitBigram, LitMLP])
def test_a_checkpoint_loads_safely_and_comes_back_by_the_base_class_and_by_its_own(kind, saved):
    model, file = saved(kind, optimizer="AdamW", lr=0.5)
    content = torch.load(file, weights_only=True)
    assert content["hyper_parameters"] == dict(model.hparams)
    sizes = {"n_embd": 2, "n_hidden": 4, "block_size": 8} if kind is LitMLP else {}
    net_args = {**sizes, "vocab_size": 4, "init": "notebook"}
    entry = {"format": 1, "net": type(model.net).__name__, "net_args": net_args, "alphabet": "abc"}
    entry |= {"block_size": model.net.block_size, "parameters": sum(weight.numel() for weight in model.parameters())}
    assert content["charlm"] == entry | {"saved": content["charlm"]["saved"]}
    assert all(key.startswith("net.") for key in content["state_dict"]), "metrics are not weights"
    for loaded in (LitCharLM.load_from_checkpoint(file), kind.load_from_checkpoint(str(file))):
        assert type(loaded) is kind
        assert dict(loaded.hparams) == dict(model.hparams)
        weights = zip(model.state_dict().items(), loaded.state_dict().items(), strict=True)
        assert all(name == other and torch.equal(a, b) for (name, a), (other, b) in weights)


def test_a_rate_can_be_replaced_on_loading_and_a_size_cannot(saved):
    _, file = saved(LitMLP)
    loaded = LitMLP.load_from_checkpoint(file, lr=0.001)
    assert loaded.configure_optimizers().param_groups[0]["lr"] == 0.001
    for given, change in (("n_embd=1, lr=1.0", {"n_embd": 1, "lr": 1.0}), ("alphabet='abcd'", {"alphabet": "abcd"})):
        with pytest.raises(ValueError, match=rf"the weights in .*model\.ckpt do not fit {given}; leave sizes .* new"):
            LitMLP.load_from_checkpoint(file, **change)


def test_loading_goes_to_the_device_asked_for_and_leaves_the_global_generator_alone(saved):
    _, file = saved(LitBigram)
    before = torch.get_rng_state()
    assert LitCharLM.load_from_checkpoint(file, map_location="meta").net.W.is_meta
    assert LitCharLM.load_from_checkpoint(file).net.W.device.type == "cpu"
    assert torch.equal(torch.get_rng_state(), before)


def test_a_file_that_does_not_hold_the_model_is_refused(saved):
    _, file = saved(LitBigram)
    with pytest.raises(ValueError, match=r"model\.ckpt holds a LitBigram, not a LitMLP; load it by charlm\.LitCharLM"):
        LitMLP.load_from_checkpoint(file)


# schedules


def test_one_cycle_rises_to_lr_and_falls_to_nearly_nothing(make, data, trainer):
    """Cosine from lr / 25 to lr within the warm-up's steps, then to a ten-thousandth of where it began."""
    rates, model = Rates(), make(LitMLP, optimizer="AdamW", lr=0.5, schedule="one-cycle", warmup=0.25)
    trainer(max_steps=41, max_epochs=-1, callbacks=[rates]).fit(model, data)
    up = 0.25 * 41 - 1
    by_hand = [0.5 + (0.02 - 0.5) * (1 + math.cos(math.pi * step / up)) / 2 for step in range(10)]
    last = 0.02 / 10_000
    by_hand += [last + (0.5 - last) * (1 + math.cos(math.pi * (step - up) / (40 - up))) / 2 for step in range(10, 41)]
    assert rates.seen == pytest.approx(by_hand)


def test_one_cycle_ends_with_the_steps_of_an_accumulation_to_come(make, data, trainer):
    schedule = pl.callbacks.GradientAccumulationScheduler({0: 100, 2: 1})
    (fitted := trainer(max_epochs=3, callbacks=[schedule])).fit(make(LitMLP, schedule="one-cycle"), data)
    assert fitted.lr_scheduler_configs[0].scheduler.total_steps == fitted.global_step > 3


def test_one_cycle_needs_an_end(make, data, trainer):
    with pytest.raises(ValueError, match=r"needs to know the end of the training; give --trainer.max_steps"):
        trainer(max_epochs=-1).fit(make(LitMLP, schedule="one-cycle"), data)


@pytest.mark.parametrize("end", ["max_steps", "max_epochs"])
def test_one_cycle_is_not_resumed_beyond_its_end(end, make, data, trainer, tmp_path):
    steps = {"max_steps": 1, "max_epochs": len(data.train_dataloader())}[end]
    others = {"max_steps": {"max_epochs": -1}, "max_epochs": {}}[end]
    first = trainer(**{end: 6}, **others)
    first.fit(make(LitMLP, schedule="one-cycle"), data)
    first.save_checkpoint(tmp_path / "first.ckpt")
    refused = rf"schedule ends at step {6 * steps}, and this training would go to step {9 * steps}; resume with"
    with pytest.raises(ValueError, match=refused):
        trainer(**{end: 9}, **others).fit(make(LitMLP, schedule="one-cycle"), data, ckpt_path=tmp_path / "first.ckpt")


@pytest.mark.parametrize(("warmup", "steps"), [(0.1, 10), (0.5, 2)])
def test_a_warm_up_of_one_step_does_not_divide_by_zero(warmup, steps, make, data, trainer):
    rates, model = Rates(), make(LitMLP, schedule="one-cycle", warmup=warmup, lr=1.0)
    trainer(max_steps=steps, callbacks=[rates]).fit(model, data)
    assert len(rates.seen) == steps
    assert rates.seen[0] == pytest.approx(1 / 25, rel=1e-3)
    assert rates.seen == [rates.seen[0], *sorted(rates.seen[1:], reverse=True)]


def test_the_bigrams_picture_has_what_was_learnt_as_colours_and_the_counts_as_numbers(make, data, trainer):
    model = make(LitBigram)
    trainer(max_steps=1).fit(model, data)
    (axes, _) = model.figures()["bigram"].axes
    context, target = data.splits.train.tensors()
    pairs = [[int(((context[:, -1] == i) & (target == j)).sum()) for j in range(4)] for i in range(4)]
    assert [text.get_text().split("\n")[1] for text in axes.texts] == [str(n) for row in pairs for n in row]
    learned = model.net.W.detach().softmax(1)
    torch.testing.assert_close(torch.as_tensor(axes.images[0].get_array()).float(), learned)
