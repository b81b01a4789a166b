"""Day 10 of the course: the MLP, its learning rate, and what its embedding learns. Dimension key: N windows, T = 3.

Source: "makemore", part 2, by Andrej Karpathy, after Bengio et al. 2003, JMLR 3:1137-1155.
"""

import math
from pathlib import Path

import torch
from course import SplitLosses, fit, heading, loss_table, names_file, run
from jsonargparse.typing import PositiveInt

from charlm.callbacks.embedding_pca.callback import EmbeddingPCA
from charlm.callbacks.lr_finder.callback import LRFinder
from charlm.callbacks.step_decay.callback import StepDecay
from charlm.cli.table import Table, render
from charlm.data.contexts import build_contexts
from charlm.data.datamodule import NamesDataModule
from charlm.models.windows import LitMLP
from charlm.runs.curves import loss_curves

DECAY, FIXED = "decay 0.1 to 0.01", "fixed 0.01"


def main(data: str | None = None, out: str = "lightning_logs/day10", steps: PositiveInt = 10_000) -> None:
    """Day 10 of the course: contexts, a learning-rate sweep, step decay against a fixed rate, and the embedding.

    Args:
        data: a file with one name a line, or "makemore" (the course's 32,033 names, downloaded once), with padded
            windows, table rows for their own characters, and a split of whole names, so that no name both trains and
            validates; null: the course's twenty names as in its notebook, with unpadded windows (they start at
            the second character after three real ones), tables of 27 rows, and a split of the single windows.
        out: the folder of the pictures.
        steps: steps of each of the two runs; the rate decays halfway, at step 5000 of the notebook's 10,000.
    """
    folder = Path(out)
    names = NamesDataModule(
        names_file(data, folder),
        pad=data is not None,
        split=(0.8, 0.2, 0.0),
        split_by="pair" if data is None else "name",
        sampling="replacement",
        shuffle_seed=None,  # batches from torch's global generator, right after the initial weights
    )
    vocab_size = 27 if data is None else None
    show_contexts(names)
    sweep(names, vocab_size, folder)

    heading("Step decay against a fixed rate: cross-entropy of the whole splits")
    milestone = max(1, steps // 2)
    print(f"{DECAY}: the first step at the rate 0.01 is step {milestone}, counted from 0")
    examples = {"train": names.splits.train, "val": names.splits.val}
    curves = {DECAY: SplitLosses(examples, every=500), FIXED: SplitLosses(examples, every=500)}
    # drawn before the first step and after the last one
    pictures = EmbeddingPCA(every_n_epochs=None)
    trained = new_model(names, vocab_size, lr=0.1)
    fit(trained, names, steps, [StepDecay([milestone]), curves[DECAY], pictures], folder)
    fit(new_model(names, vocab_size, lr=0.01), names, steps, [curves[FIXED]], folder)
    print(render(loss_table({"decay": curves[DECAY], "fixed": curves[FIXED]})))

    show_hyperparameters(trained, curves)
    runs = {run: {part: (of_run.steps, of_run.losses[part]) for part in examples} for run, of_run in curves.items()}
    annotations = {DECAY: {milestone: f"lr 0.1 → 0.01 at {milestone:,}"}}
    figure = loss_curves(runs, annotations)
    figure.axes[0].autoscale(axis="y")  # from the lowest to the highest loss
    figure.savefig(folder / "step_decay.png")

    heading("Pictures")
    of_embedding = ("embedding_pca.png", "embedding_pca_frames.png", "embedding_pca.gif")
    for name in ("lr_finder.png", "step_decay.png", *of_embedding):
        print(folder / name)


def new_model(names: NamesDataModule, vocab_size: int | None, lr: float) -> LitMLP:
    """Build the notebook's model: seed 42 before the initial weights."""
    torch.manual_seed(42)
    return LitMLP(alphabet=names.alphabet, vocab_size=vocab_size, init="notebook", lr=lr)


def show_contexts(names: NamesDataModule) -> None:
    """Show the first windows in the order of the file, and the number of windows."""
    heading("Contexts")
    train, val, tokenizer = len(names.splits.train), len(names.splits.val), names.tokenizer
    labels = [".", *tokenizer.alphabet]
    context, target = build_contexts(names.splits.corpus.names()[:10], tokenizer, 3, pad=names.hparams["pad"])
    for before, after in list(zip(context.tolist(), target.tolist(), strict=True))[:8]:
        print("".join(labels[i] for i in before), "->", labels[after])
    print(f"{train + val} windows of 3 characters and the next one: {train} train, {val} val")


def sweep(names: NamesDataModule, vocab_size: int | None, folder: Path) -> None:
    """Take one step at each of a thousand rates from 0.0001 to 10; each loss is of one batch, before its step."""
    heading("Learning-rate sweep: loss of each step's batch of 32, before the step")
    finder = LRFinder(min_lr=1e-4, max_lr=10, num_steps=1000, apply=False, stop_factor=math.inf, trial_steps=0)
    fit(new_model(names, vocab_size, lr=0.1), names, 1, [finder], folder)
    found = finder.result
    assert found is not None  # the sweep runs before the first step
    points = list(enumerate(zip(found.lrs, found.losses, strict=False)))
    rows = [(step, rate, loss) for step, (rate, loss) in [*points[::100], points[-1]]]
    print(render(Table(("step", "rate", "loss"), rows)))
    step, (rate, loss) = min(points, key=lambda point: point[1][1] if math.isfinite(point[1][1]) else math.inf)
    print(f"lowest point: loss {loss:.4f} at the rate {rate:.4f}, step {step}")
    suggestion = "no rate" if found.suggestion is None else f"the rate {found.suggestion:.4f}, by {found.rule}"
    print(f"suggestion: {suggestion} ({found.reason})")


def show_hyperparameters(model: LitMLP, curves: dict[str, SplitLosses]) -> None:
    """Show the sizes and the final losses, a row for each run."""
    heading("Hyperparameters and final losses")
    header = ("run", "embedding", "hidden", "block", "parameters", "train loss", "val loss")
    size = [model.hparams[name] for name in ("n_embd", "n_hidden", "block_size")]
    size.append(sum(weights.numel() for weights in model.parameters()))
    rows = [[run, *size, *(losses[-1] for losses in of_run.losses.values())] for run, of_run in curves.items()]
    print(render(Table(header, rows)))
    for name, of_run in curves.items():
        print(f"Final loss, {name}: train {of_run.losses['train'][-1]:.4f}, val {of_run.losses['val'][-1]:.4f}")


if __name__ == "__main__":
    run(main)
