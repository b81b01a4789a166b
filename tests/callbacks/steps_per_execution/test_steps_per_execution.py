"""Many steps per execution against Lightning's own loop: everything that a callback can see, and the weights."""

import csv
import itertools
import signal

import lightning.pytorch as pl
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import (
    EarlyStopping,
    GradientAccumulationScheduler,
    LearningRateMonitor,
    ModelCheckpoint,
    StochasticWeightAveraging,
    WeightAveraging,
)  # fmt: skip
from lightning.pytorch.demos.boring_classes import BoringModel, ManualOptimBoringModel, RandomIterableDataset
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MeanMetric

from charlm.callbacks import GracefulStop, StepDecay, StepsPerExecution

pytestmark = pytest.mark.filterwarnings("ignore")
HOOKS = (
    *("on_train_epoch_start", "on_train_batch_start", "on_before_zero_grad", "on_before_backward", "on_after_backward"),
    *("on_before_optimizer_step", "on_train_batch_end", "on_validation_start", "on_validation_end"),
    *("on_train_epoch_end", "on_train_end", "on_save_checkpoint"),
)


class Model(BoringModel):
    """Boring, with dropout and two outputs, over 11 batches an epoch."""

    def __init__(self, optimizer=torch.optim.SGD, scheduler=None, **options):
        super().__init__()
        self.layer = torch.nn.Sequential(torch.nn.Linear(32, 4), torch.nn.Dropout(0.3), torch.nn.Linear(4, 2))
        self.kind, self.scheduler, self.options = optimizer, scheduler, {"lr": 0.003, **options}

    def training_step(self, batch, batch_idx):
        loss = self.step(batch[0] if isinstance(batch, list) else batch)
        self.log("loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val", self.step(batch[0]))

    def configure_optimizers(self):
        optimizer = self.kind(self.parameters(), **self.options)
        if self.scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": self.scheduler(optimizer)}

    def train_dataloader(self):
        numbers = torch.Generator().manual_seed(3)
        return DataLoader(TensorDataset(torch.randn(22, 32, generator=numbers)), batch_size=2)

    val_dataloader = train_dataloader


class Witness(Callback):
    """Writes down, at every hook, all that a callback can see."""

    def __init__(self):
        self.seen = []

    def note(self, hook, trainer, module, *arguments):
        weights = sum(p.double().sum().item() for p in module.parameters())
        gradients = [None if p.grad is None else p.grad.double().sum().item() for p in module.parameters()]
        rates = [group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups]
        where = (trainer.global_step, trainer.current_epoch, trainer.fit_loop.batch_idx, trainer.is_last_batch)
        total = trainer.fit_loop.total_batch_idx
        self.seen.append((hook, *where, total, weights, gradients, rates, [spell(a) for a in arguments]))


for name in HOOKS:
    setattr(Witness, name, lambda self, trainer, module, *rest, hook=name: self.note(hook, trainer, module, *rest))


def spell(value):
    """A value as text that tells two apart."""
    if isinstance(value, torch.Tensor):
        return value.double().sum().item()
    if isinstance(value, dict):
        return {} if "state_dict" in value else {key: spell(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [spell(item) for item in value]
    return value if isinstance(value, int | float | str | None) else type(value).__name__


def run(trainer, model, steps, *callbacks, **options):
    """(what a callback saw, the weights, checkpoint and metrics) of a training with `steps` steps per execution."""
    pl.seed_everything(5)
    witness, made = Witness(), model()
    fits = trainer(*callbacks, StepsPerExecution(steps), witness, **{"max_epochs": 3, "limit_val_batches": 2} | options)
    fits.fit(made)
    state = fits._checkpoint_connector.dump_checkpoint(False)
    kept = {key: state[key] for key in ("loops", "optimizer_states", "lr_schedulers")}
    return witness.seen, made.state_dict(), kept | {"metrics": [fits.callback_metrics, fits.progress_bar_metrics]}


def assert_same(one, many):
    for first, second in itertools.zip_longest(one[0], many[0]):
        assert first == second
    for name, weights in one[1].items():
        assert torch.equal(weights, many[1][name]), name
    assert str(one[2]) == str(many[2])


class WithHooks(Model):
    """Every hook of a module, its own way to clip and its own way to step."""

    def on_train_batch_start(self, batch, batch_idx):
        self.weight = 1 + batch_idx % 3

    def on_before_optimizer_step(self, optimizer):
        for parameter in self.parameters():
            parameter.grad.mul_(self.weight)

    def on_before_batch_transfer(self, batch, dataloader_idx):
        return [batch[0] + 2 * dataloader_idx]

    def transfer_batch_to_device(self, batch, device, dataloader_idx):
        return [batch[0].to(device) + 3 * dataloader_idx]

    def on_after_batch_transfer(self, batch, dataloader_idx):
        return [batch[0] + 1 + dataloader_idx]

    def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None):
        self.clip_gradients(optimizer, gradient_clip_val=0.5, gradient_clip_algorithm="value")


class WarmUp(Model):
    def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure):
        for group in optimizer.param_groups:
            group["lr"] = 0.0001 * (self.trainer.global_step + 1)
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)


