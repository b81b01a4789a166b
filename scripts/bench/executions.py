"""Where StepsPerExecution pays: the CPU time of a step with it, divided by that of Lightning's loop alone.

python scripts/bench/executions.py                             the nine models, from 0.1 to 30 ms a step
python scripts/bench/executions.py --only '[conv,byol]'        some of them

Each model logs its loss in every step, as most do, and trains with Lightning's own logger and progress bar, on one
thread. A training with StepsPerExecution, one without, and a bare loop of the same steps take turns; the ratio is the
median over these rounds. The bare loop is the least that any loop around the model can take. Without the package
transformers its row is left out.
"""

import copy
import logging
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from jsonargparse import CLI
from jsonargparse.typing import PositiveInt
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from charlm.callbacks.steps_per_execution.callback import StepsPerExecution
from charlm.cli.table import Table, render

WORDS = 100


class Classifier(pl.LightningModule):
    """A net with cross-entropy and its loss in the log, as tutorials write it."""

    def __init__(self, net: nn.Module, optimizer: str = "AdamW", **options: Any) -> None:
        super().__init__()
        self.net, self.kind, self.options = net, optimizer, options

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = F.cross_entropy(self.net(batch[0]).flatten(0, -2), batch[1].flatten())
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        optimizer: torch.optim.Optimizer = getattr(torch.optim, self.kind)(self.parameters(), lr=1e-3, **self.options)
        return optimizer


class BYOL(pl.LightningModule):
    """Two views, a net, and its moving average as the target."""

    def __init__(self) -> None:
        super().__init__()
        self.net = conv(8, 32)
        self.predictor = nn.Sequential(nn.Linear(32, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 32))
        self.target = copy.deepcopy(self.net).requires_grad_(False)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        with torch.no_grad():
            for mean, weight in zip(self.target.parameters(), self.net.parameters(), strict=True):
                mean.lerp_(weight, 0.01)
        first, second = batch[0] + torch.randn_like(batch[0]), batch[0].flip(-1)
        pairs = ((first, second), (second, first))
        similar = [F.cosine_similarity(self.predictor(self.net(a)), self.target(b)).mean() for a, b in pairs]
        loss = -torch.stack(similar).sum()
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([p for p in self.parameters() if p.requires_grad], lr=0.06, momentum=0.9)


class LSTM(nn.Module):
    """The last state of an LSTM, through a linear layer."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.lstm, self.out = nn.LSTM(16, size, batch_first=True), nn.Linear(size, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Float (B, L, 16) to logits (B, 10)."""
        return self.out(self.lstm(x)[0][:, -1])


class Decoder(nn.Module):
    """Causal attention by torch's own layers."""

    def __init__(self, size: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, size)
        layer = nn.TransformerEncoderLayer(size, 4, 4 * size, batch_first=True, norm_first=True)
        self.layers, self.out = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False), nn.Linear(size, WORDS)

    def forward(self, x: Tensor) -> Tensor:
        """Ids (B, L) to logits (B, L, WORDS)."""
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        return self.out(self.layers(self.embedding(x), mask=mask, is_causal=True))


def gpt2() -> nn.Module:
    """GPT-2 of the package transformers, tiny."""
    from transformers import GPT2Config, GPT2LMHeadModel  # type: ignore[import-not-found,unused-ignore]  # optional

    sizes = GPT2Config(n_layer=2, n_head=2, n_embd=64, vocab_size=WORDS, n_positions=64)
    net = GPT2LMHeadModel(sizes)
    net.register_forward_hook(lambda module, given, output: output.logits)
    return net


def mlp() -> nn.Module:
    """Three linear layers with ReLU between them."""
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def conv(width: int, out: int) -> nn.Module:
    """Two convolutions with batch norm, and a linear layer."""
    both = [
        part
        for a, b in ((1, width), (width, 2 * width))
        for part in (nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b), nn.ReLU())
    ]
    return nn.Sequential(*both, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width, out))


def classes(*shape: int) -> tuple[Tensor, Tensor]:
    """Numbers of this shape, each example with one of ten classes."""
    return torch.randn(shape), torch.randint(10, shape[:1])


def texts(number: int) -> tuple[Tensor, Tensor]:
    """Texts of 32 words, whose words are the targets."""
    ids = torch.randint(WORDS, (number, 32))
    return ids, ids


