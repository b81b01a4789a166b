import inspect
import itertools
import math
import warnings

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import GradientAccumulationScheduler, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.demos.boring_classes import BoringModel, RandomDataset, RandomIterableDataset
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader

from charlm.callbacks import LRFinder, StepDecay, StepsPerExecution
from charlm.callbacks.step_decay.milestones import decay_factor
from charlm.callbacks.step_decay.table import first_step

pytestmark = [
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks used to create the checkpoint"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended"),
]


ROWS = {}  # of the docstring's table, and the tests that show them


def row(name):
    def keep(test):
        ROWS.setdefault(name, []).append(test.__name__)
        return test

    return keep


def rows_of_the_table():
    """What StepDecay's docstring says, by what it is about; a row may go over two lines."""
    lines = inspect.getdoc(StepDecay).splitlines()
    below = lines[next(i for i, line in enumerate(lines) if line.startswith("-----")) + 1 :]
    return {line[:28].strip(): line[30:] for line in below[: below.index("")] if line[:28].strip()}


class RecordingSGD(torch.optim.SGD):
    """Keeps the rates that each step used, one number a group."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.used = []

    def step(self, closure=None):
        loss = super().step(closure)
        self.used.append([float(group["lr"]) for group in self.param_groups])
        return loss


class Model(BoringModel):
    """Boring, with 5 batches an epoch and the optimizers it is given."""

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
        """What the first group's steps used."""
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
    """Does something at the start of the batch that does optimizer step `step`."""

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
    ("position", "factor"), [(0, 1), (4999, 1), (5000, 0.1), (5001, 0.1), (7999, 0.1), (8000, 0.01), (10**9, 0.01)]
)
def test_a_milestone_is_the_first_step_with_the_new_rate(position, factor):
    assert decay_factor(position, [5000, 8000], gamma=0.1) == pytest.approx(factor)


rising = st.lists(st.integers(1, 1000), unique=True).map(sorted)


@given(rising, st.floats(0.01, 1), st.integers(0, 1100))
def test_the_factor_never_rises_and_drops_by_gamma_at_milestones_only(milestones, gamma, step):
    before, after = decay_factor(step, milestones, gamma), decay_factor(step + 1, milestones, gamma)
    assert after == pytest.approx(before * gamma if step + 1 in milestones else before)
    assert gamma ** len(milestones) <= after <= before <= 1


def test_rates_of_a_run_by_hand(trainer):
    model = Model()
    trainer(StepDecay([2, 3, 6], gamma=0.5), max_epochs=2).fit(model)
    assert model.rates() == [0.1, 0.1, 0.05, 0.025, 0.025, 0.025, 0.0125, 0.0125, 0.0125, 0.0125]


@row("accumulation")
def test_steps_are_optimizer_steps_under_accumulation(trainer):
    """Batches of 4 + 1 an epoch: the second milestone falls on the partial window that ends the second epoch."""
    model = Model()
    trainer(StepDecay([1, 3], gamma=0.5), max_epochs=3, accumulate_grad_batches=4).fit(model)
    assert model.rates() == [0.1, 0.05, 0.05, 0.025, 0.025, 0.025]


@row("unit epoch")
def test_epochs_are_completed_epochs(trainer):
    model = Model(batches=2)
    trainer(StepDecay([1, 3], gamma=0.5, unit="epoch"), max_epochs=4).fit(model)
    assert model.rates() == [0.1, 0.1, 0.05, 0.05, 0.05, 0.05, 0.025, 0.025]


@row("unit fraction")
@pytest.mark.parametrize(
    "length", [{"max_epochs": 2}, {"max_steps": 10}, {"max_epochs": 4, "accumulate_grad_batches": 2, "max_steps": 10}]
)
def test_fractions_are_of_the_whole_training(trainer, length):
    """10 steps; 0.7 of them is 7, though 0.7 * 10 is a little more in floating point."""
    model = Model()
    trainer(StepDecay([0.3, 0.7], gamma=0.5, unit="fraction"), **length).fit(model)
    assert model.rates() == [0.1] * 3 + [0.05] * 4 + [0.025] * 3


class Endless(Model):
    def train_dataloader(self):
        return DataLoader(RandomIterableDataset(32, 4))


@pytest.mark.parametrize(("model", "length"), [(Endless, {"max_epochs": 2}), (Model, {"max_epochs": -1})])
def test_fractions_need_a_known_length(trainer, model, length):
    said = "StepDecay's milestones are fractions of a training whose length is unknown; set max_steps, or"
    with pytest.raises(ValueError, match=f"^{said} max_epochs with a loader that has"):
        trainer(StepDecay([0.5], unit="fraction"), **length).fit(model())


def test_max_steps_is_a_known_length(trainer):
    model = Endless()
    trainer(StepDecay([0.5], unit="fraction", gamma=0.5), max_steps=4).fit(model)
    assert model.rates() == [0.1, 0.1, 0.05, 0.05]


