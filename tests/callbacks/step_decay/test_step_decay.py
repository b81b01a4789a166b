import math
import warnings

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import (
    GradientAccumulationScheduler,
    LearningRateMonitor,
    ModelCheckpoint,
    StochasticWeightAveraging,
)
from lightning.pytorch.demos.boring_classes import BoringModel, RandomDataset, RandomIterableDataset
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader

from charlm.callbacks import LRFinder, StepDecay, StepsPerExecution
from charlm.callbacks.lr_finder import written
from charlm.callbacks.step_decay.milestones import decay_factor
from charlm.callbacks.step_decay.table import first_step


class RecordingSGD(torch.optim.SGD):
    """Records the rates that each step used, one number per group."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.used = []

    def step(self, closure=None):
        loss = super().step(closure)
        self.used.append([float(group["lr"]) for group in self.param_groups])
        return loss


class Model(BoringModel):
    """A linear layer, 5 batches an epoch, and the optimizers that `make_optimizers` returns."""

    def __init__(self, make_optimizers=lambda parts: RecordingSGD(parts[0].parameters(), lr=0.1), batches=5):
        super().__init__()
        self.other = torch.nn.Linear(32, 2)
        self.make_optimizers, self.batches = make_optimizers, batches

    def training_step(self, batch, batch_idx):
        loss = self.step(batch)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return self.make_optimizers((self.layer, self.other))

    def train_dataloader(self):
        return DataLoader(RandomDataset(32, self.batches))

    def rates(self, optimizer=0):
        """The rates that the first group's steps used."""
        return [used[0] for used in self.trainer.optimizers[optimizer].used]


class Gan(Model):
    """Manual optimization: per batch two steps of the critic, and one of the generator at every other batch."""

    def __init__(self):
        super().__init__(lambda parts: [RecordingSGD(part.parameters(), lr=0.1) for part in parts])
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        critic, generator = self.optimizers()
        for optimizer, part in [(critic, self.layer)] * 2 + [(generator, self.other)] * (batch_idx % 2):
            optimizer.zero_grad()
            self.manual_backward(part(batch).square().mean())
            optimizer.step()


class AtStep(Callback):
    """Calls `action` at the start of the batch of optimizer step `step`."""

    def __init__(self, step, action):
        self.step, self.action = step, action

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.step:
            self.action(trainer)


def logged(directory, tag):
    """(step, value) of a scalar in TensorBoard's files."""
    events = EventAccumulator(str(directory)).Reload()
    return [(event.step, pytest.approx(event.value)) for event in events.Scalars(tag)]


@pytest.mark.parametrize(
    "length", [{"max_epochs": 2}, {"max_steps": 10}, {"max_epochs": 4, "accumulate_grad_batches": 2, "max_steps": 10}]
)
def test_fractions_are_of_the_whole_training(trainer, length):
    """There are 10 steps; 0.7 of them is 7, though 0.7 * 10 is a little more in floating point."""
    model = Model()
    trainer(StepDecay([0.3, 0.7], gamma=0.5, unit="fraction"), **length).fit(model)
    assert model.rates() == [0.1] * 3 + [0.05] * 4 + [0.025] * 3


@pytest.mark.parametrize(("schedule", "steps"), [({0: 2, 2: 1}, 3 + 3 + 5 + 5), ({0: 1, 1: 4}, 5 + 2 + 2 + 2)])
def test_fractions_count_the_steps_of_the_accumulation_to_come(trainer, schedule, steps):
    model, decay = Model(), StepDecay([0.5], gamma=0.5, unit="fraction")
    trainer(GradientAccumulationScheduler(schedule), decay, max_epochs=4).fit(model)
    half = math.ceil(steps / 2)
    assert model.rates() == [0.1] * half + [0.05] * (steps - half)


class Endless(Model):
    def train_dataloader(self):
        return DataLoader(RandomIterableDataset(32, 4))


