import re
import warnings
from types import SimpleNamespace

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.loggers.logger import DummyLogger
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from charlm.callbacks import Dashboard, StepsPerExecution
from charlm.callbacks.dashboard.activations import VALUES, ActivationWatch, evenly
from charlm.data.datamodule import NamesDataModule
from charlm.models.windows import LitBigram, LitMLP

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


def charts(found):
    (event,) = found.Tensors("custom_scalars__config__")
    sections = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0]).category
    return {section.title: {chart.title: list(chart.multiline.tag) for chart in section.chart} for section in sections}


@pytest.mark.parametrize(
    ("tag", "section", "chart"),
    [
        *[(tag, "Loss", "train, val and test") for tag in ("loss_mean/train", "loss/val", "loss/test")],
        *[(tag, "Loss", "train, val and test") for tag in ("train/loss_epoch", "val_loss", "val/loss")],
        *[(tag, "Loss", "train, every step") for tag in ("loss/train", "train_loss_step")],
        *[(tag, "Learning rate", "of each optimizer and group") for tag in ("lr", "lr/optimizer0/group1", "lr-SGD/1")],
        *[(f"samples/{tag}", "Names", "share of new and of distinct names") for tag in ("new", "distinct")],
        ("samples/mean_length", "Names", "mean length in characters, and the data's"),
        ("samples/mean_length_data", "Names", "mean length in characters, and the data's"),
        ("saturation/net.tanh", "Hidden layers", "share of saturated or dead units"),
        ("dead/relu", "Hidden layers", "share of saturated or dead units"),
        ("grad/lr", "More", "mine"),
        *[(tag, None, None) for tag in ("loss/value", "my/loss/val", "lrs", "a/lr", "samples/newer", "epoch")],
    ],
)
def test_each_curve_is_on_its_chart_and_on_no_other(tag, section, chart, laid_out):
    found = [
        (section, chart)
        for section, inside in laid_out.items()
        for chart, tags in inside.items()
        if any(re.match(regex, tag) for regex in tags)  # as TensorBoard does
    ]
    assert found == ([(section, chart)] if section else [])


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("layout")
    quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    callback = Dashboard(charts={"mine": ["^grad/"]})
    pl.Trainer(accelerator="cpu", logger=board(folder), callbacks=[callback], **quiet, **FIT).fit(Layers())
    return charts(events(folder))


def test_the_runs_config_is_a_text(fitted, tmp_path):
    (tmp_path / "config.yaml").write_text("model: {lr: 0.1}  # ünïcode\n", encoding="utf-8")
    (event,) = fitted(Layers(), Dashboard()).Tensors("config/text_summary")
    assert event.tensor_proto.string_val[0].decode() == "```yaml\nmodel: {lr: 0.1}  # ünïcode\n\n```"
    assert event.step == 0


def test_the_layers_are_shown_at_the_steps_of_lightnings_scalars(fitted):
    found = fitted(Layers(), Dashboard())
    tags = {"saturation/first.1", "saturation/gate", "dead/relu"}
    assert {tag for tag in found.Tags()["scalars"] if tag.startswith(("saturation", "dead"))} == tags
    assert {tuple(steps(found, tag)) for tag in tags} == {(1, 3, 5)}
    assert steps(found, "loss/val") == [1, 3, 5]
    of_layers = {f"activations/{layer}" for layer in ("first.1", "gate", "relu")}
    assert set(found.Tags()["histograms"]) == of_layers
    for tag in of_layers:
        assert [event.step for event in found.Histograms(tag)] == [1, 3, 5]
        assert {event.histogram_value.num for event in found.Histograms(tag)} == {20}, "of the first batch, 4 rows of 5"


@pytest.mark.parametrize("options", [{"val_check_interval": 3, "accumulate_grad_batches": 2}, {"max_epochs": 1}])
@pytest.mark.parametrize("callbacks", [[], [StepsPerExecution(4)]])
def test_the_steps_are_lightnings_own_while_gradients_accumulate(options, callbacks, fitted):
    found = fitted(Layers(), Dashboard(), *callbacks, **options)
    assert steps(found, "saturation/gate") == steps(found, "loss/val")


def test_the_layers_are_shown_on_the_first_batch_of_the_first_loader_and_in_a_training_only(fitted, trainer, tmp_path):
    class Two(Layers):
        def val_dataloader(self):
            return [super().val_dataloader(), DataLoader(TensorDataset(-ROWS.tensors[0]), batch_size=4)]

        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            super().validation_step(batch, batch_idx)

    model = Two()
    shown = fitted(model, Dashboard()).Histograms("activations/first.1")[-1].histogram_value
    with torch.no_grad():
        values = model.eval().first[:2](ROWS.tensors[0][:4])
    assert (shown.num, shown.sum) == (20, pytest.approx(values.sum().item(), abs=1e-5))
    trainer(Dashboard(), **FIT, logger=board(tmp_path / "alone")).validate(model, verbose=False)
    assert {tag.split("/")[0] for tag in events(tmp_path / "alone").Tags()["scalars"]} == {"loss", "epoch"}


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