@row("parameter groups")
def test_every_group_keeps_its_own_rate(trainer):
    def two_groups(parts):
        return RecordingSGD([{"params": parts[0].parameters()}, {"params": parts[1].parameters(), "lr": 0.01}], lr=0.4)

    model = Model(two_groups, batches=3)
    trainer(StepDecay([2], gamma=0.5), max_epochs=1).fit(model)
    assert model.trainer.optimizers[0].used == [[0.4, 0.01], [0.4, 0.01], [0.2, 0.005]]


@row("a group that joins late")
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


@row("several optimizers")
def test_under_manual_optimization_each_optimizer_goes_by_its_own_steps(trainer):
    """5 batches: 10 steps of the critic, whose third falls inside a batch; 2 of the generator; 12 for Lightning."""
    model = Gan()
    trainer(StepDecay([1, 3], gamma=0.5), max_epochs=1).fit(model)
    assert model.trainer.global_step == 12
    assert model.rates(0) == [0.1, 0.05, 0.05] + [0.025] * 7
    assert model.rates(1) == [0.1, 0.05]


def test_epochs_and_fractions_under_manual_optimization(trainer):
    epochs, fractions, steps = Gan(), Gan(), Gan()
    trainer(StepDecay([1], gamma=0.5, unit="epoch"), max_epochs=2).fit(epochs)
    assert (epochs.rates(0), epochs.rates(1)) == ([0.1] * 10 + [0.05] * 10, [0.1] * 2 + [0.05] * 2)
    trainer(StepDecay([0.3], gamma=0.5, unit="fraction"), max_epochs=2).fit(fractions)  # from batch 3 of 10 on
    assert (fractions.rates(0), fractions.rates(1)) == ([0.1] * 6 + [0.05] * 14, [0.1] + [0.05] * 3)
    trainer(StepDecay([0.5], gamma=0.5, unit="fraction"), max_steps=12).fit(steps)  # from Lightning's step 6 on
    assert (steps.rates(0), steps.rates(1)) == ([0.1] * 5 + [0.05] * 5, [0.1, 0.05])


@row("manual optimization")
def test_an_optimizer_that_evaluates_its_closure_often_does_one_step(trainer):
    class RecordingLBFGS(torch.optim.LBFGS):
        used = ()

        def step(self, closure):
            self.used = [*self.used, [self.param_groups[0]["lr"]]]
            return super().step(closure)

    class Lbfgs(Model):
        automatic_optimization = False

        def training_step(self, batch, batch_idx):
            def closure():
                self.optimizers().zero_grad()
                loss = self.layer(batch).square().mean()
                self.manual_backward(loss)
                return loss

            self.optimizers().step(closure)

    model = Lbfgs(lambda parts: RecordingLBFGS(parts[0].parameters(), lr=0.1, max_iter=4))
    trainer(StepDecay([2], gamma=0.5), max_epochs=1).fit(model)
    assert model.rates() == [0.1, 0.1, 0.05, 0.05, 0.05]


class Bare(Model):
    """Manual optimization past Lightning, which sees no step."""

    automatic_optimization = False

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers(use_pl_optimizer=False)
        optimizer.zero_grad()
        self.manual_backward(self.layer(batch).square().mean())
        optimizer.step()


@row("a bare optimizer")
def test_steps_of_a_bare_optimizer_are_not_counted_which_is_said_once(trainer):
    with pytest.warns(UserWarning, match=r"^StepDecay has counted no optimizer step in a whole epoch") as warned:
        trainer(StepDecay([2]), max_epochs=3).fit(Bare())
    assert len([warning for warning in warned if "StepDecay" in str(warning.message)]) == 1


@row("a bare optimizer")
def test_epochs_of_a_bare_optimizer_are_counted(trainer):
    model = Bare(batches=2)
    trainer(StepDecay([1], gamma=0.5, unit="epoch"), max_epochs=2).fit(model)
    assert model.rates() == [0.1, 0.1, 0.05, 0.05]


def saved_at(tmp_path, step):
    return ModelCheckpoint(tmp_path / "saved", "{step}", every_n_train_steps=step, save_top_k=-1)


@row("ckpt_path")
@pytest.mark.parametrize("step", [3, 5, 6])
def test_a_resumed_run_stays_on_its_curve(trainer, tmp_path, step):
    """From a checkpoint inside an epoch, at its end, and after a milestone."""
    unbroken, rest = Model(), Model()
    trainer(StepDecay([4, 7], gamma=0.5), saved_at(tmp_path, step), enable_checkpointing=True, max_epochs=2).fit(
        unbroken
    )
    assert unbroken.rates() == [0.1] * 4 + [0.05] * 3 + [0.025] * 3
    resume = trainer(StepDecay([4, 7], gamma=0.5), max_epochs=2)
    resume.fit(rest, ckpt_path=tmp_path / "saved" / f"step={step}.ckpt")
    assert rest.rates() == unbroken.rates()[step:]


@row("ckpt_path, unit epoch")
def test_a_resumed_run_counts_its_epochs_on(trainer, tmp_path):
    first, rest = Model(), Model()
    decay = StepDecay([2], gamma=0.5, unit="epoch")
    trainer(decay, saved_at(tmp_path, 5), enable_checkpointing=True, max_epochs=1).fit(first)
    trainer(decay, max_epochs=3).fit(rest, ckpt_path=tmp_path / "saved" / "step=5.ckpt")
    assert rest.rates() == [0.1] * 5 + [0.05] * 5