@pytest.mark.parametrize(("model", "length"), [(Endless, {"max_epochs": 2}), (Model, {"max_epochs": -1})])
def test_fractions_need_a_known_length(trainer, model, length):
    with pytest.raises(ValueError, match="length is unknown; set max_steps, or max_epochs"):
        trainer(StepDecay([0.5], unit="fraction"), **length).fit(model())
    trainer(StepDecay([0.5], unit="fraction", gamma=0.5), max_steps=4).fit(known := model())
    assert known.rates() == [0.1, 0.1, 0.05, 0.05]


def test_a_group_that_joins_late_starts_with_the_rate_it_comes_with(trainer):
    def join(trainer):
        trainer.optimizers[0].add_param_group({"params": trainer.lightning_module.other.parameters(), "lr": 0.02})

    model = Model()
    trainer(AtStep(2, join), StepDecay([2, 3], gamma=0.5), max_epochs=1).fit(model)
    assert model.trainer.optimizers[0].used == [[0.1], [0.1], [0.05, 0.02], [0.025, 0.01], [0.025, 0.01]]


def test_a_tensor_rate_is_filled_in_place(trainer):
    rate = torch.tensor(0.5)
    model = Model(lambda parts: RecordingSGD(parts[0].parameters(), lr=rate), batches=2)
    trainer(StepDecay([1], gamma=0.5), max_epochs=1).fit(model)
    assert model.trainer.optimizers[0].param_groups[0]["lr"] is rate
    assert model.rates() == [0.5, 0.25]


def test_epochs_and_fractions_under_manual_optimization(trainer):
    epochs, fractions, steps = Gan(), Gan(), Gan()
    trainer(StepDecay([1], gamma=0.5, unit="epoch"), max_epochs=2).fit(epochs)
    assert (epochs.rates(0), epochs.rates(1)) == ([0.1] * 10 + [0.05] * 10, [0.1] * 2 + [0.05] * 2)
    trainer(StepDecay([0.3], gamma=0.5, unit="fraction"), max_epochs=2).fit(fractions)  # from batch 3 of 10 on
    assert (fractions.rates(0), fractions.rates(1)) == ([0.1] * 6 + [0.05] * 14, [0.1] + [0.05] * 3)
    trainer(StepDecay([0.5], gamma=0.5, unit="fraction"), max_steps=12).fit(steps)  # from Lightning's step 6 on
    assert (steps.rates(0), steps.rates(1)) == ([0.1] * 5 + [0.05] * 5, [0.1, 0.05])


class Bare(Model):
    """Manual optimization without Lightning's wrapper, so that Lightning counts no step."""

    automatic_optimization = False

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers(use_pl_optimizer=False)
        optimizer.zero_grad()
        self.manual_backward(self.layer(batch).square().mean())
        optimizer.step()


@pytest.mark.parametrize("unit", ["step", "epoch"])
def test_with_a_bare_optimizer_epochs_count_and_steps_do_not_which_one_warning_says(trainer, unit):
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        trainer(StepDecay([1], gamma=0.5, unit=unit), max_epochs=3).fit(model := Bare(batches=2))
    said = [str(warning.message) for warning in warned if "StepDecay" in str(warning.message)]
    assert len(said) == (unit == "step")
    assert all("has counted no optimizer step in a whole epoch" in each for each in said)
    assert model.rates() == [0.1] * 2 + ([0.1] if unit == "step" else [0.05]) * 4


def saved_at(tmp_path, step):
    return ModelCheckpoint(tmp_path / "saved", "{step}", every_n_train_steps=step, save_top_k=-1)


