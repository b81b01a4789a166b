"""Day 8 of the course: the bigram, by gradient descent and by counting. Dimension key: N pairs, V rows of the table.

Source: "makemore", part 1, by Andrej Karpathy.
"""

from pathlib import Path

import torch
from course import BatchLosses, SplitLosses, fit, heading, loss_table, names_file, run
from jsonargparse.typing import PositiveInt
from torch import Tensor
from torch.nn import functional as F

from charlm.cli.commands.compare_counts import neural_probabilities
from charlm.cli.table import Cell, Table, render
from charlm.data.batches import BatchLoader
from charlm.data.datamodule import NamesDataModule
from charlm.inference.bigram_table import bigram_heatmap
from charlm.inference.sampling import sample_names
from charlm.models.windows import LitBigram
from charlm.nets.counts import CountBigram
from charlm.nets.loss import cross_entropy, evaluate

COLUMNS = ("counts, k = 0", "counts, k = 1", "neural")


def main(data: str | None = None, out: str = "lightning_logs/day08", steps: PositiveInt = 200) -> None:
    """Day 8 of the course: bigram pairs, gradient descent with a penalty, three splits, ten names, and counting.

    Args:
        data: a file with one name a line, or "makemore" (the course's 32,033 names, downloaded once), with a table row
            for each of their characters and a split of whole names, so that no name both trains and tests; null: the
            course's twenty names as in its notebook, with a table of 27 rows and a split of the single pairs.
        out: the folder of the pictures.
        steps: steps of gradient descent in each of the two runs, on all pairs at once.
    """
    folder = Path(out)
    path = names_file(data, folder)
    vocab_size = 27 if data is None else None
    whole = NamesDataModule(path, block_size=1, batch_size=None, split=(1, 0, 0), split_by="line")
    parts = NamesDataModule(path, block_size=1, batch_size=None, split_by="pair" if data is None else "name")
    parts.setup("fit")  # an error about too few names comes before any training
    context, target = whole.splits.train.tensors()

    show_pairs(whole, context, target)

    heading("Gradient descent on all pairs: before each step, loss = ce + reg, the cross-entropy and 0.01 * mean(W^2)")
    everything = new_model(whole, vocab_size)
    batch_losses = BatchLosses()
    fit(everything, whole, steps, [batch_losses], folder)
    parts_of_loss = zip(batch_losses.losses, batch_losses.penalties, strict=True)
    rows = [(step, loss, loss - reg, reg) for step, (loss, reg) in enumerate(parts_of_loss)]
    print(render(Table(("step", "loss", "ce", "reg"), rows[::20])))
    print(f"Final loss: {batch_losses.losses[-1]:.4f}, before step {steps - 1}")

    show_by_hand(everything, context, target)

    examples = {"train": parts.splits.train, "val": parts.splits.val, "test": parts.splits.test}
    sizes = " / ".join(str(len(part)) for part in examples.values())
    heading(f"Gradient descent on {sizes} pairs (train / val / test): cross-entropy after the step, without penalty")
    trained = new_model(parts, vocab_size)
    curves = SplitLosses(examples, every=50)
    fit(trained, parts, steps, [curves], folder)
    print(render(loss_table({"": curves})))

    heading("Ten names (* is in the list)")
    known = set(whole.splits.corpus.names())
    names = sample_names(trained.net, trained.tokenizer, 10, seed=42)
    print("\n".join(name + " *" * (name in known) for name in names))

    compare_with_counting(everything, trained, whole, parts)
    if data is None:
        print('(neural: at rate 50 the row of "a", the most frequent one, overshoots and swings from step to step)')
    show_first_row(everything, whole)
    draw(everything, whole, folder)


