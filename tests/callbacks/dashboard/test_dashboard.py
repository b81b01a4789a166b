import re
import warnings

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from charlm.callbacks import Dashboard, StepsPerExecution
from charlm.callbacks.dashboard.activations import ActivationWatch
from charlm.callbacks.dashboard.layout import layout
from charlm.data.datamodule import NamesDataModule
from charlm.models.windows import LitMLP

ROWS = TensorDataset(torch.linspace(-3, 3, 36).view(12, 3))
FIT = {"max_steps": 6, "max_epochs": -1, "val_check_interval": 2, "limit_val_batches": 2, "log_every_n_steps": 1}


class Layers(pl.LightningModule):
    """A layer of each kind, batch norm and dropout."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.BatchNorm1d(5), nn.Dropout(0.5))
        self.gate, self.relu, self.last = nn.Sigmoid(), nn.ReLU(), nn.Linear(5, 1)

    def forward(self, rows):
        hidden = self.first(rows)
        return self.last(self.relu(hidden) * self.gate(hidden))

    def training_step(self, batch, batch_idx):
        loss = self(batch[0]).square().mean()
        self.log("loss/train", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("loss/val", self(batch[0]).square().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def train_dataloader(self):
        return DataLoader(ROWS, batch_size=2, shuffle=True)

    def val_dataloader(self):
        return DataLoader(ROWS, batch_size=4)


def board(folder):
    return TensorBoardLogger(folder, name=None, version="")


def events(folder):
    sizes = {"tensors": 0, "scalars": 0, "histograms": 0, "images": 0}
    return EventAccumulator(str(folder), size_guidance=sizes).Reload()


def steps(found, tag):
    return [event.step for event in found.Scalars(tag)]


@pytest.fixture
def fitted(trainer, tmp_path):
    """The events of a training."""

    def fitted(model, *callbacks, **options):
        trainer(*callbacks, **(FIT | {"logger": board(tmp_path)} | options)).fit(model)
        return events(tmp_path)

    return fitted


@pytest.mark.parametrize(
    ("tags", "chart"),
    [
        ("loss_mean/train loss/val loss/test train/loss_epoch val_loss val/loss", "train, val and test"),
        ("loss/train train_loss_step", "train, every step"),
        ("lr lr/optimizer0/group1 lr-SGD/1", "of each optimizer and group"),
        ("samples/new samples/distinct", "share of new and of distinct names"),
        ("samples/mean_length samples/mean_length_data", "mean length in characters, and the data's"),
        ("saturation/net.tanh dead/relu", "share of saturated or dead units"),
        ("grad/lr", "mine"),
        ("loss/value my/loss/val lrs a/lr samples/newer epoch", None),
    ],
)
def test_each_curve_is_on_its_chart_and_on_no_other(tags, chart):
    charts = dict(item for section in layout({"mine": ["^grad/"]}).values() for item in section.items())
    for tag in tags.split():
        found = [title for title, (_, regexes) in charts.items() if any(re.match(regex, tag) for regex in regexes)]
        assert found == ([chart] if chart else []), tag


def test_the_layout_and_the_runs_config_are_shown(fitted, tmp_path):
    (tmp_path / "config.yaml").write_text("model: {lr: 0.1}  # ünïcode\n", encoding="utf-8")
    found = fitted(Layers(), Dashboard(charts={"mine": ["^grad/"]}))
    (event,) = found.Tensors("yaml/text_summary")
    assert event.tensor_proto.string_val[0].decode() == "```yaml\nmodel: {lr: 0.1}  # ünïcode\n\n```"
    assert event.step == 0
    (event,) = found.Tensors("custom_scalars__config__")
    sections = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0]).category
    assert [section.title for section in sections] == ["Loss", "Learning rate", "Names", "Hidden layers", "More"]
    assert [(chart.title, list(chart.multiline.tag)) for chart in sections[-1].chart] == [("mine", ["^grad/"])]
    assert not sections[0].chart[0].HasField("margin"), "without a train loss of the same step"


class Two(Layers):
    """Validated on two loaders."""

    def val_dataloader(self):
        return [super().val_dataloader(), DataLoader(TensorDataset(-ROWS.tensors[0]), batch_size=4)]

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        super().validation_step(batch, batch_idx)


def test_the_layers_are_shown_on_the_first_batch_of_the_first_loader_and_in_a_training_only(fitted, trainer, tmp_path):
    model = Two()
    found = fitted(model, Dashboard())
    tags = {"saturation/first.1", "saturation/gate", "dead/relu"}
    assert {tag for tag in found.Tags()["scalars"] if tag.startswith(("saturation", "dead"))} == tags
    assert {tuple(steps(found, tag)) for tag in tags} == {(1, 3, 5)}
    assert set(found.Tags()["histograms"]) == {f"activations/{layer}" for layer in ("first.1", "gate", "relu")}
    shown = found.Histograms("activations/first.1")
    assert [event.step for event in shown] == [1, 3, 5]
    with torch.no_grad():
        values = model.eval().first[:2](ROWS.tensors[0][:4])
    assert shown[-1].histogram_value.num == 20, "4 rows of 5"
    assert shown[-1].histogram_value.sum == pytest.approx(values.sum().item(), abs=1e-5)
    trainer(Dashboard(), **FIT, logger=board(tmp_path / "alone")).validate(model, verbose=False)
    assert {tag.split("/")[0] for tag in events(tmp_path / "alone").Tags()["scalars"]} == {"loss", "epoch"}


@pytest.mark.parametrize("options", [{"val_check_interval": 3, "accumulate_grad_batches": 2}, {"max_epochs": 1}])
@pytest.mark.parametrize("callbacks", [[], [StepsPerExecution(4)]])
def test_the_steps_are_lightnings_own_while_gradients_accumulate(options, callbacks, fitted):
    found = fitted(Layers(), Dashboard(), *callbacks, **options)
    assert steps(found, "saturation/gate") == steps(found, "loss/val")


def test_what_is_saturated_and_dead():
    """By hand: |tanh(x)| > 0.97 from 2.0923 on; a sigmoid is (1 + tanh(x / 2)) / 2, so from 4.1846 on."""
    rows = torch.tensor([[-5.0, -2.10, 2.09, 0.0], [4.18, 4.19, 1.0, 0.0]])
    parts = nn.ModuleDict({"tanh": nn.Tanh(), "sigmoid": nn.Sigmoid(), "relu": nn.ReLU()})
    watch = ActivationWatch(parts)
    for part in parts.values():
        part(rows)
    watch.end()
    parts["tanh"](torch.full((8,), 9.0))  # nobody looks any more
    assert watch.shares() == {"saturation/tanh": 4 / 8, "saturation/sigmoid": 2 / 8, "dead/relu": 1 / 4}
    values = watch.values()
    assert torch.equal(values["activations/tanh"], rows.tanh().flatten())
    assert torch.equal(values["activations/relu"], rows.relu().flatten())
    assert watch.failed == {}


@pytest.mark.parametrize(
    ("shape", "unit", "share"),
    [
        ((4,), (2,), 1 / 4),  # of one example
        ((3, 5, 4), (slice(None), slice(None), 2), 1 / 4),  # a feature at all positions
        ((3, 4, 5, 6), (slice(None), 2), 1 / 4),  # a channel at all places
        ((3, 5, 4), (slice(None), 1, 2), 0),  # at one position only
        ((), (), 1),
    ],
)
def test_a_dead_unit_is_one_at_all_positions(shape, unit, share):
    outputs, layer = torch.ones(shape), nn.Sequential(nn.ReLU())
    outputs[unit] = -1
    watch = ActivationWatch(layer)
    layer(outputs)
    assert watch.shares() == {"dead/0": share}


@pytest.mark.parametrize("whole", [False, True])
def test_what_is_compiled_is_left_alone(whole, trainer):
    """A part, and a forward method; no more graphs are made but one of that method, and the rest is shown."""
    made, seen = [], []

    def backend(graph, inputs):
        made[-1] += 1
        return graph.forward

    class Watching(Dashboard):
        def on_validation_end(self, trainer, pl_module):
            seen.append(self._watch.shares() if self._watch else {})
            super().on_validation_end(trainer, pl_module)

    for own in ([], [Watching()]):
        torch._dynamo.reset()
        made.append(0)
        model = Layers()
        if whole:
            model.forward = torch.compile(model.forward, backend=backend)
        else:
            model.first = torch.compile(model.first, backend=backend)
        # without a sanity check: what is compiled for evaluation is compiled while it is looked at
        trainer(*own, **FIT, num_sanity_val_steps=0).fit(model)
    assert made == [2, 2 + whole]
    assert [set(shares) for shares in seen[-3:]] == [set() if whole else {"saturation/gate", "dead/relu"}] * 3


class Spy(Callback):
    """The gradients that each step is taken with, by Lightning's hook."""

    def __init__(self):
        self.seen = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.seen.append({name: p.grad.clone() for name, p in pl_module.named_parameters()})