@pytest.fixture
def unbroken_and_rest(trainer, tmp_path):
    """Trains two models: one without a break, and one from a checkpoint of the first training."""

    def train(decay, step, later=None, model=Model, rest=None, **options):
        first, second = model(), (rest or model)()
        saver = saved_at(tmp_path, step)
        trainer(*([decay] if decay else []), saver, enable_checkpointing=True, **{"max_epochs": 2} | options).fit(first)
        last = {"max_epochs": 2} | options | {name: value for name, value in (later or {}).items() if name != "decay"}
        resume = trainer((later or {}).get("decay", decay), **last)
        resume.fit(second, ckpt_path=tmp_path / "saved" / f"step={step}.ckpt")
        return first, second

    return train


@pytest.mark.parametrize(
    ("decay", "step", "accumulated", "rates"),
    [  # from a checkpoint inside an epoch, at the end of one, and after a milestone
        (StepDecay([4, 7], gamma=0.5), 3, 1, [0.1] * 4 + [0.05] * 3 + [0.025] * 3),
        (StepDecay([4, 7], gamma=0.5), 7, 1, [0.1] * 4 + [0.05] * 3 + [0.025] * 3),
        (StepDecay([3, 5], gamma=0.5), 2, 2, [0.1] * 3 + [0.05] * 2 + [0.025]),  # windows of 2 + 2 + 1 batches
        (StepDecay([1], gamma=0.5, unit="epoch"), 3, 1, [0.1] * 5 + [0.05] * 5),
        (StepDecay([1], gamma=0.5, unit="epoch"), 5, 1, [0.1] * 5 + [0.05] * 5),
        (StepDecay([0.8], gamma=0.5, unit="fraction"), 9, 1, [0.1] * 8 + [0.05] * 2),
        (StepDecay([0.8], gamma=0.5, unit="fraction"), 5, 1, [0.1] * 8 + [0.05] * 2),
    ],
)
def test_a_resumed_run_stays_on_its_curve_as_does_one_with_many_steps_an_execution(
    unbroken_and_rest, trainer, decay, step, accumulated, rates
):
    """The same callback serves all trainings. Warnings are errors here."""
    unbroken, rest = unbroken_and_rest(decay, step, accumulate_grad_batches=accumulated)
    assert unbroken.rates() == rates
    assert rest.rates() == rates[step:]
    many = Model()
    trainer(decay, StepsPerExecution(4), max_epochs=2, accumulate_grad_batches=accumulated).fit(many)
    assert many.rates() == rates


def test_new_milestones_are_followed_with_a_warning_that_names_both(unbroken_and_rest):
    with pytest.warns(UserWarning, match=r"new milestones=\[6\], gamma=0.1, .* has milestones=\[2\], gamma=0.5"):
        _, rest = unbroken_and_rest(StepDecay([2], gamma=0.5), 4, {"decay": StepDecay([6])})
    assert rest.rates() == pytest.approx([0.1] * 2 + [0.01] * 4)  # the base is the first run's, not the decayed 0.05


def test_fractions_of_another_length_mean_other_steps_and_warn(unbroken_and_rest):
    """After 4 of 10 steps, of which there will be 20: what has dropped stays low, and the drop at a half is later."""
    with pytest.warns(UserWarning, match="40% was done in the checkpoint, which is 20% now"):
        _, rest = unbroken_and_rest(StepDecay([1 / 3, 1 / 2], gamma=0.5, unit="fraction"), 4, {"max_epochs": 4})
    assert rest.rates() == [0.05] * 6 + [0.025] * 10


@pytest.mark.parametrize("scheduled", [False, True])
def test_it_can_join_a_run_that_began_without_it(unbroken_and_rest, scheduled):
    """The base is the rate that the run began with, also if a scheduler has lowered it since."""

    def decayed_by_ten(parts):
        optimizer = RecordingSGD(parts[0].parameters(), lr=0.1)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)] if scheduled else []

    later = {"decay": StepDecay([2, 7], gamma=0.5)}
    _, rest = unbroken_and_rest(None, 5, later, lambda: Model(decayed_by_ten), Model)
    assert rest.rates() == [0.05] * 2 + [0.025] * 3