MODELS: dict[str, tuple[str, int, Callable[[], pl.LightningModule], Callable[[], tuple[Tensor, Tensor]]]] = {
    # what it is, examples a batch, the module, its data
    "linear": ("linear layer, SGD", 16, lambda: Classifier(nn.Linear(32, 10), "SGD"), lambda: classes(4096, 32)),
    "mlp": ("MLP of three layers, AdamW", 32, lambda: Classifier(mlp()), lambda: classes(8192, 64)),
    "lstm": ("LSTM of 32 over 16 steps", 32, lambda: Classifier(LSTM(32)), lambda: classes(4096, 16, 16)),
    "conv": ("ConvNet on 28 x 28", 32, lambda: Classifier(conv(16, 10)), lambda: classes(4096, 1, 28, 28)),
    "byol": ("BYOL on 28 x 28", 16, BYOL, lambda: classes(2048, 1, 28, 28)),
    "shallow": ("decoder, 1 layer of 64", 8, lambda: Classifier(Decoder(64, 1)), lambda: texts(512)),
    "gpt2": ("GPT-2 of transformers, 2 layers of 64", 8, lambda: Classifier(gpt2()), lambda: texts(512)),
    "decoder": ("decoder, 2 layers of 64", 8, lambda: Classifier(Decoder(64, 2)), lambda: texts(512)),
    "deep": ("decoder, 4 layers of 64", 16, lambda: Classifier(Decoder(64, 4)), lambda: texts(1024)),
}


class Clock(pl.Callback):
    """CPU seconds of a step, without the first tenth of the steps."""

    per_execution = True

    def __init__(self, steps: int) -> None:
        self.first, self.begun_at = steps // 10, 0

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if not self.begun_at and trainer.global_step >= self.first:
            self.begun_at, self.begun = trainer.global_step, time.process_time()

    def on_train_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.seconds = (time.process_time() - self.begun) / (trainer.global_step - self.begun_at)


def step_time(name: str, steps: int, many: bool, options: dict[str, Any]) -> float:
    """CPU seconds of a step."""
    torch.manual_seed(1)
    _, batch_size, model, data = MODELS[name]
    clock = Clock(steps)
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            max_steps=steps,
            max_epochs=-1,
            accelerator="cpu",
            default_root_dir=folder,
            enable_model_summary=False,
            enable_checkpointing=False,
            callbacks=[clock, *([StepsPerExecution(min(250, steps // 10))] if many else [])],
            **options,
        )
        trainer.fit(model(), DataLoader(TensorDataset(*data()), batch_size=batch_size))
    return clock.seconds


def bare_time(name: str, steps: int) -> float:
    """CPU seconds of a step of a plain loop, without logs, accumulation and mixed precision."""
    torch.manual_seed(1)
    _, batch_size, make, data = MODELS[name]
    model, loader = make().train(), DataLoader(TensorDataset(*data()), batch_size=batch_size)
    model.log = lambda *_, **__: None  # type: ignore[method-assign]  # of this model only
    optimizer: Any = model.configure_optimizers()
    first, done = steps // 10, 0
    while True:
        for index, batch in enumerate(loader):
            if done == first:
                begun = time.process_time()
            if done == steps:
                return (time.process_time() - begun) / (steps - first)
            loss: Any = model.training_step(batch, index)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            done += 1


def main(
    only: list[str] | None = None,
    pairs: PositiveInt = 5,
    seconds: float = 2.0,
    accumulate: PositiveInt = 1,
    precision: str = "32-true",
) -> None:
    """Measure, and print the table in the README of StepsPerExecution.

    Args:
        only: names of models; null: all of them.
        pairs: rounds of a training with StepsPerExecution, one without, and a bare loop.
        seconds: length of a training.
        accumulate: batches for a step.
        precision: of the Trainer.
    """
    options = {"accumulate_grad_batches": accumulate, "precision": precision}
    rows = []
    for name in only or MODELS:
        try:
            steps = max(40, int(seconds / step_time(name, 40, False, options)))
        except ModuleNotFoundError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            continue
        times = [
            [bare_time(name, steps), *(step_time(name, steps, many, options) for many in (True, False))]
            for _ in range(pairs)
        ]
        bare, ours, plain = (1e3 * statistics.median(each) for each in zip(*times, strict=True))
        ratio, floor = (statistics.median(each[i] / each[2] for each in times) for i in (1, 0))
        rows.append([MODELS[name][0], *(f"{ms:.2f} ms" for ms in (plain, ours, bare)), f"{ratio:.2f}", f"{floor:.2f}"])
    header = ("model", "Lightning", "with StepsPerExecution", "bare loop", "ratio", "bare loop's")
    print(render(Table(header, rows), "markdown", 120))


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    CLI(main, as_positional=False)