@row("ckpt_path, manual")
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


@row("ckpt_path, other milestones")
def test_new_milestones_are_followed_with_a_warning_that_names_both(trainer, tmp_path):
    first, rest = Model(), Model()
    trainer(StepDecay([2], gamma=0.5), saved_at(tmp_path, 4), enable_checkpointing=True, max_epochs=1).fit(first)
    new = r"uses its new milestones=\[6\], gamma=0.1, unit='step'"
    with pytest.warns(UserWarning, match=new + r"; the checkpoint has milestones=\[2\], gamma=0.5, unit='step'"):
        trainer(StepDecay([6]), max_epochs=2).fit(rest, ckpt_path=tmp_path / "saved" / "step=4.ckpt")
    assert rest.rates() == pytest.approx([0.1] * 2 + [0.01] * 4)  # the base is the first run's, not the decayed 0.05


@row("ckpt_path, other length")
@pytest.mark.parametrize("max_epochs", [2, 4])
def test_fractions_of_another_length_are_said_to_mean_other_steps(trainer, tmp_path, max_epochs):
    """After 4 of 10 steps; a drop at a third of them is still to come where there are 20."""
    decay = StepDecay([1 / 3], gamma=0.5, unit="fraction")
    trainer(decay, saved_at(tmp_path, 4), enable_checkpointing=True, max_epochs=2).fit(Model())
    rest = Model()
    resume = trainer(StepDecay([1 / 3], gamma=0.5, unit="fraction"), max_epochs=max_epochs)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        resume.fit(rest, ckpt_path=tmp_path / "saved" / "step=4.ckpt")
    said = [
        str(warning.message) for warning in warned if "StepDecay's milestones are fractions" in str(warning.message)
    ]
    if max_epochs == 2:
        assert (said, rest.rates()) == ([], [0.05] * 6)
    else:
        assert "40% was done in the checkpoint, which is 20% now" in said[0]
        assert rest.rates() == [0.1] * 3 + [0.05] * 13


@row("ckpt_path, new to the run")
@pytest.mark.parametrize("scheduled", [False, True])
def test_it_can_join_a_run_that_began_without_it(trainer, tmp_path, scheduled):
    """The base is the rate that run began with, also where a scheduler has lowered it since."""

    def decayed_by_ten(parts):
        optimizer = RecordingSGD(parts[0].parameters(), lr=0.1)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)] if scheduled else []

    trainer(saved_at(tmp_path, 5), enable_checkpointing=True, max_epochs=1).fit(Model(decayed_by_ten))
    rest = Model()
    trainer(StepDecay([2, 7], gamma=0.5), max_epochs=2).fit(rest, ckpt_path=tmp_path / "saved" / "step=5.ckpt")
    assert rest.rates() == [0.05] * 2 + [0.025] * 3


def test_its_state_is_plain_numbers_and_texts(trainer, tmp_path):
    trainer(StepDecay([2.0]), saved_at(tmp_path, 4), enable_checkpointing=True, max_epochs=1).fit(Model())
    state = torch.load(tmp_path / "saved" / "step=4.ckpt", weights_only=True)["callbacks"]["StepDecay"]
    assert state == {
        "milestones": [2],
        "gamma": 0.1,
        "unit": "step",
        "base_rates": [[0.1]],
        "steps": [4],
        "done": 0,
    } | {"logged": [49, {"lr": pytest.approx(0.01)}]}


@row("fit again, new Trainer")
def test_a_second_fit_starts_afresh(trainer):
    decay = StepDecay([3], gamma=0.5)
    for lr in (0.1, 0.4):
        model = Model(lambda parts, lr=lr: RecordingSGD(parts[0].parameters(), lr=lr))
        trainer(decay, max_epochs=1).fit(model)
        assert model.rates() == [lr] * 3 + [lr / 2] * 2


@row("fit again, same Trainer")
def test_fitting_on_with_the_same_trainer_stays_on_the_curve(trainer):
    model, decay = Model(), StepDecay([3, 7], gamma=0.5)
    one = trainer(decay, max_epochs=1)
    one.fit(model)
    one.fit_loop.max_epochs = 2
    one.fit(model)  # Lightning makes new optimizers
    assert model.rates() == [0.05] * 2 + [0.025] * 3


def test_the_base_is_what_other_callbacks_have_set_when_training_starts(trainer):
    class Finder(Callback):
        def on_train_start(self, trainer, pl_module):
            trainer.optimizers[0].param_groups[0]["lr"] = 0.8

    model = Model(batches=2)
    trainer(StepDecay([1], gamma=0.5), Finder(), max_epochs=1).fit(model)
    assert model.rates() == [0.8, 0.4]


class Learner(Model):
    """Has something to learn, so that a sweep finds a rate; its own is 0.001."""

    def __init__(self, make_optimizers=lambda parts: RecordingSGD(parts[0].parameters(), lr=0.001)):
        super().__init__(make_optimizers, batches=5)

    def training_step(self, batch, batch_idx):
        return (self.layer(batch) - batch[:, :2]).square().mean()

    def train_dataloader(self):
        return DataLoader(RandomDataset(32, 5 * 64), batch_size=64)