@pytest.mark.parametrize(
    ("counted", "critic", "generator"),
    [(True, [0.05] * 2 + [0.025] * 8, [0.1, 0.05]), (False, [0.05] * 6 + [0.025] * 4, [0.05, 0.05])],
)
def test_a_resumed_manual_run_counts_each_optimizers_steps_on(trainer, tmp_path, counted, critic, generator):
    """After 10 and 2 steps; a run without StepDecay until then is taken to have done 6 and 6."""
    decay = StepDecay([3, 12], gamma=0.5)
    first, rest = trainer(*[decay] * counted, max_epochs=1), Gan()
    first.fit(Gan())
    first.save_checkpoint(tmp_path / "saved.ckpt")
    trainer(decay, max_epochs=2).fit(rest, ckpt_path=tmp_path / "saved.ckpt")
    assert (rest.rates(0), rest.rates(1)) == (critic, generator)


class Learner(Model):
    """Has something to learn, so that a sweep finds a rate; its own is 0.001."""

    def __init__(self, make_optimizers=lambda parts: RecordingSGD(parts[0].parameters(), lr=0.001)):
        super().__init__(make_optimizers, batches=5)

    def training_step(self, batch, batch_idx):
        return (self.layer(batch) - batch[:, :2]).square().mean()

    def train_dataloader(self):
        return DataLoader(RandomDataset(32, 5 * 64), batch_size=64)


@pytest.fixture
def finder(monkeypatch):
    """Makes an LRFinder without its picture, which takes longer than the sweep and the training."""
    monkeypatch.setattr(written, "publish", lambda *_: {})
    return lambda: LRFinder(1e-3, max_lr=1e3, num_steps=40)


@pytest.mark.parametrize(("order", "milestone", "unit"), [(1, 5, "step"), (-1, 1, "epoch"), (1, 0.5, "fraction")])
def test_the_base_is_the_rate_that_was_found_in_either_order_also_in_another_fit(
    trainer, finder, order, milestone, unit
):
    found, model = finder(), Learner()
    callbacks = [StepDecay([milestone], gamma=0.5, unit=unit), found]
    one = trainer(*callbacks[::order], max_epochs=2)
    one.fit(model)
    rate = found.result.suggestion
    assert rate > 0.002
    assert model.rates()[-10:] == pytest.approx([rate] * 5 + [rate / 2] * 5)
    one.fit_loop.max_epochs = 3
    one.fit(model)
    assert model.rates() == pytest.approx([rate / 2] * 5)


@pytest.mark.parametrize(("order", "step"), [(1, 3), (-1, 7)])
def test_a_resumed_run_keeps_the_rate_that_was_found(trainer, finder, tmp_path, order, step):
    def callbacks():
        return [StepDecay([4, 6], gamma=0.5), finder()][::order]

    unbroken, rest = Learner(), Learner()
    whole = trainer(*callbacks(), saved_at(tmp_path, step), enable_checkpointing=True, max_epochs=2)
    whole.fit(unbroken)
    trainer(*callbacks(), max_epochs=2).fit(rest, ckpt_path=tmp_path / "saved" / f"step={step}.ckpt")
    assert rest.rates() == unbroken.rates()[-10:][step:]
    rate = unbroken.rates()[-10]
    assert rate > 0.002
    assert unbroken.rates()[-10:] == pytest.approx([rate] * 4 + [rate / 2] * 2 + [rate / 4] * 4)


@pytest.mark.parametrize(("milestone", "unit"), [(7, "step"), (0.7, "fraction")])
def test_more_steps_of_the_same_trainer_stay_on_the_curve(trainer, milestone, unit):
    model = Model()
    one = trainer(StepDecay([milestone], gamma=0.5, unit=unit), max_steps=5, max_epochs=-1)
    one.fit(model)
    one.fit_loop.epoch_loop.max_steps = 10
    one.fit(model)
    assert model.rates() == [0.1] * 2 + [0.05] * 3