def show_pairs(whole: NamesDataModule, context: Tensor, target: Tensor) -> None:
    """Show the first pairs of characters, "." for the start and the end of a name, and the number of pairs."""
    heading("Bigram pairs")
    labels = [".", *whole.alphabet]
    pairs = [labels[a] + labels[b] for a, b in zip(context[:8, -1].tolist(), target[:8].tolist(), strict=True)]
    print(f"{len(whole.splits.corpus)} names over {len(whole.alphabet)} characters, {whole.alphabet}")
    print(f"{len(target)} pairs, the first ones: {' '.join(pairs)}")


def new_model(data: NamesDataModule, vocab_size: int | None) -> LitBigram:
    """Build the notebook's model: seed 42 before the table is drawn, learning rate 50, penalty 0.01."""
    torch.manual_seed(42)
    return LitBigram(alphabet=data.alphabet, vocab_size=vocab_size, init="notebook", weight_penalty=0.01, lr=50.0)


@torch.inference_mode()
def show_by_hand(model: LitBigram, context: Tensor, target: Tensor) -> None:
    """Compute a row of W by one-hot product and by look-up, and the loss by hand and by the library."""
    heading("By hand")
    logits = model(context)
    by_product = F.one_hot(context[:, -1], len(model.net.W)).float() @ model.net.W
    print(f"one_hot(character) @ W and W[character]: largest difference {(by_product - logits).abs().max():g}")
    counts = logits.exp()
    probabilities = counts / counts.sum(1, keepdim=True)
    by_hand = -probabilities[torch.arange(len(target)), target].log().mean()
    library = cross_entropy(logits, target)
    print(f"mean of -log(probability) {by_hand:.4f}, cross_entropy {library:.4f}: difference {by_hand - library:g}")


def compare_with_counting(
    everything: LitBigram, trained: LitBigram, whole: NamesDataModule, parts: NamesDataModule
) -> None:
    """Compare the losses of counting and learning: on all pairs, and on each split after learning from train."""
    heading("Counting instead: negative log-likelihood in nats per character (k is added to every count)")
    size = len(everything.net.W)
    rows: list[list[Cell]] = []
    for name, source, model in (
        ("all", whole, everything),
        *((name, parts, trained) for name in ("train", "val", "test")),
    ):
        examples = source.splits.train if name == "all" else getattr(source.splits, name)
        counted = [CountBigram.from_contexts(source.splits.train, size, k).nll(examples) for k in (0, 1)]
        rows.append([name, len(examples), *counted, evaluate(model.net, BatchLoader(examples, 8192)).loss])
    print(render(Table(("pairs", "number", *COLUMNS), rows)))


def show_first_row(everything: LitBigram, whole: NamesDataModule) -> None:
    """Show row 0 of the tables, which holds the first characters of names, by counting and by learning."""
    heading("Row 0 of the tables: the probability of each first character of a name")
    counts = [CountBigram.from_contexts(whole.splits.train, len(everything.net.W), k) for k in (0, 1)]
    rows = [
        table[0].tolist() for table in (*(each.probabilities for each in counts), neural_probabilities(everything.net))
    ]
    labels = [".", *whole.alphabet]  # the notebook's table has rows for characters that do not occur
    print(render(Table(("character", *COLUMNS), list(zip(labels, *rows, strict=False)))))


def draw(model: LitBigram, whole: NamesDataModule, folder: Path) -> None:
    """Draw the counts of all pairs and the two tables of probabilities, without the rows that no character uses."""
    heading("Pictures")
    shown, labels = whole.vocab_size, [".", *whole.alphabet]
    counted = CountBigram.from_contexts(whole.splits.train, len(model.net.W), k=1)
    pictures = {
        "bigram_counts.png": {"counts of all pairs": counted.counts},
        "bigram_probabilities.png": {
            "probabilities by counting (k = 1)": counted.probabilities,
            "probabilities of the neural bigram": neural_probabilities(model.net),
        },
    }
    for name, tables in pictures.items():
        panels = [(title, table[:shown, :shown]) for title, table in tables.items()]
        bigram_heatmap(panels, labels, cell_text=shown <= 40).savefig(folder / name)
        print(folder / name)


if __name__ == "__main__":
    run(main)