class Undrawn(LRFinder):
    """Without its picture, which takes longer than the sweep and its training."""

    def _show(self, trainer, result):
        pass


def finder():
    return Undrawn(min_lr=1e-3, max_lr=1e3, num_steps=40)


@row("LRFinder")
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize(("milestone", "unit"), [(5, "step"), (1, "epoch"), (0.5, "fraction")])
def test_the_base_is_the_rate_that_was_found_in_either_order(trainer, first, milestone, unit):
    found, model = finder(), Learner()
    callbacks = [StepDecay([milestone], gamma=0.5, unit=unit), found]
    trainer(callbacks[first], callbacks[1 - first], max_epochs=2).fit(model)
    rate = found.result.suggestion
    assert rate > 0.002
    assert model.rates()[-10:] == pytest.approx([rate] * 5 + [rate / 2] * 5)


@row("LRFinder")
def test_groups_keep_their_ratio_to_the_rate_that_was_found(trainer):
    def two_groups(parts):
        weights = [{"params": [p], "lr": lr} for p, lr in zip(parts[0].parameters(), (0.001, 0.0002), strict=True)]
        return RecordingSGD(weights, lr=1)

    found, model = finder(), Learner(two_groups)
    trainer(StepDecay([3], gamma=0.5), found, max_epochs=1).fit(model)
    rate = found.result.suggestion
    expected = [[rate, rate / 5]] * 3 + [[rate / 2, rate / 10]] * 2
    assert model.trainer.optimizers[0].used[-5:] == [pytest.approx(rates) for rates in expected]


@row("ckpt_path, LRFinder")
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("step", [3, 5, 7])
def test_a_resumed_run_keeps_the_rate_that_was_found(trainer, tmp_path, first, step):
    def callbacks():
        both = [StepDecay([4, 6], gamma=0.5), finder()]
        return both[first], both[1 - first]

    unbroken, rest = Learner(), Learner()
    whole = trainer(*callbacks(), saved_at(tmp_path, step), enable_checkpointing=True, max_epochs=2)
    whole.fit(unbroken)
    trainer(*callbacks(), max_epochs=2).fit(rest, ckpt_path=tmp_path / "saved" / f"step={step}.ckpt")
    assert rest.rates() == unbroken.rates()[-10:][step:]
    rate = unbroken.rates()[-10]
    assert rate > 0.002
    assert unbroken.rates()[-10:] == pytest.approx([rate] * 4 + [rate / 2] * 2 + [rate / 4] * 4)


@row("fit again, LRFinder")
@pytest.mark.parametrize("first", [0, 1])
def test_fitting_on_keeps_the_rate_that_was_found(trainer, first):
    found, model = finder(), Learner()
    callbacks = [StepDecay([7], gamma=0.5), found]
    one = trainer(callbacks[first], callbacks[1 - first], max_epochs=1)
    one.fit(model)
    rate = found.result.suggestion
    one.fit_loop.max_epochs = 2
    one.fit(model)
    assert model.rates() == pytest.approx([rate] * 2 + [rate / 2] * 3)


@row("fit again, same Trainer")
@pytest.mark.parametrize(("milestone", "unit"), [(7, "step"), (0.7, "fraction")])
def test_more_steps_of_the_same_trainer_stay_on_the_curve(trainer, milestone, unit):
    model = Model()
    one = trainer(StepDecay([milestone], gamma=0.5, unit=unit), max_steps=5, max_epochs=-1)
    one.fit(model)
    one.fit_loop.epoch_loop.max_steps = 10
    one.fit(model)
    assert model.rates() == [0.1] * 2 + [0.05] * 3


@row("fit again, new Trainer")
def test_a_fit_from_loaded_weights_begins_anew(trainer, tmp_path):
    first = trainer(StepDecay([3], gamma=0.5), max_epochs=1)
    first.fit(Model())
    first.save_checkpoint(tmp_path / "saved.ckpt")
    model = Model()
    model.load_state_dict(torch.load(tmp_path / "saved.ckpt", weights_only=True)["state_dict"])
    trainer(StepDecay([3], gamma=0.5), max_epochs=1).fit(model)
    assert model.rates() == [0.1] * 3 + [0.05] * 2


@row("ckpt_path, accumulation")
@pytest.mark.parametrize("step", [2, 3, 4])
def test_a_resumed_run_counts_windows_on(trainer, tmp_path, step):
    """Batches of 2 + 2 + 1 an epoch: from inside an epoch, from its end, and from the first step after a milestone."""
    options = {"max_epochs": 2, "accumulate_grad_batches": 2}
    unbroken, rest = Model(), Model()
    whole = trainer(StepDecay([3, 5], gamma=0.5), saved_at(tmp_path, step), enable_checkpointing=True, **options)
    whole.fit(unbroken)
    assert unbroken.rates() == [0.1] * 3 + [0.05] * 2 + [0.025]
    resume = trainer(StepDecay([3, 5], gamma=0.5), **options)
    resume.fit(rest, ckpt_path=tmp_path / "saved" / f"step={step}.ckpt")
    assert rest.rates() == unbroken.rates()[step:]


