"""charlm's nets of whole names with the settings of their shipped configs, as workers of bench.py."""

from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
import yaml
from torch import nn
from worker import Numbers, clock, work

from charlm.cli.fast_cpu import fast_products, keep_freed_memory
from charlm.cli.trainer.configs import CONFIGS
from charlm.data.name_batches import NameLoader
from charlm.data.sequences import Sequences
from charlm.data.splits import load_splits
from charlm.inference.sampling import sample_names
from charlm.models.optimizers import make_optimizer
from charlm.nets.gru import GRU
from charlm.nets.loss import cross_entropy
from charlm.nets.transformer import Transformer
from charlm.tokenizer import CharTokenizer

NETS: dict[str, type[nn.Module]] = {"gru": GRU, "transformer": Transformer}
LEARNT = 200  # steps after which names are of about their length
_SIZES = ("n_embd", "n_hidden", "n_layer", "n_head", "dropout")


@dataclass(frozen=True)
class Config:
    """What a shipped config says of the net and its training."""

    sizes: dict[str, Any]
    lr: float
    weight_decay: float
    batch_size: int


def read_config(name: str) -> Config:
    """The shipped config of that name."""
    given = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text(encoding="utf-8"))
    model, data = given["model"]["init_args"], given["data"]
    sizes = {size: model[size] for size in _SIZES if size in model}
    sizes |= {"block_size": data["block_size"]} if "block_size" in data else {}
    return Config(sizes, model["lr"], model["weight_decay"], data["batch_size"])


def learn(data: str, net: str, steps: int) -> tuple[nn.Module, CharTokenizer, Numbers]:
    """Train on one thread for so many steps, at a constant rate: the net, its characters, and how long it took."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    splits, config, numbers, done = load_splits(data, split_by="line"), read_config(net), Numbers(), 0
    model = NETS[net](splits.tokenizer.vocab_size, **config.sizes)
    optimizer = make_optimizer(model, "AdamW", config.lr, config.weight_decay)
    loader = NameLoader(Sequences.of_contexts(splits.train), config.batch_size, sampling="epoch")
    with clock(numbers):
        while done < steps:
            loader.set_epoch(done)
            for names, target in islice(loader, steps - done):
                optimizer.zero_grad()
                cross_entropy(model(names), target).backward()
                optimizer.step()
                done += 1
    return model, splits.tokenizer, numbers


def training(data: str, net: str, steps: int) -> Numbers:
    """Train for so many steps."""
    return learn(data, net, steps)[2]


def sampling(data: str, net: str, count: int) -> Numbers:
    """Draw names side by side, each character read once."""
    (model, tokenizer, _), numbers = learn(data, net, LEARNT), Numbers()
    with clock(numbers):
        drawn = sample_names(model, tokenizer, count)
    return {**numbers, "length": sum(map(len, drawn)) / count}


if __name__ == "__main__":
    keep_freed_memory()  # both as the command charlm does
    with fast_products():
        work(training, sampling)