class Zeroing(Layers):
    """Its gradients are written into over and over."""

    def optimizer_zero_grad(self, epoch, batch_idx, optimizer):
        optimizer.zero_grad(set_to_none=False)


class Manual(Zeroing):
    """Accumulates three batches a step by manual optimization."""

    automatic_optimization = False

    def training_step(self, batch, batch_idx):
        if batch_idx % 3 == 0:
            self.optimizers().zero_grad(set_to_none=False)
        self.manual_backward(super().training_step(batch, batch_idx))
        if batch_idx % 3 == 2:
            self.optimizers().step()


MANY = [StepsPerExecution(4)]


@pytest.mark.parametrize(
    ("model", "many", "options", "counts"),
    [
        (Layers, [], {}, [2, 4, 6]),  # a validation every second batch
        (Layers, MANY, {}, [2, 4, 6]),
        (Layers, [], {"accumulate_grad_batches": 3}, [1, 2, 2, 3]),  # after 4, 6, 8 and 10 batches, also within a step
        (Layers, MANY, {"accumulate_grad_batches": 3}, [1, 2, 2, 3]),
        (Zeroing, [], {"accumulate_grad_batches": 3}, [1, 2, 2, 3]),
        (Manual, [], {}, [1, 2, 2, 3]),
        (Zeroing, [], {"accumulate_grad_batches": 2, "val_check_interval": 3}, [1, 3, 4]),  # after 3, 6 and 9
    ],
)
def test_the_gradients_shown_are_those_that_the_latest_step_took(model, many, options, counts, fitted):
    spy = Spy()
    found = fitted(model(), Dashboard(histograms=True), spy, *many, **options)
    shown = [event.histogram_value for event in found.Histograms("gradients/last.weight")]
    assert len(shown) >= 3
    for value, count in zip(shown, counts, strict=False):
        gradient = spy.seen[count - 1]["last.weight"]
        assert value.sum_squares == pytest.approx(gradient.square().sum().item(), rel=1e-5)
        assert value.sum == pytest.approx(gradient.sum().item(), abs=1e-6)