class OtherWord(Model):
    """Calls the number of a batch in its own way, and weighs by it."""

    def training_step(self, batch, number):
        return super().training_step(batch, number) * (1 + number)


class Skipping(Model):
    """No loss in every fourth step; a dict in the others."""

    def training_step(self, batch):
        self.calls = getattr(self, "calls", 0) + 1
        return None if self.calls % 4 == 0 else {"loss": self.step(batch[0]), "more": torch.tensor(self.calls)}


class Leaving(Model):
    """Leaves each epoch at its seventh batch."""

    def on_train_batch_start(self, batch, batch_idx):
        return -1 if batch_idx == 6 else None


class Endless(Model):
    def train_dataloader(self):
        torch.manual_seed(1)
        return DataLoader(RandomIterableDataset(32, 7))


class Gaps(Model):
    """Some batches are None."""

    def train_dataloader(self):
        batches = list(super().train_dataloader())
        order = [0, None, 1, 2, None, None, 3]
        return DataLoader(order, batch_size=None, collate_fn=lambda i: None if i is None else batches[i])


class Groups(Model):
    def configure_optimizers(self):
        first, _, last = self.layer
        groups = [{"params": last.parameters(), "lr": 0.004}, {"params": first.parameters(), "weight_decay": 0.1}]
        return torch.optim.SGD(groups, lr=0.002)


class Stop(Callback):
    def on_train_batch_end(self, trainer, *_):
        trainer.should_stop = trainer.global_step >= 9


