"""`charlm compare-counts`: a trained model against counting. Dimension key: V = vocab_size."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from charlm.callbacks.shared import render as pixels
from charlm.cli.chosen_run import load_chosen
from charlm.cli.commands.plot import distinct_names
from charlm.cli.out_file import write_out
from charlm.cli.table import Table, render
from charlm.cli.training_names import training_splits
from charlm.data.batches import BatchLoader
from charlm.data.contexts import Contexts
from charlm.data.name_batches import NameLoader
from charlm.data.sequences import Sequences
from charlm.data.splits import PARTS, Splits
from charlm.inference.bigram_table import MOST_LABELS, bigram_heatmap, character_labels
from charlm.nets.bigram import Bigram
from charlm.nets.counts import CountBigram
from charlm.nets.interface import block_size_of, takes_names
from charlm.nets.loss import evaluate
from charlm.nets.ngram import NGram
from charlm.runs.directory import run_directory
from charlm.runs.load_checkpoint import Checkpoint
from charlm.runs.loss_dots import loss_dots

_TAG = "bigram_counts"  # under fit's own tag, a later step would hide this picture, or this one fit's
_CONTEXT = 4  # characters that the n-grams read: five at a time
_EXAMPLES, _NAMES = 8192, 1024  # evaluated at a time


def compare_counts(
    checkpoint: str | None = None, k: float = 1.0, out: str | None = None, runs: list[str] | None = None
) -> None:
    """Compare trained models with counting: their losses on each split beside those of counted bigrams and 5-grams.

    The bigrams have k added to every count, the 5-grams have Kneser-Ney smoothing. Several models, such as a bigram, an
    MLP, a GRU and a Transformer, are listed by their losses on val, which are also drawn: what a longer context,
    recurrence and attention add to counting. Of a single bigram, both tables are drawn side by side; if the run has a
    TensorBoard log, that picture is added to it as "bigram_counts", beside fit's own "bigram".

    Args:
        checkpoint: a .ckpt file, or a run by directory, name or number; by default the newest run in lightning_logs.
        k: added to every count of the bigrams, at least 0; if names have weights, times the mean weight. With 0, a
            pair that is not in the training names has probability 0.
        out: the PNG file to write; by default counts.png for several runs, and for a bigram bigram_counts.png in the
            run directory.
        runs: several runs by directory, name or number, trained on the same names; instead of --checkpoint.

    Raises:
        OSError: no such checkpoint, or the picture cannot be written.
        ValueError: the training names cannot be read, or differ between the runs, or a picture of a single model that
            is not a bigram is asked for.
    """
    if runs and checkpoint is not None:
        raise ValueError("--checkpoint is for a single run; name all runs without it")
    if runs and len(runs) > 1:
        _compare_models([load_chosen(run) for run in runs], k, _png_file(out or "counts.png"))
    else:
        _compare_one(runs[0] if runs else checkpoint, k, out)


def _png_file(out: str) -> Path:
    if Path(out).suffix.lower() != ".png":
        raise ValueError(f"--out is {out!r}; give a file that ends in .png")
    return Path(out)


def _compare_models(models: Sequence[Checkpoint], k: float, picture: Path) -> None:
    """Print the losses of several models and of counting, the highest on val first, and draw those on val."""
    first = models[0]
    other = next((model for model in models if _trained_on(model) != _trained_on(first)), None)
    if other is not None:
        raise ValueError(
            f"{first.path} and {other.path} were trained on different names, or split them differently; their losses"
            " cannot be compared"
        )
    splits = training_splits(first)
    counted, ngrams = _counted(splits, first, k)
    nets = {f"bigrams (k={k:g})": counted, f"{_CONTEXT + 1}-grams": ngrams}
    of_files = {model.path.resolve(): model.net for model in models}
    of_runs = {run_directory(file): net for file, net in of_files.items()}
    places = of_runs if len(of_runs) == len(of_files) else of_files  # of a run several checkpoints may be meant
    nets |= {name: places[place] for place, name in distinct_names(list(places)).items()}
    parts = [part for part in PARTS if len(getattr(splits, part))]
    shown = "val" if "val" in parts else parts[0]
    losses = {name: {part: _loss(net, getattr(splits, part)) for part in parts} for name, net in nets.items()}
    order = sorted(losses, key=lambda name: -losses[name][shown])
    print(render(Table(("", *parts), [[name, *losses[name].values()] for name in order])))
    of_shown = {name: losses[name][shown] for name in order}
    counting = [name for name, net in nets.items() if isinstance(net, CountBigram | NGram)]
    figure = loss_dots(of_shown, counting, f"loss on {shown} (nats per character)")
    write_out(picture, pixels.png(pixels.render(figure)))
    print(f"picture: {picture}")


def _trained_on(model: Checkpoint) -> tuple[object, ...]:
    settings = ("split", "split_by", "split_seed", "lowercase")
    return (model.data_sha256, model.tokenizer.alphabet, *(str(model.data.get(key)) for key in settings))


def _compare_one(checkpoint: str | None, k: float, out: str | None) -> None:
    loaded = load_chosen(checkpoint)
    picture = run_directory(loaded.path) / f"{_TAG}.png" if out is None else _png_file(out)
    if out is not None and not isinstance(loaded.net, Bigram):
        raise ValueError(f"--out is for the tables of a Bigram, and {loaded.path} holds another net; leave it out")
    splits = training_splits(loaded)
    counted, ngrams = _counted(splits, loaded, k)
    print(render(_losses(splits, counted, k, ngrams, loaded)))
    if isinstance(loaded.net, Bigram):
        neural = neural_probabilities(loaded.net)
        print(_largest_difference(loaded, counted, neural))
        _draw(loaded, counted, k, neural, picture)


@torch.inference_mode()
def neural_probabilities(net: Bigram) -> Tensor:
    """The probabilities of the net, float64 (V, V); row: the previous character."""
    return net(torch.arange(net.W.shape[1])[:, None]).double().softmax(dim=1)


def _counted(splits: Splits, checkpoint: Checkpoint, k: float) -> tuple[CountBigram, NGram]:
    """Bigrams and 5-grams of the training names; the bigrams do without labels."""
    size, labels = checkpoint.net_args["vocab_size"], len(checkpoint.tokenizer.labels)
    ngrams = NGram.from_contexts(splits.train.with_block_size(_CONTEXT + (labels > 0)), size, labels)
    return CountBigram.from_contexts(splits.train.without_labels(), size, k), ngrams


def _losses(splits: Splits, counted: CountBigram, k: float, ngrams: NGram, checkpoint: Checkpoint) -> Table:
    nets, rows = (counted, ngrams, checkpoint.net), []
    peer = 0 if isinstance(checkpoint.net, Bigram) else 1  # that reads as much, or what most nets have to beat
    for part in PARTS:
        examples: Contexts = getattr(splits, part)
        losses = [_loss(net, examples) for net in nets] if len(examples) else [None, None, None]
        difference = losses[2] - losses[peer] if losses[2] is not None and losses[peer] is not None else None
        rows.append([part, len(examples), *losses, difference])
    titles = (f"bigrams (k={k:g})", f"{_CONTEXT + 1}-grams", checkpoint.model)
    return Table(("split", "characters", *titles, f"{checkpoint.model} - {titles[peer].partition(' ')[0]}"), rows)


def _loss(net: nn.Module, examples: Contexts) -> float:
    if takes_names(net):
        return evaluate(net, NameLoader(Sequences.of_contexts(examples), _NAMES)).loss
    if isinstance(net, CountBigram):
        examples = examples.without_labels()
    return evaluate(net, BatchLoader(examples.with_block_size(block_size_of(net)), _EXAMPLES)).loss


def _largest_difference(checkpoint: Checkpoint, counted: CountBigram, neural: Tensor) -> str:
    size = checkpoint.tokenizer.vocab_size
    gap = (counted.probabilities - neural)[:size, :size].abs()
    before, after = divmod(int(gap.argmax()), size)
    labels, times = character_labels(checkpoint.tokenizer.alphabet), counted.counts[before].sum().item()
    return (
        f"largest difference: {gap.max():.4f} for {labels[before]}{labels[after]},"
        f" {counted.probabilities[before, after]:.4f} by counting and {neural[before, after]:.4f} neural;"
        f" {labels[before]} comes {times if isinstance(times, int) else format(times, '.10g')} times in train"
    )


def _draw(checkpoint: Checkpoint, counted: CountBigram, k: float, neural: Tensor, picture: Path) -> None:
    size = checkpoint.tokenizer.vocab_size
    panels = [
        (f"probabilities by counting (k = {k:g})", counted.probabilities[:size, :size]),
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