def test_the_weights_shown_are_those_of_the_validation(fitted):
    model = Layers()
    found = fitted(model, Dashboard(histograms=True, activations=False))
    names = {name for name, _ in model.named_parameters()}
    assert set(found.Tags()["histograms"]) == {f"{kind}/{name}" for kind in ("weights", "gradients") for name in names}
    for name, weight in model.named_parameters():
        last = found.Histograms(f"weights/{name}")[-1]
        assert last.step == 5
        assert last.histogram_value.num == weight.numel()
        assert last.histogram_value.sum == pytest.approx(weight.sum().item(), abs=1e-6)


@pytest.mark.parametrize("many", [[], [StepsPerExecution(4)]])
@pytest.mark.parametrize("histograms", [False, True])
def test_training_is_what_it_is_without_it_bit_for_bit(histograms, many, trainer, tmp_path):
    results = []
    for own in ([], [Dashboard(histograms=histograms)]):
        pl.seed_everything(3, verbose=False)
        model = Layers()
        trainer(*own, *many, **FIT, logger=board(tmp_path / str(len(own)))).fit(model)
        losses = [event.value for event in events(tmp_path / str(len(own))).Scalars("loss/val")]
        results.append([*model.state_dict().values(), torch.rand(1), torch.tensor(losses)])
    assert all(map(torch.equal, *results))
    assert not any(part._forward_hooks for part in model.modules())


