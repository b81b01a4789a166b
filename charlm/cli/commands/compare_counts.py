"""`charlm compare-counts`: a trained bigram against counting. Dimension key: V = vocab_size."""

from pathlib import Path

import torch
from torch import Tensor

from charlm.callbacks.shared import render as pixels
from charlm.cli.out_file import write_out
from charlm.cli.table import Table, render
from charlm.cli.training_names import training_splits
from charlm.data.splits import PARTS, Splits
from charlm.inference.bigram_table import MOST_LABELS, bigram_heatmap, character_labels
from charlm.nets.bigram import Bigram
from charlm.nets.counts import CountBigram, count_pairs, mean_nll
from charlm.runs.checkpoint_file import Checkpoint, load_checkpoint
from charlm.runs.directory import run_directory

_TAG = "bigram_counts"  # under fit's own tag, a later step would hide this picture, or this one fit's


def compare_counts(checkpoint: str | None = None, k: float = 1.0, out: str | None = None) -> None:
    """Compare a trained bigram with counting: the loss of both on each split, and both tables as a picture.

    If the run has a TensorBoard log, the picture is added to it as "bigram_counts", beside fit's own "bigram".

    Args:
        checkpoint: a .ckpt file, or a run of a bigram by directory, name or number; by default the newest run in
            lightning_logs.
        k: added to every count, at least 0. With 0, a pair that is not in the training names has probability 0.
        out: the PNG file to write; by default bigram_counts.png in the run directory.

    Raises:
        OSError: no such checkpoint, or the picture cannot be written.
        ValueError: a checkpoint of another model, or its training names cannot be read.
    """
    loaded = load_checkpoint(checkpoint)
    if not isinstance(loaded.net, Bigram):
        raise ValueError(f"{loaded.path} has the net {type(loaded.net).__name__}; give a checkpoint of a Bigram")
    picture = run_directory(loaded.path) / f"{_TAG}.png" if out is None else Path(out)
    if picture.suffix.lower() != ".png":
        raise ValueError(f"--out is {str(picture)!r}; give a file that ends in .png")
    splits = training_splits(loaded)
    neural = neural_probabilities(loaded.net)
    counted = CountBigram.from_contexts(splits.train, len(neural), k)
    print(render(_losses(splits, counted, neural)))
    print(_largest_difference(loaded, counted, neural))
    _draw(loaded, counted, neural, picture)


@torch.inference_mode()
def neural_probabilities(net: Bigram) -> Tensor:
    """The probabilities of the net, float64 (V, V); row: the previous character."""
    return net(torch.arange(len(net.W))[:, None]).double().softmax(dim=1)


def _losses(splits: Splits, counted: CountBigram, neural: Tensor) -> Table:
    tables = (counted.log_probabilities, neural.log())
    rows: list[list[str | int | float | None]] = []
    for part in PARTS:
        examples = getattr(splits, part)
        pairs = count_pairs(examples, len(neural))
        known = len(examples) > 0
        losses = [mean_nll(table, pairs) if known else None for table in tables]
        difference = None if losses[0] is None or losses[1] is None else losses[1] - losses[0]
        rows.append([part, len(examples), *losses, difference])
    return Table(("split", "characters", f"counts (k={counted.k:g})", "neural", "difference"), rows)


def _largest_difference(checkpoint: Checkpoint, counted: CountBigram, neural: Tensor) -> str:
    size = checkpoint.tokenizer.vocab_size
    gap = (counted.probabilities - neural)[:size, :size].abs()
    before, after = divmod(int(gap.argmax()), size)
    labels = character_labels(checkpoint.tokenizer.alphabet)
    return (
        f"largest difference: {gap.max():.4f} for {labels[before]}{labels[after]},"
        f" {counted.probabilities[before, after]:.4f} by counting and {neural[before, after]:.4f} neural;"
        f" {labels[before]} comes {int(counted.counts[before].sum())} times in train"
    )


def _draw(checkpoint: Checkpoint, counted: CountBigram, neural: Tensor, picture: Path) -> None:
    size = checkpoint.tokenizer.vocab_size
    panels = [
        (f"probabilities by counting (k = {counted.k:g})", counted.probabilities[:size, :size]),
        ("probabilities of the neural bigram", neural[:size, :size]),
    ]
    figure = bigram_heatmap(panels, character_labels(checkpoint.tokenizer.alphabet), cell_text=size <= MOST_LABELS)
    png = pixels.png(pixels.render(figure))
    write_out(picture, png)
    print(f"heat map: {picture}")
    run = run_directory(checkpoint.path)
    if any(run.glob("events.out.tfevents.*")):
        from torch.utils.tensorboard import SummaryWriter

        with SummaryWriter(str(run)) as writer:
            pixels.add_picture_file(writer.file_writer, png, _TAG, checkpoint.step)
        print(f"TensorBoard: picture {_TAG} of {run}")