@row("manual optimization")
def test_under_manual_optimization_the_steps_of_a_batch_count_one_by_one(trainer):
    class Thrice(Model):
        automatic_optimization = False

        def training_step(self, batch, batch_idx):
            for _ in range(3):
                self.optimizers().zero_grad()
                self.manual_backward(self.layer(batch).square().mean())
                self.optimizers().step()

    model = Thrice(batches=2)
    trainer(StepDecay([2, 5], gamma=0.5), max_epochs=1).fit(model)
    assert model.rates() == [0.1] * 2 + [0.05] * 3 + [0.025]


@row("StepsPerExecution")
@pytest.mark.parametrize(("milestones", "unit"), [([3, 6], "step"), ([1], "epoch"), ([0.3, 0.6], "fraction")])
def test_many_steps_an_execution_use_the_same_rates(trainer, milestones, unit):
    plain, many = Model(), Model()
    trainer(StepDecay(milestones, gamma=0.5, unit=unit), max_epochs=2).fit(plain)
    trainer(StepDecay(milestones, gamma=0.5, unit=unit), StepsPerExecution(4), max_epochs=2).fit(many)
    assert many.rates() == plain.rates()
    assert len(set(plain.rates())) == 1 + len(milestones)


def test_every_row_of_the_docstrings_table_has_its_tests():
    assert sorted(rows_of_the_table()) == sorted(ROWS)