def every_third(optimizer):
    return {"scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5), "interval": "step", "frequency": 3}


def every_epoch(optimizer):
    return {"scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5), "interval": "epoch"}


def plateau(optimizer):
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    return {"scheduler": scheduler, "monitor": "val", "interval": "epoch"}


class NeedsClosure(torch.optim.SGD):
    """Looks a step ahead, for which it needs the loss anew: not torch's own."""

    def step(self, closure):
        with torch.no_grad():
            self.param_groups[0]["params"][0].add_(0.001)
        loss = closure()
        super().step()
        return loss


class AddsGroup(Callback):
    """As finetuning does: the last layer joins in the middle of an execution."""

    def on_train_batch_start(self, trainer, module, *_):
        if trainer.global_step == 5:
            trainer.optimizers[0].add_param_group({"params": list(module.layer[2].parameters()), "lr": 0.002})


class Normalized(Model):
    def __init__(self):
        super().__init__(torch.optim.AdamW)
        self.layer.append(torch.nn.BatchNorm1d(2))


class OneLayer(Model):
    def configure_optimizers(self):
        return torch.optim.SGD(self.layer[0].parameters(), lr=0.003, momentum=0)


class Answers(Callback):
    def on_train_batch_start(self, *_):
        return -1


def step_plateau(optimizer):
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1, factor=0.5)
    return {"scheduler": scheduler, "monitor": "loss", "interval": "step"}


CASES = {  # the model, the options of the Trainer, what makes another callback
    "momentum": (lambda: Model(momentum=0.9), {}),
    "AdamW": (lambda: Model(torch.optim.AdamW), {}),
    "fused AdamW": (lambda: Model(torch.optim.AdamW, fused=True), {}),
    "LBFGS": (lambda: Model(torch.optim.LBFGS), {"max_epochs": 1}),
    "parameter groups": (Groups, {}),
    "plateau": (lambda: Model(scheduler=plateau), {}),
    "clipped by norm": (Model, {"gradient_clip_val": 0.1}),
    "bf16, accumulated, clipped": (
        lambda: Model(scheduler=every_third),
        {"precision": "bf16-mixed", "accumulate_grad_batches": 3, "gradient_clip_val": 0.1},
    ),
    "steps without a loss, accumulated": (Skipping, {"accumulate_grad_batches": 3}),
    "profiled": (Model, {"profiler": "simple"}),
    "hooks, accumulated": (WithHooks, {"accumulate_grad_batches": 2}),
    "warm-up": (WarmUp, {}),
    "another word for the index": (OtherWord, {}),
    "steps without a loss": (Skipping, {}),
    "epochs that are left, rates by step": (lambda: Leaving(scheduler=every_third), {}),
    "epochs that are left, rates by epoch": (lambda: Leaving(scheduler=every_epoch), {}),
    "no length, validated": (Endless, {"val_check_interval": 3}),
    "batches of None": (Gaps, {}),
    "one batch": (Model, {"overfit_batches": 1}),
    "another loader an epoch": (Model, {"reload_dataloaders_every_n_epochs": 1}),
    "trial": (Model, {"fast_dev_run": 3}),
    "closure": (lambda: Model(NeedsClosure), {}),
    "new parameter group": (OneLayer, {}, AddsGroup),
    "answer of a callback": (Model, {}, Answers),
    "plateau of every step": (lambda: Model(scheduler=step_plateau), {"min_steps": 20}, Stop),
    "should_stop": (Model, {}, Stop),
    "averaging": (Model, {}, WeightAveraging),
    "an epoch without steps, for batch norm": (Normalized, {}, lambda: StochasticWeightAveraging(0.01, 1)),
    "early stopping": (Model, {}, lambda: EarlyStopping("val", patience=0)),
    "decay by steps": (Model, {}, lambda: StepDecay([3, 4, 9], gamma=0.5)),
    "accumulation by epochs": (Model, {}, lambda: GradientAccumulationScheduler({1: 3, 2: 2})),
}


@pytest.mark.parametrize("case", CASES)
def test_a_callback_sees_the_same_and_the_weights_are_bit_identical(case, trainer):
    model, options, *callbacks = CASES[case]
    one = run(trainer, model, 1, *(make() for make in callbacks), **options)
    assert len(one[0]) > 20
    for steps in (5, 100):
        assert_same(one, run(trainer, model, steps, *(make() for make in callbacks), **options))


class PerExecution(Callback):
    """Acts where an execution ends, and writes down what it is told."""

    per_execution = True

    def __init__(self):
        self.told = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.told.append((trainer.global_step, batch_idx))


def test_what_acts_at_the_end_of_executions_is_told_the_batch_of_the_last_step(trainer):
    told = PerExecution()
    run(trainer, Model, 5, told, Stop())
    assert told.told == [(5, 4), (9, 8)]


@settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_mixture_ends_at_the_same_place(trainer, data):
    options = {
        "max_steps": data.draw(st.integers(1, 30)),
        "accumulate_grad_batches": data.draw(st.integers(1, 4)),
        "limit_train_batches": data.draw(st.integers(2, 11)),
        "check_val_every_n_epoch": data.draw(st.sampled_from([None, 1, 2])),
        "max_epochs": -1,
    }
    options["val_check_interval"] = data.draw(st.integers(1, options["limit_train_batches"]))
    steps = data.draw(st.integers(2, 12))
    assert_same(run(trainer, Model, 1, **options), run(trainer, Model, steps, **options))


@pytest.mark.parametrize("monitored", [{}, {"monitor": "loss", "save_top_k": 2}], ids=["all", "the best"])
def test_checkpoints_come_at_their_steps_and_with_the_same_content(monitored, trainer, tmp_path):
    saved = []
    for steps in (1, 100):
        saver = ModelCheckpoint(
            tmp_path / str(steps), "{step}", every_n_train_steps=4, **{"save_top_k": -1} | monitored
        )
        run(trainer, Model, steps, saver, enable_checkpointing=True)
        files = sorted((tmp_path / str(steps)).iterdir())
        saved.append({file.name: torch.load(file, weights_only=True) for file in files})
    assert list(saved[0]) == list(saved[1])
    assert len(saved[0]) >= 2
    for name, content in saved[0].items():
        other = saved[1][name]
        assert str(content["state_dict"]) == str(other["state_dict"])
        assert content["loops"] == other["loops"]
        assert content["global_step"] == other["global_step"]


class Chatty(Model):
    """Logs in every way, and in every hook."""

    def __init__(self):
        super().__init__()
        self.mean = MeanMetric()

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.log_dict({"double": 2 * loss, "number": batch_idx}, prog_bar=True)
        self.log("both", loss, on_step=True, on_epoch=True)
        self.log("epoch_only", loss, on_step=False, on_epoch=True)
        self.log("largest", loss, on_step=False, on_epoch=True, reduce_fx="max")
        self.log("quiet", loss, logger=False)
        self.log("wide", loss.double().view(1))
        self.mean.update(loss)
        self.log("metric", self.mean, on_step=False, on_epoch=True)
        return loss

    def on_train_batch_end(self, outputs, batch, batch_idx):
        self.log("late", outputs["loss"])
        self.log("late_epoch", outputs["loss"], on_step=False, on_epoch=True)


def scalars(folder):
    """{tag: [(step, value)]} of the one events file below."""
    (file,) = folder.rglob("events*")
    events = EventAccumulator(str(file), size_guidance={"scalars": 0}).Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def logged(folder, trainer, model, steps, *callbacks, **options):
    """The scalars that such a training logs below `folder`."""
    run(trainer, model, steps, *callbacks, logger=TensorBoardLogger(folder / str(steps)), **options)
    return scalars(folder / str(steps))


def assert_same_scalars(one, many):
    assert one.keys() == many.keys()
    for tag, points in one.items():
        assert [step for step, _ in many[tag]] == [step for step, _ in points], tag
        assert [value for _, value in many[tag]] == pytest.approx([value for _, value in points]), tag


class Rare(Model):
    """Logs a value at few steps, so that Lightning writes an older one beside the newest of the others."""

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        if batch_idx in (1, 6):
            self.log("rare", 0.1 * batch_idx)
        self.log("number", batch_idx, prog_bar=True)
        self.log("quiet", loss, logger=False)
        return loss


@pytest.mark.parametrize("every", [1, 3, 50])
@pytest.mark.parametrize("model", [Rare, Chatty])
def test_the_points_in_tensorboard_and_the_rows_of_a_table_are_those_that_lightning_writes(
    model, every, trainer, tmp_path
):
    logs, tables = [], []
    for steps in (1, 5, 100):
        loggers = [TensorBoardLogger(tmp_path / str(steps)), CSVLogger(tmp_path / str(steps))]
        run(trainer, model, steps, LearningRateMonitor("step"), logger=loggers, log_every_n_steps=every)
        logs.append(scalars(tmp_path / str(steps)))
        (table,) = tmp_path.glob(f"{steps}/**/metrics.csv")
        tables.append([(row["step"], sorted(k for k in row if row[k])) for row in csv.DictReader(table.open())])
    assert tables[1:] == tables[:1] * 2  # in the same order, too
    assert ("rare" in logs[0] or "both_step" in logs[0]) == (every < 50)
    for many in logs[1:]:
        assert_same_scalars(logs[0], many)


@pytest.mark.parametrize("model", [Rare, Chatty])
def test_the_step_after_which_training_stops_is_written_as_lightning_does(model, trainer, tmp_path):
    logs = [logged(tmp_path, trainer, model, steps, Stop(), log_every_n_steps=4) for steps in (1, 100)]
    assert [step for step, _ in logs[0]["loss"]] == [3, 7, 8]
    assert_same_scalars(*({tag: points for tag, points in log.items() if tag != "epoch"} for log in logs))


class Failing(Callback):
    def on_train_batch_end(self, trainer, *_):
        raise RuntimeError("stop")


class Signals(Callback):
    def on_train_epoch_start(self, trainer, *_):
        if trainer.current_epoch:
            signal.raise_signal(signal.SIGTERM)


def test_afterwards_the_loop_and_log_are_lightnings_own(trainer):
    callback, model = LogsFromCallback(), Model()
    fits = trainer(StepsPerExecution(3), callback, max_epochs=1)
    fits.fit(model)
    made = [fits]
    for ends, error in ((Failing(), RuntimeError), (Signals(), SystemExit)):
        made.append(trainer(StepsPerExecution(5), GracefulStop(), ends, max_epochs=2))
        with pytest.raises(error):
            made[-1].fit(Derived())
    assert made[2].global_step == 12  # a signal between two executions waits for the next step
    assert not any("advance" in vars(each.fit_loop.epoch_loop) for each in made)
    assert "log" not in vars(model)
    assert callback.log == model.log


def test_one_step_is_lightnings_loop_untouched(trainer):
    class Look(Callback):
        def on_train_batch_end(self, trainer, *_):
            assert "advance" not in vars(trainer.fit_loop.epoch_loop)

    trainer(StepsPerExecution(1), Look(), max_epochs=1).fit(Model())
    trainer(StepsPerExecution(1), max_epochs=1, limit_train_batches=2).fit(ManualOptimBoringModel())


class Fetching(Model):
    def training_step(self, dataloader_iter):
        return self.step(next(dataloader_iter)[0][0])


@pytest.mark.parametrize(
    ("model", "callbacks", "message"),
    [
        (ManualOptimBoringModel, 1, r"steps=5.* cannot run ManualOptimBoringModel.*manual optimization.*set steps=1"),
        (Fetching, 1, r"cannot run Fetching, whose training_step fetches its batches.*take \(batch, batch_idx\)"),
        (Model, 2, "two StepsPerExecution callbacks; keep one"),
    ],
)
def test_trainings_that_it_cannot_run_are_refused(model, callbacks, message, trainer):
    with pytest.raises(ValueError, match=message):
        trainer(*(StepsPerExecution(5) for _ in range(callbacks)), max_epochs=1).fit(model())


class Derived(Model):
    """A linear layer with a gradient function; `asked` counts its calls."""

    def __init__(self, **options):
        super().__init__(**options)
        self.layer, self.asked = torch.nn.Linear(32, 2), 0

    def forward(self, x):
        return super().forward(x.to(self.layer.weight.dtype))

    def gradient_function(self):
        def gradients(batch, logs):
            self.asked += 1
            with torch.enable_grad():
                loss = self.training_step(batch, 0) if logs else self.step(batch[0])
                return loss.item(), list(torch.autograd.grad(loss, list(self.parameters())))

        return gradients


class Named(Callback):
    """Names every fourth step."""

    def __init__(self):
        self.begun, self.ended, self.losses = [], [], []

    def next_step(self, trainer):
        return trainer.global_step // 4 * 4 + 3

    def on_train_batch_start(self, trainer, *_):
        self.begun.append(trainer.global_step)

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.ended.append((trainer.global_step, trainer.fit_loop.total_batch_idx, batch_idx))
        self.losses.append(outputs["loss"])


class AskedBefore(Named):
    """A signal came before the execution."""

    stops_now = True


class Unaware(Named):
    """A subclass that acts in every step, and has inherited `next_step`."""

    def on_before_zero_grad(self, *_):
        self.ended.append("zero")

    def on_after_backward(self, *_):
        self.ended.append("after")

    def on_before_optimizer_step(self, trainer, module, optimizer):
        self.ended.append(str(sum(p.grad.double().sum().item() for p in module.parameters())))


class Diverges(Derived):
    """Its loss is infinite in the tenth step, and NaN afterwards."""

    def step(self, x):
        tenth = self.train_dataloader().dataset[18][0]
        return super().step(x) / (1 - torch.equal(x[0], tenth))


@pytest.mark.parametrize(
    ("optimizer", "options"), [("SGD", {}), ("AdamW", {}), ("SGD", {"gradient_clip_val": 0.1})], ids=str
)
def test_a_callback_that_names_its_steps_is_called_at_them_and_where_the_loss_is_infinite(optimizer, options, trainer):
    def fit(steps, kind, model):
        pl.seed_everything(5)
        callback, made = kind(), model(optimizer=getattr(torch.optim, optimizer))
        made = made.double() if optimizer == "AdamW" else made
        fits = trainer(StepsPerExecution(steps), callback, max_epochs=2, log_every_n_steps=50, **options)
        fits.fit(made)
        state = fits._checkpoint_connector.dump_checkpoint(True)
        return callback, str((made.state_dict(), state["loops"])), made.asked

    for model in (Derived, Diverges):
        one, one_state, _ = fit(1, Named, model)
        named, state, _ = fit(100, Named, model)
        assert state == one_state == fit(100, AskedBefore, model)[1]
        if not options:  # step 10 and 21 are the last of their epochs, and Lightning's own
            assert named.begun == ([3, 7, 10, 11, 15, 19, 21] if model is Derived else [3, 7, *range(9, 22)])
        assert set(named.ended) <= set(one.ended)
        assert str(named.losses) == str([one.losses[step] for step in named.begun])
        every, unaware = (fit(steps, Unaware, model) for steps in (1, 4))
        assert (unaware[0].ended, unaware[1]) == (every[0].ended, every[1])
        assert (every[2], unaware[2]) == (0, 22 - 7)  # Lightning's own are those up to 4, 8, 11, 12, 16, 20 and 22


def test_a_hook_of_all_optimizers_is_called_at_every_step(trainer):
    calls = []
    handle = register_optimizer_step_post_hook(lambda *_: calls.append(1))
    try:
        run(trainer, Model, 100, max_epochs=1)
    finally:
        handle.remove()
    assert len(calls) == 11


class LogsFromCallback(Callback):
    def on_before_optimizer_step(self, trainer, module, optimizer):
        module.log("by_module", float(trainer.global_step), on_epoch=True)

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.log("by_callback", float(batch_idx))


class Prefixed(Model):
    def log(self, name, value, **options):
        super().log(f"train/{name}", value, **options)


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize(
    ("options", "total"), [({}, 33), ({"accumulate_grad_batches": 2}, 18), ({"profiler": "simple"}, 33)]
)
def test_logs_of_callbacks_and_through_an_overridden_log_are_the_same(options, total, every, trainer, tmp_path):
    options = {"log_every_n_steps": every, **options}
    logs = [logged(tmp_path, trainer, Prefixed, steps, LogsFromCallback(), **options) for steps in (1, 6)]
    assert_same_scalars(*({tag: points for tag, points in log.items() if tag != "epoch"} for log in logs))
    steps_of_points = [step for step, _ in logs[0]["train/loss"]]
    assert steps_of_points == list(range(every - 1, total, every))  # not one for each accumulated batch


def test_the_last_step_before_a_stop_is_the_one_that_is_kept(trainer, tmp_path):
    names = []
    for steps in (1, 100):
        when = {"by step": {"every_n_train_steps": 9}, "by epoch": {"save_on_train_epoch_end": True}}
        named = [(f"{name} {{step}}-{{loss:.6f}}", options) for name, options in when.items()]
        savers = [ModelCheckpoint(tmp_path / str(steps), name, monitor="loss", **options) for name, options in named]
        run(trainer, Model, steps, Stop(), *savers, enable_checkpointing=True)
        names.append(sorted(file.name for file in (tmp_path / str(steps)).iterdir()))
    assert names[0] == names[1]
    assert len(names[0]) == 2