def test_the_analytic_gradients_of_charlms_mlp_are_shown_as_well(trainer, tmp_path):
    (tmp_path / "names.txt").write_text("\n".join(a + b + c for a in "abc" for b in "eiou" for c in ("", "na", "xy")))
    spy, data = Spy(), NamesDataModule(str(tmp_path / "names.txt"), batch_size=8)
    fit = trainer(Dashboard(histograms=True), spy, StepsPerExecution(4), **FIT, logger=board(tmp_path))
    fit.fit(LitMLP(alphabet=data.alphabet, n_hidden=4), datamodule=data)
    shown = events(tmp_path).Histograms("gradients/net.output.weight")
    assert [event.step for event in shown] == [1, 3, 5]
    for event in shown:
        gradient = spy.seen[event.step]["net.output.weight"]
        assert event.histogram_value.sum_squares == pytest.approx(gradient.square().sum().item(), rel=1e-5)


class Drawing(Layers):
    drawn = 0

    def figures(self):
        self.drawn += 1
        return {"a/b": Figure(), "c": Figure()}


def test_a_models_own_pictures_are_files_and_images(fitted, tmp_path):
    model = Drawing()
    found = fitted(model, Dashboard())
    assert set(found.Tags()["images"]) == {"a/b", "c"}
    assert {path.name for path in tmp_path.glob("*.png")} == {"a-b.png", "c.png"}
    assert model.drawn == 1


class Odd(nn.Tanh):
    def forward(self, input):
        return torch.empty(2, 3, device="meta")


class Broken(Layers):
    """A parameter that is NaN, an empty one, a layer on another device, and pictures that fail."""

    def __init__(self):
        super().__init__()
        self.lost, self.none = nn.Parameter(torch.tensor([float("nan")])), nn.Parameter(torch.zeros(0))
        self.odd = Odd()

    def forward(self, rows):
        self.odd(rows)
        return super().forward(rows)

    def figures(self):
        raise ZeroDivisionError("in a picture")


def test_what_cannot_be_made_is_warned_of_and_training_goes_on(fitted, tmp_path):
    (tmp_path / "config.yaml").write_bytes(b"\xff")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = fitted(Broken(), Dashboard(histograms=True))
    messages = [str(warning.message) for warning in said if "Dashboard" in str(warning.message)]
    for part in (
        "reading config.yaml failed with UnicodeDecodeError",
        "activations/odd failed with RuntimeError",
        "the histogram weights/lost",
        "drawing figures() failed with ZeroDivisionError: in a picture",
    ):
        assert sum(part in message for message in messages) == 1, messages
    assert len(found.Histograms("weights/last.weight")) == 3
    assert "weights/none" not in found.Tags()["histograms"]
    assert "yaml/text_summary" not in found.Tags()["tensors"]


@pytest.mark.parametrize("options", [{"logger": False}, {"fast_dev_run": True}, {"limit_val_batches": 0}])
def test_it_needs_no_logger_and_no_validation(options, trainer, tmp_path):
    model = Drawing()
    trainer(Dashboard(histograms=True), **(FIT | options)).fit(model)
    assert model.drawn == (not options.get("fast_dev_run"))


def test_a_training_that_fails_in_its_validation_leaves_no_hooks(trainer, fitted):
    model, callback = Layers(), Dashboard()
    model.validation_step = lambda batch, batch_idx: 1 / 0
    with pytest.raises(ZeroDivisionError):
        trainer(callback, **FIT, num_sanity_val_steps=0).fit(model)
    assert not any(part._forward_hooks for part in model.modules())
    assert steps(fitted(Layers(), callback), "saturation/gate") == [1, 3, 5], "a second training is shown as well"