def with_scheduler(parts):
    """Two groups of the same rate."""
    optimizer = RecordingSGD([{"params": [weight]} for weight in parts[0].parameters()], lr=0.1)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def with_warm_up(parts):
    """The rate rises from 0 to 0.1 in 4 steps, as under transformers' linear warm-up."""
    optimizer = RecordingSGD(parts[0].parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, step / 4))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


@pytest.mark.parametrize(("optimizers", "name"), [(with_scheduler, "ExponentialLR"), (with_warm_up, "LambdaLR")])
def test_a_scheduler_beside_it_is_warned_of_and_has_no_effect(trainer, optimizers, name):
    model = Model(optimizers)
    with pytest.warns(UserWarning, match=rf"configured scheduler \({name}\) has no effect; .*\(over='schedule'\)"):
        trainer(StepDecay([3], gamma=0.5), max_epochs=1).fit(model)
    assert model.rates() == [0.1] * 3 + [0.05] * 2


@pytest.mark.parametrize("others", [[], [StepsPerExecution(4)]])
@pytest.mark.parametrize("optimizers", [with_scheduler, with_warm_up])
def test_over_a_schedule_it_multiplies_what_the_scheduler_sets(trainer, tmp_path, optimizers, others):
    """Also in a run that is resumed, and under the name `lr` in the logs."""
    alone, logger = Model(optimizers), TensorBoardLogger(tmp_path, name="", version="run")
    trainer(max_epochs=2).fit(alone)
    wanted = [rate * decay_factor(step, [3, 7], 0.5) for step, rate in enumerate(alone.rates())]
    decays = [StepDecay([3, 7], gamma=0.5, over="schedule") for _ in range(2)]
    saver, options = saved_at(tmp_path, 6), {"max_epochs": 2, "log_every_n_steps": 1}
    model, rest = Model(optimizers), Model(optimizers)
    trainer(decays[0], saver, *others, enable_checkpointing=True, logger=logger, **options).fit(model)
    trainer(decays[1], *others, **options).fit(rest, ckpt_path=tmp_path / "saved" / "step=6.ckpt")
    assert model.rates() == pytest.approx(wanted)
    assert rest.rates() == pytest.approx(wanted[6:])
    assert logged(tmp_path / "run", "lr") == list(enumerate(model.rates()))
    assert not model.trainer.optimizers[0]._optimizer_step_pre_hooks


def test_over_a_schedule_each_optimizer_of_manual_optimization_goes_by_its_own_steps(trainer):
    trainer(StepDecay([1, 3], gamma=0.5, over="schedule"), max_epochs=1).fit(model := Gan())
    assert (model.rates(0), model.rates(1)) == ([0.1, 0.05, 0.05] + [0.025] * 7, [0.1, 0.05])
    assert model.trainer.optimizers[0].param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize(("over", "averaged"), [("rate", 0.03), ("schedule", 0.015)])
def test_weight_averaging_has_its_own_rates_from_its_first_epoch_on(trainer, over, averaged, tmp_path):
    def fit(epochs, ckpt_path=None):
        average = StochasticWeightAveraging(0.03, swa_epoch_start=3, annealing_epochs=1)
        training = trainer(StepDecay([4], gamma=0.5, over=over), average, max_epochs=epochs)
        training.fit(model := Model(batches=2), ckpt_path=ckpt_path)
        training.save_checkpoint(tmp_path / f"{epochs}.ckpt")
        return model.rates()

    unbroken = fit(4)
    assert unbroken == pytest.approx([0.1] * 4 + [0.05] * 2 + [averaged] * 2)
    assert [*fit(3), *fit(4, tmp_path / "3.ckpt")] == unbroken