def test_of_many_values_some_are_taken_evenly():
    values = torch.arange(3.0 * VALUES + 1).view(1, -1).bfloat16()
    assert torch.equal(evenly(values), values[0, ::4].float())
    assert evenly(torch.ones(())).tolist() == [1]


class Spy(Callback):
    """The gradients that each step is taken with, by Lightning's hook."""

    def __init__(self):
        self.seen = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.seen.append({name: p.grad.clone() for name, p in pl_module.named_parameters()})


@pytest.mark.parametrize("options", [{}, {"accumulate_grad_batches": 3}])
@pytest.mark.parametrize("many", [[], [StepsPerExecution(4)]])
def test_the_gradients_shown_are_those_of_the_latest_step(many, options, fitted):
    """A validation every second batch: with two or three batches a step, also within a step."""
    spy = Spy()
    found = fitted(Layers(), Dashboard(histograms=True), spy, *many, **options)
    shown = found.Histograms("gradients/last.weight")
    done = [2 * i // options.get("accumulate_grad_batches", 1) for i in range(1, 20)]
    done = [count for count in done if 0 < count <= 6][: len(shown)]
    assert len(shown) >= 3
    for event, count in zip(shown, done, strict=True):
        gradient = spy.seen[count - 1]["last.weight"]
        assert event.histogram_value.sum == pytest.approx(gradient.sum().item(), abs=1e-6)
        assert event.histogram_value.min == pytest.approx(gradient.min().item())
        assert event.histogram_value.max == pytest.approx(gradient.max().item())


class Zeroing(Layers):
    """Its gradients are written into over and over."""

    def optimizer_zero_grad(self, epoch, batch_idx, optimizer):
        optimizer.zero_grad(set_to_none=False)


class ByHand(Zeroing):
    """Accumulates three batches a step."""

    automatic_optimization = False

    def training_step(self, batch, batch_idx):
        if batch_idx % 3 == 0:
            self.optimizers().zero_grad(set_to_none=False)
        self.manual_backward(super().training_step(batch, batch_idx))
        if batch_idx % 3 == 2:
            self.optimizers().step()


@pytest.mark.parametrize(
    ("model", "options", "counts"),
    [
        (Zeroing, {"accumulate_grad_batches": 3}, [1, 2, 2, 3]),  # validated after 4, 6, 8 and 10 batches
        (ByHand, {}, [1, 2, 2, 3]),
        (Zeroing, {"accumulate_grad_batches": 2, "val_check_interval": 3}, [1, 3, 4]),  # after 3, 6 and 9
    ],
)
def test_gradients_that_are_written_into_are_shown_as_their_step_took_them(model, options, counts, fitted):
    spy = Spy()
    found = fitted(model(), Dashboard(histograms=True), spy, **options)
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


def test_comet_gets_histograms_of_all_values(trainer):
    taken = []

    class Comet(DummyLogger):
        """Its experiment takes values as that of CometLogger does."""

        experiment = SimpleNamespace(log_histogram_3d=lambda values, name, step: taken.append((name, step, values)))

    model = Layers()
    trainer(Dashboard(histograms=True, activations=False), **FIT, logger=Comet()).fit(model)
    *_, last = [(step, values) for name, step, values in taken if name == "weights/last.bias"]
    assert last == (5, model.last.bias.tolist())
    assert {name.partition("/")[0] for name, *_ in taken} == {"weights", "gradients"}


def state(model):
    return [*(tensor.clone() for tensor in model.state_dict().values()), torch.rand(1)]


@pytest.mark.parametrize("many", [[], [StepsPerExecution(4)]])
@pytest.mark.parametrize("histograms", [False, True])
def test_training_is_what_it_is_without_it_bit_for_bit(histograms, many, trainer, tmp_path):
    results = []
    for own in ([], [Dashboard(histograms=histograms)]):
        pl.seed_everything(3, verbose=False)
        model = Layers()
        fit = trainer(*own, *many, **FIT, logger=board(tmp_path / str(len(own))))
        fit.fit(model)
        losses = [event.value for event in events(tmp_path / str(len(own))).Scalars("loss/val")]
        results.append([*state(model), torch.tensor(losses)])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert not any(part._forward_hooks for part in model.modules())


NAMES = [f"{a}{b}{c}" for a in "abc" for b in "eiou" for c in ("", "na", "xy")]


@pytest.fixture(scope="module")
def names_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("names") / "names.txt"
    path.write_text("\n".join(NAMES) + "\n")
    return str(path)


def test_the_analytic_gradients_of_charlms_mlp_are_shown_as_well(names_file, trainer, tmp_path):
    spy, data = Spy(), NamesDataModule(names_file, batch_size=8)
    fit = trainer(Dashboard(histograms=True), spy, StepsPerExecution(4), **FIT, logger=board(tmp_path))
    fit.fit(LitMLP(alphabet=data.alphabet, n_hidden=4), datamodule=data)
    shown = events(tmp_path).Histograms("gradients/net.output.weight")
    assert [event.step for event in shown] == [1, 3, 5]
    for event in shown:
        gradient = spy.seen[event.step]["net.output.weight"]
        assert event.histogram_value.sum_squares == pytest.approx(gradient.square().sum().item(), rel=1e-5)


def test_the_bigram_is_drawn_with_its_counts_as_training_ends(names_file, trainer, tmp_path):
    data = NamesDataModule(names_file, batch_size=8)
    trainer(Dashboard(), **FIT, logger=board(tmp_path)).fit(LitBigram(alphabet=data.alphabet), datamodule=data)
    assert [event.step for event in events(tmp_path).Images("bigram")] == [5]
    assert (tmp_path / "bigram.png").read_bytes().startswith(b"\x89PNG")


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


def test_what_cannot_be_made_is_warned_of_and_training_goes_on(trainer, tmp_path):
    """A config that is not a text, a parameter that is NaN, a layer on another device, pictures that fail."""

    class Odd(nn.Tanh):
        def forward(self, input):
            return torch.empty(2, 3, device="meta")

    class Broken(Layers):
        def __init__(self):
            super().__init__()
            self.lost, self.none = nn.Parameter(torch.tensor([float("nan")])), nn.Parameter(torch.zeros(0))
            self.odd = Odd()

        def forward(self, rows):
            self.odd(rows)
            return super().forward(rows)

        def figures(self):
            raise ZeroDivisionError("in a picture")

    (tmp_path / "config.yaml").write_bytes(b"\xff")
    fit = trainer(Dashboard(histograms=True), **FIT, logger=board(tmp_path))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        fit.fit(Broken())
    messages = [str(warning.message) for warning in said if "Dashboard" in str(warning.message)]
    parts = (
        "reading config.yaml failed with UnicodeDecodeError",
        "activations/odd failed with RuntimeError",
        "the histogram weights/lost",
    )
    for part in (*parts, "drawing figures() failed with ZeroDivisionError: in a picture"):
        assert sum(part in message for message in messages) == 1, messages
    assert fit.global_step == 6
    found = events(tmp_path)
    assert len(found.Histograms("weights/last.weight")) == 3
    assert "weights/none" not in found.Tags()["histograms"]
    assert "config/text_summary" not in found.Tags()["tensors"]


@pytest.mark.parametrize(("given", "message"), [("(loss", r"'\(loss', which is not a regular"), (None, "has no tags")])
def test_charts_that_would_show_nothing_are_refused(given, message):
    with pytest.raises(ValueError, match=f"'mine' .*{message}"):
        Dashboard(charts={"mine": [given] if given else []})


@pytest.mark.parametrize("options", [{"logger": False}, {"fast_dev_run": True}, {"limit_val_batches": 0}])
def test_it_needs_no_logger_and_no_validation(options, trainer, tmp_path):
    model = Drawing()
    trainer(Dashboard(histograms=True), **(FIT | options)).fit(model)
    assert model.drawn == (not options.get("fast_dev_run"))


def test_a_training_that_fails_in_its_validation_leaves_no_hooks(trainer, tmp_path):
    class Failing(Layers):
        def validation_step(self, batch, batch_idx):
            raise RuntimeError("of the test")

    model, callback = Failing(), Dashboard()
    with pytest.raises(RuntimeError, match=r"^of the test"):
        trainer(callback, **FIT, num_sanity_val_steps=0).fit(model)
    assert not any(part._forward_hooks for part in model.modules())
    trainer(callback, **FIT, logger=board(tmp_path)).fit(Layers())
    assert steps(events(tmp_path), "saturation/gate") == [1, 3, 5], "a second training is shown as well"


PROCESSES = """
import sys
import lightning.pytorch as pl
import torch
from lightning.pytorch.demos.boring_classes import BoringModel
from lightning.pytorch.loggers import TensorBoardLogger
from charlm.callbacks.dashboard.callback import Dashboard
from charlm.callbacks.name_samples import NameSamples

class Model(BoringModel):
    def __init__(self):
        super().__init__()
        self.tanh = torch.nn.Tanh()

    def forward(self, batch):
        return self.tanh(super().forward(batch))

    def validation_step(self, batch, batch_idx):
        self.log("loss/val", self(batch).mean(), sync_dist=True)

    def sample_names(self, n, seed):
        assert self.global_rank == 0
        return ["a"] * n

    def figures(self):
        assert self.global_rank == 0
        return {}

pl.Trainer(
    accelerator="cpu", devices=2, strategy="ddp_fork", logger=TensorBoardLogger(sys.argv[1], name=None, version=""),
    enable_checkpointing=False, enable_progress_bar=False, callbacks=[Dashboard(histograms=True), NameSamples()],
    max_steps=3, max_epochs=-1, val_check_interval=2, limit_val_batches=1, log_every_n_steps=1,
).fit(Model())
"""


def test_of_several_processes_the_first_one_shows(tmp_path, python):
    (tmp_path / "run.py").write_text(PROCESSES)
    done = python("-W", "ignore", "run.py", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    found = events(tmp_path / "run")
    assert steps(found, "saturation/tanh") == steps(found, "loss/val") == [1]
    assert [event.step for event in found.Histograms("gradients/layer.weight")] == [1]
    assert steps(found, "samples/distinct") == [0, 1, 2]