def with_scheduler(parts):
    optimizer = RecordingSGD(parts[0].parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


@row("a scheduler")
def test_a_scheduler_beside_it_is_warned_of_and_has_no_effect(trainer):
    model = Model(with_scheduler)
    with pytest.warns(UserWarning, match=r"configured scheduler \(ExponentialLR\) has no effect; remove one"):
        trainer(StepDecay([3], gamma=0.5), max_epochs=1).fit(model)
    assert model.rates() == [0.1] * 3 + [0.05] * 2


def test_without_milestones_the_rate_is_logged_and_left_alone(trainer, tmp_path):
    model, logger = Model(with_scheduler), TensorBoardLogger(tmp_path, name="", version="run")
    trainer(StepDecay([]), max_epochs=1, logger=logger, log_every_n_steps=1).fit(model)
    assert model.rates() == pytest.approx([0.1 * 0.9**step for step in range(5)])
    assert logged(tmp_path / "run", "lr") == list(enumerate(model.rates()))


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("many", [False, True])
def test_the_rate_a_step_used_is_logged_under_that_step(trainer, tmp_path, accumulate, many):
    """At the first step, at each drop, and where Lightning logs the loss; 8 batches an epoch make 16 steps or 8."""
    model, logger = Model(batches=8), TensorBoardLogger(tmp_path, name="", version="run")
    options = {"max_epochs": 2, "log_every_n_steps": 3, "accumulate_grad_batches": accumulate}
    executions = [StepsPerExecution(7)] if many else []
    trainer(*executions, StepDecay([4, 5], gamma=0.5), logger=logger, **options).fit(model)
    regular = range(2, 16 // accumulate, 3)
    assert logged(tmp_path / "run", "lr") == [(step, model.rates()[step]) for step in sorted({0, 4, 5, *regular})]
    losses = [step for step, _ in logged(tmp_path / "run", "loss")]
    assert losses == (list(range(16 // accumulate)) if many else list(regular))


def test_the_drop_of_a_new_epoch_is_logged_under_its_first_step(trainer, tmp_path):
    model, logger = Model(), TensorBoardLogger(tmp_path, name="", version="run")
    trainer(StepDecay([1], gamma=0.5, unit="epoch"), logger=logger, log_every_n_steps=100, max_epochs=2).fit(model)
    assert logged(tmp_path / "run", "lr") == [(0, 0.1), (5, 0.05)]


def test_under_manual_optimization_a_batch_logs_what_its_first_steps_use(trainer, tmp_path):
    """Batches of 3 steps in all, or of 2: the critic's third step is in batch 1, the generator's second in batch 3."""
    model, logger = Gan(), TensorBoardLogger(tmp_path, name="", version="run")
    trainer(StepDecay([1, 3], gamma=0.5), logger=logger, log_every_n_steps=100, max_epochs=1).fit(model)
    assert logged(tmp_path / "run", "lr/optimizer0") == [(0, 0.1), (1, 0.05), (2, 0.025)]
    assert logged(tmp_path / "run", "lr/optimizer1") == [(0, 0.1), (1, 0.1), (2, 0.05)]


def test_every_group_is_logged_at_a_drop(trainer, tmp_path):
    def two_groups(parts):
        return torch.optim.SGD([{"params": parts[0].parameters()}, {"params": parts[1].parameters(), "lr": 0.01}], 0.4)

    logger = TensorBoardLogger(tmp_path, name="", version="run")
    trainer(StepDecay([2], gamma=0.5), logger=logger, log_every_n_steps=100, max_epochs=1).fit(Model(two_groups))
    assert logged(tmp_path / "run", "lr/group0") == [(0, 0.4), (2, 0.2)]
    assert logged(tmp_path / "run", "lr/group1") == [(0, 0.01), (2, 0.005)]


def texts(directory):
    """(step, text) of the milestones in TensorBoard's files."""
    events = EventAccumulator(str(directory)).Reload()
    tags = [tag for tag in events.Tags()["tensors"] if tag.startswith("step_decay")]
    return [(event.step, event.tensor_proto.string_val[0].decode()) for tag in tags for event in events.Tensors(tag)]


@pytest.mark.parametrize(
    ("decay", "options", "rows"),
    [
        (StepDecay([3, 5000]), {}, ["step 3 | 3 | 0.1 | 0.01", "step 5,000 | 5,000 | 0.01 | 0.001"]),
        (StepDecay([1], unit="epoch"), {}, ["1 epochs done | 5 | 0.1 | 0.01"]),
        (StepDecay([1], unit="epoch"), {"accumulate_grad_batches": 2}, ["1 epochs done | 3 | 0.1 | 0.01"]),
        (StepDecay([0.3, 0.7], unit="fraction"), {}, ["0.3 of the steps done | 3 | 0.1 | 0.01",
                                                      "0.7 of the steps done | 7 | 0.01 | 0.001"]),
        (StepDecay([1], unit="epoch"), {"reload_dataloaders_every_n_epochs": 1},
         ["1 epochs done | not known beforehand | 0.1 | 0.01"]),
    ],
)  # fmt: skip
def test_the_milestones_are_a_text_with_their_steps_and_rates(trainer, tmp_path, decay, options, rows):
    logger = TensorBoardLogger(tmp_path, name="", version="run")
    trainer(decay, logger=logger, max_epochs=2, **options).fit(Model())
    head = ["milestone | from optimizer step | factor | lr", "--- | ---: | ---: | ---:", "start | 0 | 1 | 0.1"]
    assert texts(tmp_path / "run") == [(0, "\n".join(f"| {row} |" for row in head + rows))]


@pytest.mark.parametrize(("step", "every"), [(3, 1), (3, 50), (5, 50), (7, 50), (7, 1)])
def test_the_rest_of_a_training_says_the_same_steps(trainer, tmp_path, step, every):
    """From inside an epoch, from its end, and after the first milestone; with its first log, there or later."""
    decay = StepDecay([1, 3], gamma=0.5, unit="epoch")
    options = {"log_every_n_steps": every}
    trainer(decay, saved_at(tmp_path, step), enable_checkpointing=True, max_epochs=2, **options).fit(Model())
    logger = TensorBoardLogger(tmp_path, name="", version="rest")
    resume = trainer(decay, logger=logger, max_epochs=4, **options)
    resume.fit(Model(), ckpt_path=tmp_path / "saved" / f"step={step}.ckpt")
    ((_, text),) = texts(tmp_path / "rest")
    assert "| 1 epochs done | 5 | 0.5 | 0.05 |\n| 3 epochs done | 15 | 0.25 | 0.025 |" in text


@pytest.mark.parametrize(
    ("model", "others", "options"),
    [(Model, [GradientAccumulationScheduler({0: 1, 1: 2})], {}), (Endless, [], {"max_steps": 6, "max_epochs": -1})],
)
def test_epochs_whose_length_can_change_have_no_steps(trainer, tmp_path, model, others, options):
    logger = TensorBoardLogger(tmp_path, name="", version="run")
    trainer(StepDecay([1], unit="epoch"), *others, logger=logger, **({"max_epochs": 2} | options)).fit(model())
    ((_, text),) = texts(tmp_path / "run")
    assert "| 1 epochs done | not known beforehand | 0.1 | 0.01 |" in text


def test_epochs_of_steps_that_are_always_two_batches_have_a_length(trainer, tmp_path):
    logger = TensorBoardLogger(tmp_path, name="", version="run")
    steady = GradientAccumulationScheduler({0: 2})
    trainer(StepDecay([1], unit="epoch"), steady, logger=logger, max_epochs=2).fit(Model())
    ((_, text),) = texts(tmp_path / "run")
    assert "| 1 epochs done | 3 | 0.1 | 0.01 |" in text


def test_of_epochs_that_had_another_length_nothing_is_made_up(trainer, tmp_path):
    decay = StepDecay([1, 3], gamma=0.5, unit="epoch")
    trainer(decay, saved_at(tmp_path, 5), enable_checkpointing=True, max_epochs=1).fit(Model(batches=5))
    logger = TensorBoardLogger(tmp_path, name="", version="rest")
    resume = trainer(decay, logger=logger, max_epochs=4)
    resume.fit(Model(batches=2), ckpt_path=tmp_path / "saved" / "step=5.ckpt")
    ((_, text),) = texts(tmp_path / "rest")
    assert "| 1 epochs done | not known beforehand |" in text
    assert "| 3 epochs done | 9 |" in text
    assert resume.lightning_module.rates() == [0.05] * 4 + [0.025] * 2


def test_the_text_has_a_column_for_each_rate_and_no_steps_of_manual_epochs(trainer, tmp_path):
    logger = TensorBoardLogger(tmp_path, name="", version="run")
    trainer(StepDecay([1], unit="epoch"), logger=logger, max_epochs=1).fit(Gan())
    ((_, text),) = texts(tmp_path / "run")
    assert "| factor | lr/optimizer0 | lr/optimizer1 |" in text
    assert "| 1 epochs done | not known beforehand | 0.1 | 0.01 | 0.01 |" in text


def test_there_is_no_text_without_milestones(trainer, tmp_path):
    trainer(StepDecay([]), logger=TensorBoardLogger(tmp_path, name="", version="run"), max_epochs=1).fit(Model())
    assert texts(tmp_path / "run") == []


def test_a_logger_that_fails_to_take_the_text_does_not_stop_training(trainer, tmp_path):
    class Full(CSVLogger):
        def log_text(self, **_):
            raise OSError("no space left")

    model = Model()
    with pytest.warns(UserWarning, match=r"^StepDecay's table: Full failed with OSError: no space left"):
        trainer(StepDecay([2]), logger=Full(tmp_path), max_epochs=1).fit(model)
    assert len(model.rates()) == 5


@given(st.floats(0.001, 0.999), st.integers(1, 10**6))
@example(0.07, 100)  # their product is above 7
@example(0.33333333333333337, 3)  # their product is 1, and 1 / 3 is less
def test_the_step_of_a_fraction_is_the_first_one_that_has_passed_it(milestone, length):
    step = first_step(milestone, length)
    assert step / length >= milestone > (step - 1) / length


def test_nothing_is_logged_where_lightning_logs_no_steps(trainer, tmp_path):
    logger = CSVLogger(tmp_path, name="", version="run")
    trainer(StepDecay([1]), logger=logger, log_every_n_steps=0, max_epochs=1).fit(Model())
    assert not (tmp_path / "run" / "metrics.csv").exists()


@pytest.mark.parametrize(("milestone", "unit"), [(3, "step"), (1, "epoch"), (0.5, "fraction")])
def test_a_monitor_listed_before_it_sees_the_same_rates(trainer, tmp_path, milestone, unit):
    model, logger = Model(batches=3), TensorBoardLogger(tmp_path, name="", version="run")
    decay = StepDecay([milestone], gamma=0.5, unit=unit)
    trainer(LearningRateMonitor("step"), decay, logger=logger, log_every_n_steps=1, max_epochs=2).fit(model)
    assert logged(tmp_path / "run", "lr-RecordingSGD") == list(enumerate([0.1] * 3 + [0.05] * 3))
    assert logged(tmp_path / "run", "lr") == list(enumerate(model.rates()))


@pytest.mark.parametrize("first", [0, 1])
def test_a_monitor_of_epochs_sees_the_same_rates_in_either_order(trainer, tmp_path, first):
    model, logger = Model(batches=2), TensorBoardLogger(tmp_path, name="", version="run")
    callbacks = [LearningRateMonitor("epoch"), StepDecay([2], gamma=0.5, unit="epoch")]
    trainer(callbacks[first], callbacks[1 - first], logger=logger, log_every_n_steps=1, max_epochs=4).fit(model)
    assert [rate for _, rate in logged(tmp_path / "run", "lr-RecordingSGD")] == [0.1, 0.1, 0.05, 0.05]
    assert model.rates() == [0.1] * 4 + [0.05] * 4


def test_tags_name_the_optimizer_and_the_group_where_there_are_several(trainer, tmp_path):
    class Both(Gan):
        def configure_optimizers(self):
            groups = [{"params": [p], "lr": 0.1 * i} for i, p in enumerate(self.layer.parameters(), start=1)]
            return RecordingSGD(groups), RecordingSGD(self.other.parameters(), lr=0.3)

    logger = CSVLogger(tmp_path, name="", version="run")
    trainer(StepDecay([1]), logger=logger, log_every_n_steps=1, max_epochs=1).fit(Both())
    head, first, *_ = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    values = dict(zip(head.split(","), first.split(","), strict=True))
    expected = {"lr/optimizer0/group0": 0.1, "lr/optimizer0/group1": 0.2, "lr/optimizer1": 0.3}
    assert {tag: float(value) for tag, value in values.items() if tag.startswith("lr")} == pytest.approx(expected)


def test_a_module_without_optimizer_is_fine(trainer):
    with pytest.warns(UserWarning, match="this fit will run with no optimizer"):
        trainer(StepDecay([1]), max_epochs=1).fit(Model(lambda parts: None))
    manual = Model(lambda parts: [])
    manual.automatic_optimization = False
    trainer(StepDecay([1]), max_epochs=1).fit(manual)


def test_the_global_random_state_is_left_alone(trainer):
    states = []
    for callbacks in ([], [StepDecay([2])]):
        torch.manual_seed(3)
        trainer(*callbacks, max_epochs=1).fit(Model())
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"milestones": [0, 5]}, r"milestones are whole numbers of steps, 1 or more, not \[0, 5\]; for fractions"),
        (
            {"milestones": [0.5]},
            r"whole numbers of steps, 1 or more, not \[0.5\]; for fractions of the training use unit='fraction'",
        ),
        ({"milestones": [2.5], "unit": "epoch"}, r"milestones are whole numbers of epochs, 1 or more, not \[2.5\]"),
        ({"milestones": [math.nan]}, r"milestones are whole numbers of steps, 1 or more, not \[nan\]"),
        ({"milestones": [math.inf]}, r"milestones are whole numbers of steps, 1 or more, not \[inf\]"),
        ({"milestones": [5, 10], "unit": "fraction"}, r"between 0 and 1, not \[5, 10\]; to count steps or epochs use"),
        ({"milestones": [10, 5]}, r"milestones rise strictly, unlike \[10, 5\]; sort them and remove duplicates"),
        ({"milestones": [0.5, 0.5], "unit": "fraction"}, r"milestones rise strictly, unlike \[0.5, 0.5\]"),
        ({"milestones": [1], "gamma": 0}, r"gamma is a factor in \(0, 1\], not 0; 0.1 divides the rate by ten"),
        ({"milestones": [0.5, 1], "unit": "fraction"}, r"between 0 and 1, not \[0.5, 1\]; to count"),
        ({"milestones": [0.5, 1.5], "unit": "fraction"}, r"between 0 and 1, not \[0.5, 1.5\]; to count"),
        ({"milestones": [1], "gamma": 1.5}, r"gamma is a factor in \(0, 1\], not 1.5"),
        ({"milestones": [1], "gamma": 10}, r"gamma is a factor in \(0, 1\], not 10"),
        ({"milestones": [1], "unit": "batch"}, r"unit is 'step', 'epoch' or 'fraction', not 'batch'"),
    ],
)
def test_a_bad_argument_is_refused_with_what_is_allowed(arguments, message):
    with pytest.raises(ValueError, match=message):
        StepDecay(**arguments)


def test_a_factor_of_1_is_one_that_leaves_the_rate(trainer):
    trainer(StepDecay([2], gamma=1), max_epochs=1).fit(model := Model())
    assert model.rates() == [0.1] * 5


def test_whole_numbers_may_come_as_floats():
    """As list[float] makes them on a command line."""
    assert StepDecay([2.0, 5e3]).milestones == [2, 5000]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Lightning's own use of jsonargparse
def test_the_command_line_takes_it(tmp_path, monkeypatch):
    arguments = ["fit", "--trainer.callbacks+=StepDecay", "--trainer.callbacks.milestones=[5000,8000]"]
    arguments += [
        "--seed_everything=false",
        "--trainer.callbacks.gamma=0.5",
        "--trainer.accelerator=cpu",
        "--trainer.logger=false",
    ]
    monkeypatch.setattr("sys.argv", [*arguments, f"--trainer.default_root_dir={tmp_path}"])
    cli = LightningCLI(BoringModel, run=False)
    decay = next(callback for callback in cli.trainer.callbacks if isinstance(callback, StepDecay))
    assert (decay.milestones, decay.gamma, decay.unit) == ([5000, 8000], 0.5, "step")


def test_the_docstring_example_holds():
    steps = itertools.islice(itertools.count(), 5)
    assert [decay_factor(step, [2, 3], gamma=0.5) for step in steps] == [1.0, 1.0, 0.5, 0.25, 0.25]


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


def test_one_callback_object_serves_a_second_training(trainer, tmp_path):
    decay = StepDecay([8], gamma=0.1)
    saver = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=7, save_top_k=-1)
    trainer(decay, saver, max_epochs=2, enable_checkpointing=True).fit(Model())
    model = Model()
    trainer(decay, max_epochs=2).fit(model, ckpt_path=tmp_path / "step=7.ckpt")
    assert model.rates() == pytest.approx([0.1, 0.01, 0.01])


