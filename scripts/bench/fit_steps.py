"""A training step of the shipped mlp, as workers of bench.py: in `charlm fit` with everything on, and in a loop."""

import time
from typing import Any

import lightning.pytorch as pl
import torch
from worker import Numbers, work

from charlm.cli.main import main
from charlm.data.batches import BatchLoader
from charlm.data.splits import load_splits
from charlm.models.fast_mlp import gradient_function
from charlm.nets.mlp import MLP


class SecondHalf(pl.Callback):
    """CPU seconds of the second half of a training, with what comes between its steps."""

    per_execution = True  # no step is called for the sake of this callback
    seconds = 0.0

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step + 1 in (trainer.max_steps // 2, trainer.max_steps):
            SecondHalf.seconds = time.process_time() - SecondHalf.seconds


def fit(data: str, steps: int) -> Numbers:
    """`charlm fit` with all that it does beside the steps, from its step `steps` to `2 * steps`."""
    length = [f"--trainer.max_steps={2 * steps}", "--trainer.max_epochs=-1"]
    main(["fit", "--config=mlp", f"--data.path={data}", *length, "--trainer.callbacks+=fit_steps.SecondHalf"])
    import fit_steps  # as the command line has imported it; this file itself is __main__

    return {"seconds": fit_steps.SecondHalf.seconds / steps}


def bare(data: str, steps: int) -> Numbers:
    """The gradients and the loader of charlm in a loop that does nothing else, after a tenth as many steps."""
    torch.set_num_threads(1)
    splits = load_splits(data)
    net, loader = MLP(splits.tokenizer.vocab_size), BatchLoader(splits.train, 32, sampling="epoch")
    gradients: Any = gradient_function(net, record=lambda loss: None, log=lambda loss: None)
    weights, done, started = [weight.detach() for weight in net.parameters()], -(steps // 10), 0.0
    while True:
        loader.set_epoch(loader.epoch + 1)
        for batch in loader:
            if done == 0:
                started = time.process_time()
            if done == steps:
                return {"seconds": (time.process_time() - started) / steps}
            torch._foreach_add_(weights, gradients(batch, False)[1], alpha=-0.1)
            done += 1


if __name__ == "__main__":
    work(fit, bare)