def test_a_base_rate_of_0_is_refused(trainer):
    with pytest.raises(ValueError, match=r"base rate is 0, the learning rate that SGD was made with, .*'schedule'"):
        trainer(StepDecay([4]), max_epochs=1).fit(Model(lambda parts: torch.optim.SGD(parts[0].parameters(), lr=0.0)))


def test_without_milestones_the_rate_is_logged_as_one_curve_and_left_alone(trainer, tmp_path):
    model, logger = Model(with_scheduler), TensorBoardLogger(tmp_path, name="", version="run")
    trainer(StepDecay([]), max_epochs=1, logger=logger, log_every_n_steps=1).fit(model)
    assert model.rates() == pytest.approx([0.1 * 0.9**step for step in range(5)])
    assert texts(tmp_path / "run") == []
    assert logged(tmp_path / "run", "lr") == list(enumerate(model.rates()))


@pytest.mark.parametrize(("accumulate", "many"), [(1, False), (2, False), (1, True)])
def test_the_rate_a_step_used_is_logged_under_that_step(trainer, tmp_path, accumulate, many):
    """At the first step, at each drop, and where Lightning logs the loss; 8 batches an epoch make 16 steps or 8."""
    model, logger = Model(batches=8), TensorBoardLogger(tmp_path, name="", version="run")
    options = {"max_epochs": 2, "log_every_n_steps": 3, "accumulate_grad_batches": accumulate}
    executions = [StepsPerExecution(7)] if many else []
    trainer(*executions, StepDecay([4, 5], gamma=0.5), logger=logger, **options).fit(model)
    regular = range(2, 16 // accumulate, 3)
    assert logged(tmp_path / "run", "lr") == [(step, model.rates()[step]) for step in sorted({0, 4, 5, *regular})]


class Both(Gan):
    def configure_optimizers(self):
        groups = [{"params": [p], "lr": 0.1 * i} for i, p in enumerate(self.layer.parameters(), start=1)]
        return RecordingSGD(groups), RecordingSGD(self.other.parameters(), lr=0.3)


def test_a_batch_logs_what_its_first_steps_use_by_optimizer_and_group(trainer, tmp_path):
    """Batches of 3 steps in all, or of 2: the critic's third step is in batch 1, the generator's second in batch 3."""
    logger = TensorBoardLogger(tmp_path, name="", version="run")
    trainer(StepDecay([1, 3], gamma=0.5), logger=logger, log_every_n_steps=100, max_epochs=1).fit(Both())
    assert logged(tmp_path / "run", "lr/optimizer0/group0") == [(0, 0.1), (1, 0.05), (2, 0.025)]
    assert logged(tmp_path / "run", "lr/optimizer0/group1") == [(0, 0.2), (1, 0.1), (2, 0.05)]
    assert logged(tmp_path / "run", "lr/optimizer1") == [(0, 0.3), (1, 0.3), (2, 0.15)]


def texts(directory):
    """(step, text) of the milestones in TensorBoard's files."""
    events = EventAccumulator(str(directory)).Reload()
    tags = [tag for tag in events.Tags()["tensors"] if tag.startswith("step_decay")]
    return [(event.step, event.tensor_proto.string_val[0].decode()) for tag in tags for event in events.Tensors(tag)]


EPOCH = {"milestones": [1], "unit": "epoch"}
UNKNOWN = "1 epochs done | not known beforehand |"


@pytest.mark.parametrize(
    ("arguments", "options", "row"),
    [
        ({"milestones": [3, 5000]}, {}, "step 5,000 | 5,000 | 0.01 | 0.001"),
        ({"milestones": [0.3], "unit": "fraction"}, {}, "0.3 of the steps done | 3 | 0.1 | 0.01"),
        (EPOCH, {"accumulate_grad_batches": 2}, "1 epochs done | 3 | 0.1 | 0.01"),
        (EPOCH, {"others": [GradientAccumulationScheduler({0: 1, 1: 2})]}, UNKNOWN),
        (EPOCH, {"model": Endless, "max_epochs": -1, "max_steps": 6}, UNKNOWN),
        (EPOCH, {"model": Gan}, f"{UNKNOWN} 0.1 | 0.01 | 0.01"),
    ],
)
def test_the_milestones_are_a_text_with_their_steps_and_rates(trainer, tmp_path, arguments, options, row):
    options = {"max_epochs": 2, "model": Model, "others": []} | options
    model, others = options.pop("model"), options.pop("others")
    logger = TensorBoardLogger(tmp_path, name="", version="run")
    trainer(StepDecay(**arguments), *others, logger=logger, **options).fit(model())
    ((_, text),) = texts(tmp_path / "run")
    assert text.startswith("| milestone | from optimizer step | factor | lr")
    assert row in text


def test_a_logger_that_fails_does_not_stop_training_and_causes_one_warning_each(trainer, tmp_path):
    class Full(CSVLogger):
        def log_text(self, **_):
            raise OSError("no space left")

        def log_metrics(self, metrics, step=None):
            if "lr" in metrics:
                raise OSError("no space left")
            super().log_metrics(metrics, step)

    with pytest.warns(UserWarning, match="^StepDecay's (table|rates): Full failed with OSError: no space left") as said:
        trainer(StepDecay([2, 4]), logger=Full(tmp_path), log_every_n_steps=1, max_epochs=1).fit(model := Model())
    assert len(model.rates()) == 5
    warned = [str(warning.message).partition(":")[0] for warning in said if "Full failed" in str(warning.message)]
    assert sorted(warned) == ["StepDecay's rates", "StepDecay's table"]


@given(st.floats(0.001, 0.999), st.integers(1, 10**6))
@example(0.07, 100)  # their product is above 7
@example(0.33333333333333337, 3)  # their product is 1, and 1 / 3 is less
def test_the_step_of_a_fraction_is_the_first_one_that_has_passed_it(milestone, length):
    step = first_step(milestone, length)
    assert step / length >= milestone > (step - 1) / length


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(("milestone", "unit"), [(4, "step"), (2, "epoch")])
def test_a_monitor_sees_the_same_rates_in_either_order(trainer, tmp_path, milestone, unit, order):
    model, logger = Model(batches=2), TensorBoardLogger(tmp_path, name="", version="run")
    callbacks = [LearningRateMonitor(unit), StepDecay([milestone], gamma=0.5, unit=unit)]
    trainer(*callbacks[::order], logger=logger, log_every_n_steps=1, max_epochs=4).fit(model)
    assert model.rates() == [0.1] * 4 + [0.05] * 4
    assert logged(tmp_path / "run", "lr") == list(enumerate(model.rates()))
    seen = [rate for _, rate in logged(tmp_path / "run", "lr-RecordingSGD")]
    assert seen == model.rates()[:: 1 if unit == "step" else 2]


def test_a_module_without_optimizer_is_told_that_no_rate_falls(trainer):
    said = pytest.warns(UserWarning, match="StepDecay has no effect: Model trains without a learning rate")
    with pytest.warns(UserWarning, match="this fit will run with no optimizer"), said:
        trainer(StepDecay([1]), max_epochs=1).fit(Model(lambda parts: None))
    manual = Model(lambda parts: [])
    manual.automatic_optimization = False
    with said:
        trainer(StepDecay([1]), max_epochs=1).fit(manual)


def test_the_rates_are_set_anew_where_the_groups_are_new(trainer):
    """As after `optimizer.load_state_dict`, which puts other groups in place of those it had."""

    class Reloads(Callback):
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == 3:
                state = trainer.optimizers[0].state_dict()
                state["param_groups"][0]["lr"] = 7.0
                trainer.optimizers[0].load_state_dict(state)

    model = Model()
    trainer(Reloads(), StepDecay([8], gamma=0.1), max_epochs=2).fit(model)
    assert model.rates() == pytest.approx([0.1] * 8 + [0.01] * 2)