@pytest.mark.parametrize("step", [2, 5, 7, 9])
def test_a_resumed_run_of_fractions_says_nothing_where_its_length_is_the_same(trainer, tmp_path, step):
    """From checkpoints at steps where no rate is set. Warnings are errors here."""
    first = trainer(
        StepDecay([0.8], unit="fraction"), saved_at(tmp_path, step), enable_checkpointing=True, max_epochs=2
    )
    first.fit(Model())
    path = tmp_path / "saved" / f"step={step}.ckpt"
    assert torch.load(path, weights_only=True)["callbacks"]["StepDecay"]["done"] == step / 10
    rest = Model()
    trainer(StepDecay([0.8], unit="fraction"), max_epochs=2).fit(rest, ckpt_path=path)
    assert rest.rates() == pytest.approx(([0.1] * 8 + [0.01] * 2)[step:])


def test_a_logger_that_fails_to_take_the_rates_does_not_stop_training_and_is_warned_of_once(trainer, tmp_path):
    class Full(CSVLogger):
        def log_metrics(self, metrics, step=None):
            if "lr" in metrics:
                raise OSError("no space left")
            super().log_metrics(metrics, step)

    model = Model()
    with pytest.warns(UserWarning, match=r"^StepDecay's rates: Full failed with OSError: no space left") as said:
        trainer(StepDecay([2, 4]), logger=Full(tmp_path), log_every_n_steps=1, max_epochs=1).fit(model)
    assert len(model.rates()) == 5
    assert sum("StepDecay's rates" in str(warning.message) for warning in said) == 1
